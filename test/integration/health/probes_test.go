//go:build unix

package health

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httputil"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/test/env"
)

// run runs the plugin against the host, and returns what it prints on stdout.
func run(t *testing.T, kubeconfig string, args ...string) string {
	t.Helper()
	var out, errOut bytes.Buffer
	args = append(append([]string{"kubectl-federate"}, args...), "--kubeconfig", kubeconfig)
	code := cli.Run(t.Context(), args, genericiooptions.IOStreams{In: &bytes.Buffer{}, Out: &out, ErrOut: &errOut})
	if code != 0 && args[1] != "check" {
		t.Fatalf("%s: exit code %d: %s", args, code, errOut.String())
	}
	return out.String()
}

// phases are what each command says of member east.
func phases(t *testing.T, kubeconfig string) string {
	t.Helper()
	of := func(line string) string {
		for _, phase := range []v1alpha1.Phase{v1alpha1.PhaseReady, v1alpha1.PhaseOffline, "Unknown"} {
			if strings.Contains(line, " "+string(phase)) {
				return string(phase)
			}
		}
		return "nothing: " + line
	}
	line := func(text, with string) string {
		for l := range strings.Lines(text) {
			if strings.Contains(l, with) {
				return l
			}
		}
		return text
	}
	return strings.Join([]string{
		"get: " + of(line(run(t, kubeconfig, "get"), "east")),
		"json: " + of(" "+run(t, kubeconfig, "get", "east", "-o", "jsonpath={.status.phase}")),
		"tree: " + of(line(run(t, kubeconfig, "tree"), " east ")),
		"describe: " + of(line(run(t, kubeconfig, "describe", "east"), "Phase:")),
		"federation: " + of(line(run(t, kubeconfig, "describe", "--federation", federation), "Members:")),
	}, ", ")
}

const (
	allReady   = "get: Ready, json: Ready, tree: Ready, describe: Ready, federation: Ready"
	allUnknown = "get: Unknown, json: Unknown, tree: Unknown, describe: Unknown, federation: Unknown"
)

// patience is how long after the last probes a member counts as unknown, and the time that a command takes.
const patience = 15*time.Second + 5*time.Second

// TestProbesStop kills the manager, and stops it with the processor taken away: three intervals of probes later, which are 15
// seconds at least, no command says that a member is well. When it runs again, they do.
func TestProbesStop(t *testing.T) {
	east := fleet(t).Cluster("east")
	h, m := connect(t, east)
	kubeconfig := filepath.Join(t.TempDir(), "host")
	if err := env.WriteKubeconfig(kubeconfig, env.Context{Name: "host", Config: enforcing(t).Config()}); err != nil {
		t.Fatal(err)
	}
	join(t, h, m, federate.JoinOptions{Name: "east"})
	becomes(t, h, "east", answers)
	says := func(want string) {
		t.Helper()
		env.Eventually(t, "what commands say", func(context.Context) error {
			if got := phases(t, kubeconfig); got != want {
				return errors.New(got)
			}
			return nil
		})
	}
	says(allReady)
	servesMetrics(t, scraper(t))
	if probes := h.Probes(t.Context()); probes.Err != nil || probes.Now.Sub(probes.Until) > probes.Patience || probes.Patience != 15*time.Second {
		t.Errorf("a manager that runs has the Lease say %+v", probes)
	}

	for name, stop := range map[string]func() (again func() error){
		"killed": func() func() error {
			manager.Kill()
			return func() error { return errors.Join(manager.Start(t.Context()), manager.Wait(t.Context())) }
		},
		"stopped": func() func() error {
			if err := manager.Pause(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = manager.Resume() })
			return func() error {
				if err := manager.Resume(); err != nil {
					return err
				}
				// It may find that it does not lead any more, and end.
				env.Eventually(t, "the manager looks at members, or ends", func(ctx context.Context) error {
					if p := h.Probes(ctx); manager.Running() && p.Stopped() {
						return errors.New("it does not")
					}
					return nil
				})
				if manager.Running() {
					return nil
				}
				return errors.Join(manager.Start(t.Context()), manager.Wait(t.Context()))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "stopped" {
				env.Full(t, "to commands it is as if killed")
			}
			again := stop()
			began := time.Now()
			// It is shown as it was for a while, and not longer.
			if got := phases(t, kubeconfig); time.Since(began) < 10*time.Second && got != allReady {
				t.Errorf("at once: %s", got)
			}
			says(allUnknown)
			if took := time.Since(began); took > patience {
				t.Errorf("it took %s until no command says that the member is well, more than %s", took, patience)
			}
			if found := run(t, kubeconfig, "check"); !strings.Contains(found, "ProbesStopped") {
				t.Errorf("check finds:\n%s", found)
			}
			if err := again(); err != nil {
				t.Fatal(err)
			}
			says(allReady)
			if found := run(t, kubeconfig, "check"); strings.Contains(found, "ProbesStopped") {
				t.Errorf("check finds:\n%s", found)
			}
		})
	}
	unjoin(t, h, m, "east")
}

// hanging answers nothing.
type hanging struct{}

// RoundTrip implements http.RoundTripper.
func (hanging) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// TestHangingMember holds that a member which takes every request and never answers delays no other: what is known of them stays
// known.
func TestHangingMember(t *testing.T) {
	env.Full(t, "it watches for 40 seconds")
	east, west := fleet(t).Cluster("east"), fleet(t).Cluster("west")
	h, m := connect(t, east)
	_, other := connect(t, west)
	g := newGateway(t, west)
	join(t, h, m, federate.JoinOptions{Name: "east"})
	join(t, h, other, federate.JoinOptions{Name: "hanging", Server: g.URL, CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: g.Certificate().Raw})})
	becomes(t, h, "east", answers)
	becomes(t, h, "hanging", answers)
	g.to.Store(&httputil.ReverseProxy{Transport: hanging{}, Rewrite: func(*httputil.ProxyRequest) {}})
	var last time.Time
	for began := time.Now(); time.Since(began) < 40*time.Second; {
		p := h.Probes(t.Context())
		if p.Err != nil || p.Stopped() {
			t.Fatalf("after %s: %+v", time.Since(began), p)
		}
		if p.Until.Before(last) {
			t.Fatalf("the time goes back from %s to %s", last, p.Until)
		}
		last = p.Until
		env.Eventually(t, "a later time", func(ctx context.Context) error {
			if p := h.Probes(ctx); !p.Until.After(last) {
				return fmt.Errorf("it is %s", p.Until)
			}
			return nil
		})
	}
	becomes(t, h, "hanging", health{v1alpha1.PhaseOffline, "TimedOut",
		"no answer from " + g.URL + ": timed out; check that the cluster runs and that the host can reach it"})
	g.lead(t, west)
	becomes(t, h, "hanging", answers)
	unjoin(t, h, m, "east")
	g.lead(t, east) // the gateway takes any token of west
	unjoin(t, h, other, "hanging")
}
