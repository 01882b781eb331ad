//go:build unix

package health

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/test/env"
)

// newFederation makes a federation with its own health, to the end of the test.
func newFederation(t *testing.T, h *host.Cluster, name string, health *v1alpha1.Health) {
	t.Helper()
	f := &v1alpha1.Federation{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.FederationSpec{Health: health}}
	if _, err := h.CreateFederation(t.Context(), f, cluster.DryRunNone); err != nil {
		t.Fatal(err)
	}
}

// TestPaces holds that each federation's members are probed as it says, and that a change of that reaches those that are probed
// already.
func TestPaces(t *testing.T) {
	east, west := fleet(t).Cluster("east"), fleet(t).Cluster("west")
	h, often := connect(t, east)
	_, seldom := connect(t, west)
	newFederation(t, h, "seldom", &v1alpha1.Health{Interval: "1h"})
	quick, slow := newGateway(t, east), newGateway(t, west)
	join(t, h, often, quick.options("often"))
	o := slow.options("seldom")
	o.Federation = "seldom"
	join(t, h, seldom, o)
	becomes(t, h, "often", answers)
	becomes(t, h, "seldom", answers)

	before := len(slow.since(0))
	quick.more(t, 20)
	if came := slow.since(before); len(came) > 0 {
		t.Errorf("a member that is probed hourly is asked %q", came)
	}
	setHealth(t, h, "seldom", nil)
	slow.more(t, 20)

	// Three failures in a row are none of four.
	setHealth(t, h, "seldom", map[string]any{"failures": 4})
	was := becomes(t, h, "seldom", answers)
	slow.more(t, 2)
	slow.fail.Store(3)
	slow.more(t, 8)
	if is := becomes(t, h, "seldom", answers); is.ResourceVersion != was.ResourceVersion {
		t.Errorf("what passed by itself is reported: %+v", is.Status)
	}
	broken := func(g *gateway, name v1alpha1.MemberName) {
		t.Helper()
		becomes(t, h, name, health{v1alpha1.PhaseNotReady, "ServerError", g.URL + " answers with the error 503 Service Unavailable"})
	}
	slow.fail.Store(1 << 20)
	broken(slow, "seldom")
	slow.fail.Store(0)
	becomes(t, h, "seldom", answers)
	// Both ways know their clients by themselves: only when they lead nowhere, a credential ceases to work.
	quick.fail.Store(1 << 20)
	slow.fail.Store(1 << 20)
	broken(slow, "seldom")
	broken(quick, "often")
	unjoin(t, h, often, "often")
	unjoin(t, h, seldom, "seldom")
}

// within waits until a member has a phase, which it must have in time.
func within(t *testing.T, h *host.Cluster, name v1alpha1.MemberName, want v1alpha1.Phase, bound time.Duration) {
	t.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), bound)
	defer cancel()
	err := env.Poll(ctx, func(ctx context.Context) error {
		now, err := h.Member(ctx, name)
		if err == nil && now.Status.Phase != want {
			err = fmt.Errorf("it is %s", now.Status.Phase)
		}
		return err
	})
	if err != nil {
		t.Fatalf("not %s after %s: %v", want, bound, err)
	}
	t.Logf("%s after %s, of %s", want, time.Since(began).Round(100*time.Millisecond), bound)
}

// TestPaceInTime holds the formulas of docs/operations.md for how long a member that does not answer any more is Ready still, and how
// long one that is back is Offline, with short times. TestDefaultPace holds the default ones.
func TestPaceInTime(t *testing.T) {
	east := fleet(t).Cluster("east")
	h, m := connect(t, east)
	const (
		interval, timeout, failures = 5 * time.Second, 2 * time.Second, 2
		// written is until the host has what was found, on a busy machine.
		written = 10 * time.Second
	)
	restart := func(flags []string) {
		t.Helper()
		manager.Stop()
		manager.Flags = flags
		if err := errors.Join(manager.Start(t.Context()), manager.Wait(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
	flags := manager.Flags
	restart(append(slices.Clone(flags), "--probe-timeout="+timeout.String()))
	defer restart(flags)
	newFederation(t, h, "quick", &v1alpha1.Health{Interval: interval.String(), Failures: failures})
	g := newGateway(t, east)
	o := g.options("quick")
	o.Federation = "quick"
	join(t, h, m, o)
	becomes(t, h, "quick", answers)
	g.silent.Store(true)
	within(t, h, "quick", v1alpha1.PhaseOffline, interval+(failures-1)*interval/6+failures*timeout+written)
	g.silent.Store(false)
	within(t, h, "quick", v1alpha1.PhaseReady, interval+timeout+written)
	g.fail.Store(1 << 20)
	within(t, h, "quick", v1alpha1.PhaseNotReady, interval+(failures-1)*interval/6+written)
	unjoin(t, h, m, "quick")
}

// setHealth changes spec.health of a federation.
func setHealth(t *testing.T, h *host.Cluster, name string, to map[string]any) {
	t.Helper()
	ref := cluster.Ref{Resource: cluster.Federations, Name: name}
	if _, err := h.MergePatch(t.Context(), ref, map[string]any{"spec": map[string]any{"health": to}}, cluster.DryRunNone); err != nil {
		t.Fatal(err)
	}
}
