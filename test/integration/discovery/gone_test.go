//go:build unix

package discovery

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/test/env"
)

// label sets the federation label of an object, or removes it where federation is empty.
func (l *lab) label(t *testing.T, o *unstructured.Unstructured, federation string) {
	t.Helper()
	value := "null"
	if federation != "" {
		value = fmt.Sprintf("%q", federation)
	}
	patch := fmt.Sprintf(`{"metadata":{"labels":{%q:%s}}}`, v1alpha1.LabelFederation, value)
	if err := l.Patch(t.Context(), o, client.RawPatch("application/merge-patch+json", []byte(patch))); err != nil {
		t.Fatal(err)
	}
}

// present waits until the condition SourcePresent of a member begins like this: status, reason and message.
func (l *lab) present(t *testing.T, member, want string) {
	t.Helper()
	env.Eventually(t, "SourcePresent of "+member, func(ctx context.Context) error {
		m := &v1alpha1.MemberCluster{}
		if err := l.Get(ctx, client.ObjectKey{Name: member}, m); err != nil {
			return err
		}
		got := "none"
		if c := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionSourcePresent); c != nil {
			got = fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message)
		}
		if !strings.HasPrefix(got, want) {
			return fmt.Errorf("%s, want %s", got, want)
		}
		return nil
	})
}

// TestKeep follows a member whose object loses its label, gets it again, and whose record is deleted: it is kept, and it stays out until
// it is asked for anew.
func TestKeep(t *testing.T) {
	l := start(t)
	const fed, ns = "keep", "team-keep"
	l.make(t, namespace(ns))
	l.federation(t, fed, v1alpha1.Discovery{
		Acceptance: v1alpha1.DiscoveryAsFederation, Sources: []v1alpha1.DiscoverySource{{Kind: v1alpha1.SourceClusterAPI, Namespaces: []string{ns}}},
	})
	l.grant(t, discovers(fed), manifests.DiscoverySecretBinding(ns, "kept-kubeconfig"))
	o := object("cluster.x-k8s.io/v1beta2", "Cluster", ns, "kept", asks(fed), nil)
	l.make(t, o, secret(ns, "kept-kubeconfig", nil, map[string]string{"value": kubeconfig(t, add(t, env.Spec{Name: "kept"}))}))
	const joined = "kept by ClusterAPI team-keep/kept: Ready"
	l.becomes(t, fed, joined)
	l.present(t, "kept", "True SourcePresent")

	l.label(t, o, "")
	l.present(t, "kept", `False LabelRemoved: the label of ClusterAPI object "team-keep/kept" was removed`)
	l.reports(t, fed, "1 1 1")
	l.label(t, o, fed)
	l.present(t, "kept", "True SourcePresent")
	l.reports(t, fed, "1 1 0")

	if err := l.Delete(t.Context(), &v1alpha1.MemberCluster{ObjectMeta: metaOf("kept")}); err != nil {
		t.Fatal(err)
	}
	left := "cluster-api:team-keep/kept Left: left, seen as a member until "
	l.reports(t, fed, "1 0 0", left)
	roundsGoBy()
	l.becomes(t, fed)
	l.controller.Kill()
	if err := l.controller.Start(); err != nil {
		t.Fatal(err)
	}
	l.reports(t, fed, "1 0 0", left) // it remembers

	// It is asked for anew. What the first membership left on the cluster is for a person to remove.
	l.label(t, o, "")
	l.reports(t, fed, "0 0 0")
	l.label(t, o, fed)
	l.reports(t, fed, "1 0 0", `cluster-api:team-keep/kept Conflict: it carries the membership record of member "kept", which this host no longer has; `)
}

// TestLeave has a member leave by itself when its object has been gone for a minute, and one stay whose object another system took over.
func TestLeave(t *testing.T) {
	l := start(t)
	const fed, ns = "leave", "team-leave"
	l.make(t, namespace(ns))
	l.federation(t, fed, v1alpha1.Discovery{
		Sources: []v1alpha1.DiscoverySource{
			{Name: "capi", Kind: v1alpha1.SourceClusterAPI, Namespaces: []string{ns}}, {Name: "fleet", Kind: v1alpha1.SourceFleet, Namespaces: []string{ns}},
		},
		WhenGone: v1alpha1.GoneLeave, GonePatience: "1m",
	})
	l.grant(t, discovers(fed), manifests.DiscoverySecretBinding(ns, "left-kubeconfig"), manifests.DiscoverySecretBinding(ns, "taken"))
	leaving := add(t, env.Spec{Name: "left", ControllerManager: true})
	o := object("cluster.x-k8s.io/v1beta2", "Cluster", ns, "left", asks(fed), nil)
	l.make(t, o, secret(ns, "left-kubeconfig", nil, map[string]string{"value": kubeconfig(t, leaving)}))
	taken := object("fleet.cattle.io/v1alpha1", "Cluster", ns, "taken", asks(fed), map[string]any{"spec": map[string]any{"kubeConfigSecret": "taken"}})
	l.make(t, taken, secret(ns, "taken", nil, map[string]string{"value": kubeconfig(t, add(t, env.Spec{Name: "taken"}))}))
	const stays = "taken by Fleet team-leave/taken: Pending"
	l.becomes(t, fed, "left by ClusterAPI team-leave/left: Pending", stays)
	// Rancher's own label, as Fleet's clusters have under Rancher.
	if err := l.Patch(t.Context(), taken, client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":{"management.cattle.io/cluster-name":"c-m-x"}}}`))); err != nil {
		t.Fatal(err)
	}
	l.present(t, "taken", "False ObjectGone")
	l.label(t, o, "")
	l.present(t, "left", `False LabelRemoved: the label of ClusterAPI object "team-leave/left" was removed; to let it leave by itself: kubectl federate grant leave --discovery --leave`)
	l.revoke(t, discovers(fed))
	l.grant(t, discovers(fed, v1alpha1.VerbLeave))
	l.present(t, "left", `False LabelRemoved: the label of ClusterAPI object "team-leave/left" was removed; it leaves at `)
	l.becomes(t, fed, stays)
	l.present(t, "taken", `False ObjectGone: Fleet object "team-leave/taken" is there, but not in its source any more`)
	// Nothing stays on the cluster, which was reached by the Secret of its object.
	member, err := client.New(leaving.Config(), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	env.Eventually(t, "the namespace on the cluster is gone", func(ctx context.Context) error {
		if err := member.Get(ctx, client.ObjectKey{Name: v1alpha1.MemberNamespace}, namespace("")); client.IgnoreNotFound(err) != nil || err == nil {
			return fmt.Errorf("it is there: %w", err)
		}
		return nil
	})
}
