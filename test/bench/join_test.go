//go:build unix

package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/member"
	"github.com/kubefederate/kubectl-federate/test/env"
	envhost "github.com/kubefederate/kubectl-federate/test/env/host"
)

const (
	// fleetSize and requestDelay are the promise: that many clusters, each request to which takes that long, join in
	// at most maxFleet times the time of one.
	fleetSize    = 20
	requestDelay = 100 * time.Millisecond
	maxFleet     = 2.0
)

// newHost is a real host with federation "bench".
func newHost(t testing.TB, more ...env.Spec) (*env.Fleet, *host.Cluster) {
	t.Helper()
	fleet := env.Shared(append(more, env.Spec{Name: "host", ControllerManager: true})...)(t)
	t.Cleanup(fleet.Stop)
	manager, err := envhost.Make(t.Context(), fleet.Cluster("host"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(manager.Close)
	h, err := host.Connect(fleet.Cluster("host").Config())
	if err != nil {
		t.Fatal(err)
	}
	federation := &v1alpha1.Federation{}
	federation.Name = "bench"
	if _, err := h.CreateFederation(t.Context(), federation, cluster.DryRunNone); err != nil {
		t.Fatal(err)
	}
	return fleet, h
}

// BenchmarkJoinMany joins one cluster, and then twenty at once, as a person does, and reports how long each took and
// their ratio. The host is real; the members are simulated, since twenty real ones need 6 GB.
func BenchmarkJoinMany(b *testing.B) {
	fleet, h := newHost(b)
	var one, many []time.Duration
	number := 0
	for b.Loop() {
		for _, size := range []int{1, fleetSize} {
			kubeconfig := filepath.Join(b.TempDir(), "kubeconfig")
			contexts := []env.Context{fleet.Cluster("host").Context()}
			var names []string
			for range size {
				number++
				name := fmt.Sprintf("member-%d", number)
				names = append(names, name)
				contexts = append(contexts, env.Context{Name: name, Config: newSimulated(b, number, requestDelay).config()})
			}
			if err := env.WriteKubeconfig(kubeconfig, contexts...); err != nil {
				b.Fatal(err)
			}
			command := []string{"kubectl-federate", "--kubeconfig", kubeconfig, "join", "--federation", "bench"}
			if size == 1 {
				one = append(one, run(b, append(command, names[0], "--member-context", names[0])))
			} else {
				many = append(many, run(b, append(command, "--member-contexts", strings.Join(names, ","))))
			}
			leave(b, h, names)
		}
	}
	alone, together := median(one), median(many)
	ratio := together.Seconds() / alone.Seconds()
	b.ReportMetric(0, "ns/op") // the sum of both says nothing
	b.ReportMetric(alone.Seconds()*1000, "one-ms")
	b.ReportMetric(together.Seconds()*1000, fmt.Sprintf("%d-ms", fleetSize))
	b.ReportMetric(ratio, fmt.Sprintf("%d/one", fleetSize))
	if ratio > maxFleet {
		b.Errorf("%d clusters take %.2f times as long to join as one, more than %.1f", fleetSize, ratio, maxFleet)
	}
}

// run runs a command line and returns how long it took.
func run(b *testing.B, args []string) time.Duration {
	b.Helper()
	var out bytes.Buffer
	began := time.Now()
	code := cli.Run(b.Context(), args, genericiooptions.IOStreams{In: &bytes.Buffer{}, Out: &out, ErrOut: &out})
	took := time.Since(began)
	if code != 0 {
		b.Fatalf("%s: exit code %d\n%s", strings.Join(args, " "), code, out.String())
	}
	return took
}

// leave removes the members and their credentials from the host, so that the next round finds it as this one did.
func leave(b *testing.B, h *host.Cluster, names []string) {
	b.Helper()
	cluster.ForEach(len(names), func(i int) error {
		ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
		defer cancel()
		name := v1alpha1.MemberName(names[i])
		if err := errors.Join(h.DeleteCredential(ctx, name), h.DeleteMember(ctx, name, cluster.Preconditions{}, cluster.DryRunNone)); err != nil {
			b.Error(err)
		}
		return nil
	})
}

// TestSimulatedMember joins a real cluster and a simulated one: the requests and the answers' codes are the same, but
// for how often the new credential is tried until it works.
func TestSimulatedMember(t *testing.T) {
	fleet, h := newHost(t, env.Spec{Name: "real", ControllerManager: true})
	join := func(name v1alpha1.MemberName, config *rest.Config) []string {
		seen := &recorder{seen: map[string]int{}}
		m, err := member.Connect(seen.wrap(config))
		if err != nil {
			t.Fatal(err)
		}
		plan, err := federate.PlanJoin(t.Context(), h, m, federate.JoinOptions{Name: name, Federation: "bench"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := plan.Apply(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		return seen.lines()
	}
	genuine, simulated := join("real", fleet.Cluster("real").Config()), join("simulated", newSimulated(t, 1, 0).config())
	if diff := cmp.Diff(genuine, simulated); diff != "" {
		t.Errorf("requests (-real +simulated):\n%s", diff)
	}
	if !slices.ContainsFunc(genuine, func(line string) bool { return strings.Contains(line, "/token 201") }) {
		t.Errorf("the join asked for no token; is it recorded?\n%s", strings.Join(genuine, "\n"))
	}
}
