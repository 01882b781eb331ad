//go:build unix

package bench

import (
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/kubefederate/kubectl-federate/test/env"
)

// maxStartup bounds the plugin's start-up as a part of kubectl's. A plugin is started by kubectl, so this is
// what it adds to every command that a person types.
const maxStartup = 0.6

// BenchmarkStartup runs `version --client` of kubectl and of the plugin in turns, both built as they are
// shipped, and reports the medians and their ratio.
func BenchmarkStartup(b *testing.B) {
	assets, err := env.Assets(b.Context(), b.Output())
	if err != nil {
		b.Fatal(err)
	}
	plugin := shipped(b)
	programs := []string{filepath.Join(assets, "kubectl"), plugin}
	home := b.TempDir()
	run := func(program string) time.Duration {
		cmd := exec.CommandContext(b.Context(), program, "version", "--client")
		cmd.Env = []string{"HOME=" + home}
		start := time.Now()
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%s: %v\n%s", program, err, out)
		}
		return time.Since(start)
	}
	for _, program := range programs {
		run(program) // reads it from the disk
	}

	took := make([][]time.Duration, len(programs))
	for round := 0; b.Loop(); round++ {
		// Who is first changes, so that what follows the other's end costs both the same.
		for i := range programs {
			which := (i + round) % len(programs)
			took[which] = append(took[which], run(programs[which]))
		}
	}
	kubectl, ours := median(took[0]), median(took[1])
	ratio := ours.Seconds() / kubectl.Seconds()
	b.ReportMetric(0, "ns/op") // the sum of both says nothing
	b.ReportMetric(kubectl.Seconds()*1000, "kubectl-ms")
	b.ReportMetric(ours.Seconds()*1000, "plugin-ms")
	b.ReportMetric(ratio, "plugin/kubectl")
	if len(took[0]) >= 10 && ratio > maxStartup {
		b.Errorf("the plugin takes %.2f of the time of kubectl to start, more than %.2f", ratio, maxStartup)
	}
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}
