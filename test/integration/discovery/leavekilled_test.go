//go:build unix

package discovery

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/test/env"
)

// TestLeaveKilled has the controller die at writes of a leave, with the write done or not, and the write fail while the controller lives.
// It starts again, and in the end the member has left, and both sides hold what they held before the join.
func TestLeaveKilled(t *testing.T) {
	env.Full(t, "it takes the minute that an object must be gone, twice")
	l := start(t)
	const fed, ns = "leave-killed", "team-leave-killed"
	host, cluster := fleet(t).Cluster("host"), add(t, env.Spec{Name: "leaver", ControllerManager: true})
	e := &executioner{end: l.controller.Kill}
	l.through(t, e.handle)
	l.make(t, namespace(ns))
	l.federation(t, fed, v1alpha1.Discovery{
		Sources:  []v1alpha1.DiscoverySource{{Kind: v1alpha1.SourceClusterAPI, Namespaces: []string{ns}}},
		WhenGone: v1alpha1.GoneLeave, GonePatience: "1m",
	})
	l.grant(t, discovers(fed, v1alpha1.VerbLeave), manifests.DiscoverySecretBinding(ns, "leaver-kubeconfig"))
	o := object("cluster.x-k8s.io/v1beta2", "Cluster", ns, "leaver", nil, nil)
	l.make(t, o, secret(ns, "leaver-kubeconfig", nil, map[string]string{"value": kubeconfigAt(t, front(t, cluster, e.handle))}))
	l.reports(t, fed, "0 0 0")
	before := map[*env.Cluster]env.Objects{}
	for _, c := range []*env.Cluster{host, cluster} {
		var err error
		if before[c], err = c.Snapshot(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	l.label(t, o, fed)
	l.becomes(t, fed, "leaver by ClusterAPI team-leave-killed/leaver: Pending")
	l.reports(t, fed, "1 1 0")
	l.controller.Kill()
	l.label(t, o, "")

	var at []string
	fates := []fate{killedAfter, failed, killedBefore}
	for n := env.InTier(1, 5, 5); ; n += env.InTier(1, 8, 8) { // each takes the minute that an object must be gone
		f := fates[len(at)%len(fates)]
		e.next(n, f)
		if err := l.controller.Start(); err != nil {
			t.Fatal(err)
		}
		if !l.interrupted(t, e, fed) {
			break
		}
		if f == failed {
			l.present(t, "leaver", `False LabelRemoved: the label of ClusterAPI object "team-leave-killed/leaver" was removed; it could not leave: `)
		}
		l.controller.Kill()
		at = append(at, fmt.Sprintf("%s: %s", f, e.last))
	}
	l.reports(t, fed, "0 0 0")
	for c, was := range before {
		env.Eventually(t, c.Name+" holds what it held", func(context.Context) error {
			if more := added(t, c, was, "leaver"); len(more) > 0 {
				return fmt.Errorf("it holds more: %q", more)
			}
			return nil
		})
	}
	if len(at) < env.InTier(15, 3, 3) {
		t.Errorf("it was interrupted at %d writes only", len(at))
	}
	t.Logf("interrupted at:\n%s", strings.Join(at, "\n"))
}

// interrupted waits until a leave was interrupted, and says false where the member has left instead.
func (l *lab) interrupted(t *testing.T, e *executioner, fed string) bool {
	t.Helper()
	deadline := time.After(4 * time.Minute)
	for {
		select {
		case <-e.ended:
			return true
		case <-deadline:
			t.Fatal("the member has neither left, nor was its leave interrupted")
		case <-time.After(time.Second):
		}
		if got, err := l.members(t.Context(), fed); err == nil && len(got) == 0 {
			return false
		}
	}
}
