//go:build unix

package bench

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/test/env"
)

const (
	// Contexts of a kubeconfig as large as they come, and how many of them never answer, and refuse.
	allContexts, silentContexts, refusingContexts = 1000, 100, 100
	// maxDiscover bounds the looking at all of them as a part of the deadline that dead clusters cost in any case;
	// maxMemory is in bytes.
	maxDiscover = 1.2
	maxMemory   = 300 << 20
	// maxLooks bounds how often it is measured: each takes the deadline.
	maxLooks = 5
	deadline = 10 * time.Second
)

// BenchmarkDiscover looks at a thousand contexts with the plugin as it is shipped, and reports how long that took as a part
// of the deadline, and the most memory that it held. The host is real; the members are simulated.
func BenchmarkDiscover(b *testing.B) {
	fleet, _ := newHost(b)
	plugin := shipped(b)
	contexts := []env.Context{fleet.Cluster("host").Context()}
	var refusing []net.Listener // closed when no other listener takes their ports any more
	for i := range allContexts - 1 {
		name := fmt.Sprintf("context-%d", i)
		var config *rest.Config
		switch { // those that do not answer stand between those that do
		case i%10 == 3 && i/10 < silentContexts:
			config = &rest.Config{Host: "https://" + listen(b).Addr().String(), BearerToken: "unheard"}
		case i%10 == 7 && i/10 < refusingContexts:
			l := listen(b)
			refusing = append(refusing, l)
			config = &rest.Config{Host: "https://" + l.Addr().String(), BearerToken: "unheard"}
		default:
			config = newSimulated(b, i, 0).config()
		}
		contexts = append(contexts, env.Context{Name: name, Config: config})
	}
	for _, l := range refusing {
		_ = l.Close()
	}
	kubeconfig := filepath.Join(b.TempDir(), "kubeconfig")
	if err := env.WriteKubeconfig(kubeconfig, contexts...); err != nil {
		b.Fatal(err)
	}
	var took []time.Duration
	var memory int64
	for b.Loop() {
		if len(took) == maxLooks {
			continue
		}
		cmd := exec.CommandContext(b.Context(), plugin, "discover", "--kubeconfig", kubeconfig, "--all", "--connect-timeout", deadline.String(), "-o", "json")
		cmd.Env = []string{"HOME=" + b.TempDir()}
		var out, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &stderr
		began := time.Now()
		if err := cmd.Run(); err != nil {
			b.Fatalf("discover: %v\n%s", err, stderr.String())
		}
		took = append(took, time.Since(began))
		memory = max(memory, rss(cmd.ProcessState.SysUsage().(*syscall.Rusage)))
		found(b, out.Bytes())
		if want := fmt.Sprintf("probing %d contexts", allContexts); !strings.Contains(stderr.String(), want) {
			b.Errorf("the progress %q was not printed:\n%s", want, stderr.String())
		}
	}
	ratio := median(took).Seconds() / deadline.Seconds()
	b.ReportMetric(0, "ns/op") // the deadline, mostly
	b.ReportMetric(ratio, "deadlines")
	b.ReportMetric(float64(memory)/(1<<20), "MB")
	if ratio > maxDiscover {
		b.Errorf("looking at %d contexts takes %.2f deadlines, more than %.1f", allContexts, ratio, maxDiscover)
	}
	if memory > maxMemory {
		b.Errorf("looking at %d contexts takes %d MB, more than %d", allContexts, memory>>20, maxMemory>>20)
	}
}

// found fails unless every context that can answer has.
func found(b *testing.B, out []byte) {
	b.Helper()
	var list struct {
		Clusters []struct{ Name, State, Reason string }
	}
	if err := json.Unmarshal(out, &list); err != nil {
		b.Fatal(err)
	}
	states := map[string]int{}
	for _, c := range list.Clusters {
		state := c.State
		switch {
		case strings.HasSuffix(c.Reason, "no answer within "+deadline.String()):
			state = "silent"
		case strings.Contains(c.Reason, "connection refused"):
			state = "refusing"
		}
		states[state]++
	}
	want := map[string]int{"Unlabeled": allContexts - silentContexts - refusingContexts, "silent": silentContexts, "refusing": refusingContexts}
	if fmt.Sprint(states) != fmt.Sprint(want) {
		b.Errorf("found %v, want %v", states, want)
	}
}

// listen takes connections and never says a word.
func listen(b *testing.B) net.Listener {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = l.Close() })
	return l
}

// rss is the most memory that a process held, in bytes: Linux counts it in KiB, macOS in bytes.
func rss(usage *syscall.Rusage) int64 {
	if runtime.GOOS == "darwin" {
		return usage.Maxrss
	}
	return usage.Maxrss << 10
}
