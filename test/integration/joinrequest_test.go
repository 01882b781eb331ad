//go:build unix

package integration

import (
	"context"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/member"
	"github.com/kubefederate/kubectl-federate/test/env"
)

// TestJoinRequestAfterUnjoin shows what unjoin does with a federation label: it stays, with a word that the cluster left, until
// it is dropped or made anew.
func TestJoinRequestAfterUnjoin(t *testing.T) {
	p := newPair(t, "requests", nil)
	for _, tc := range []struct {
		drop bool
		want member.JoinRequest
	}{
		{false, member.JoinRequest{Federation: "requests", Namespace: "kube-system", Left: "requests"}},
		{true, member.JoinRequest{}},
	} {
		if got, err := p.m.SetJoinRequest(t.Context(), "requests", cluster.DryRunNone); err != nil || got.Left != "" {
			t.Errorf("a new federation label is %+v, %v", got, err)
		}
		p.joined(federate.JoinOptions{})
		p.unjoined(federate.UnjoinOptions{DropLabel: tc.drop})
		if self, err := p.m.Self(t.Context()); err != nil || self.JoinRequest != tc.want {
			t.Errorf("dropped %t: federation label %+v, %v, want %+v", tc.drop, self.JoinRequest, err, tc.want)
		}
	}
	p.unchanged()
}

// TestJoinRequestNamespace writes the federation label where the caller may, and where a policy lets it be: on a namespace that is made
// for it and goes with it.
func TestJoinRequestNamespace(t *testing.T) {
	west := joinFleet(t).Cluster("west")
	before := snapshot(t, west)
	withdraw := grant(t, west, "labeler",
		rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"namespaces"}, Verbs: []string{"get", "create"}},
		rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"namespaces"}, ResourceNames: []string{v1alpha1.MemberNamespace}, Verbs: []string{"patch", "delete"}},
		rbacv1.PolicyRule{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"list"}},
	)
	m := connectMember(t, west.User("labeler"))
	env.Eventually(t, "the binding holds", func(ctx context.Context) error { _, err := m.Self(ctx); return err })
	want := member.JoinRequest{Federation: "prod", Namespace: v1alpha1.MemberNamespace}
	if got, err := m.SetJoinRequest(t.Context(), "prod", cluster.DryRunNone); err != nil || got != want {
		t.Errorf("set %+v, %v, want %+v", got, err, want)
	}
	if self, err := m.Self(t.Context()); err != nil || self.JoinRequest != want {
		t.Errorf("read %+v, %v, want %+v", self, err, want)
	}
	if got, err := m.RemoveLabelAndNamespace(t.Context(), cluster.DryRunNone); err != nil || got != want {
		t.Errorf("removed %+v, %v, want %+v", got, err, want)
	}
	withdraw()
	becomes(t, "the cluster", before, west)

	admin := connectMember(t, west.Config())
	end := policy(t, west, "kube-system", func(ctx context.Context) error {
		_, err := admin.MergePatch(ctx, cluster.IdentityNamespace, map[string]any{"metadata": map[string]any{"labels": map[string]any{"a": "b"}}}, cluster.DryRunServer)
		return err
	})
	if got, err := admin.SetJoinRequest(t.Context(), "prod", cluster.DryRunNone); err != nil || got != want {
		t.Errorf("with a policy for kube-system: set %+v, %v, want %+v", got, err, want)
	}
	if got, err := admin.RemoveLabelAndNamespace(t.Context(), cluster.DryRunNone); err != nil || got != want {
		t.Errorf("with a policy for kube-system: removed %+v, %v, want %+v", got, err, want)
	}
	end()
	becomes(t, "the cluster", before, west)
	stranger := connectMember(t, west.User("stranger"))
	_, err := stranger.SetJoinRequest(t.Context(), "prod", cluster.DryRunNone)
	wantError(t, err, `member: patch Namespace "kube-system": namespaces "kube-system" is forbidden: User "stranger" cannot patch resource "namespaces" in API group "" in the namespace "kube-system"`)
}
