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
const maxStartup = 0.4

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

	besideKubectl(b, "start-up", maxStartup, func() time.Duration { return run(programs[0]) }, func() time.Duration { return run(programs[1]) })
}

// besideKubectl runs kubectl and the plugin in turns, and reports the medians and their ratio, which is at most so much.
func besideKubectl(b *testing.B, what string, most float64, kubectl, plugin func() time.Duration) {
	b.Helper()
	took := make([][]time.Duration, 2)
	for round := 0; b.Loop(); round++ {
		// Who is first changes, so that what follows the other's end costs both the same.
		for i := range took {
			which := (i + round) % len(took)
			took[which] = append(took[which], []func() time.Duration{kubectl, plugin}[which]())
		}
	}
	kubectlTook, pluginTook := median(took[0]), median(took[1])
	ratio := pluginTook.Seconds() / kubectlTook.Seconds()
	b.ReportMetric(0, "ns/op") // the sum of both says nothing
	b.ReportMetric(kubectlTook.Seconds()*1000, "kubectl-ms")
	b.ReportMetric(pluginTook.Seconds()*1000, "plugin-ms")
	b.ReportMetric(ratio, "plugin/kubectl")
	if enough(b) && ratio > most {
		b.Errorf("%s takes %.2f of the time that it takes with kubectl, more than %.2f", what, ratio, most)
	}
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}
