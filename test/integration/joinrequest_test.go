//go:build unix

package integration

import (
	"context"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/member"
	"github.com/kubefederate/kubectl-federate/test/env"
)

// TestJoinRequestAfterUnjoin shows what unjoin does with a federation label: it stays, with a word that the cluster left, until
// it is dropped or made anew.
func TestJoinRequestAfterUnjoin(t *testing.T) {
	hostCluster, west := joinHost(t), joinFleet(t).Cluster("west")
	before := snapshot(t, west)
	fed := federation(t, hostCluster, "requests", map[string]any{})
	h, m := connectHost(t, hostCluster.Config()), connectMember(t, west.Config())
	if _, err := m.SetJoinRequest(t.Context(), fed, cluster.DryRunNone); err != nil {
		t.Fatal(err)
	}
	leave := func(drop bool) {
		t.Helper()
		if _, err := join(t, h, m, federate.JoinOptions{Name: "requests", Federation: fed}); err != nil {
			t.Fatal(err)
		}
		if _, err := unjoin(t, h, m, federate.UnjoinOptions{Name: "requests", DropLabel: drop}); err != nil {
			t.Fatal(err)
		}
	}
	request := func() member.JoinRequest {
		t.Helper()
		self, err := m.Self(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return self.JoinRequest
	}
	leave(false)
	if got, want := request(), (member.JoinRequest{Federation: fed, Namespace: "kube-system", Left: fed}); got != want {
		t.Errorf("federation label %+v, want %+v", got, want)
	}
	if got, err := m.SetJoinRequest(t.Context(), fed, cluster.DryRunNone); err != nil || got.Left != "" {
		t.Errorf("a new federation label is %+v, %v", got, err)
	}
	leave(true)
	if got := request(); got != (member.JoinRequest{}) {
		t.Errorf("federation label %+v after it was dropped", got)
	}
	becomes(t, "the member", before, west)
}

// TestJoinRequestNamespace writes the federation label where the caller may: on a namespace that is made for it and
// goes with it.
func TestJoinRequestNamespace(t *testing.T) {
	west := joinFleet(t).Cluster("west")
	before := snapshot(t, west)
	rbac := clientset(t, west.Config()).RbacV1()
	name := "wisher"
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"namespaces"}, Verbs: []string{"get", "create"}},
		{APIGroups: []string{""}, Resources: []string{"namespaces"}, ResourceNames: []string{v1alpha1.MemberNamespace}, Verbs: []string{"patch", "delete"}},
		{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"list"}},
	}}
	if _, err := rbac.ClusterRoles().Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	binding := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: name}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: name}}}
	if _, err := rbac.ClusterRoleBindings().Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	m := connectMember(t, west.User(name))
	env.Eventually(t, "the binding holds", func(ctx context.Context) error { _, err := m.Self(ctx); return err })
	want := member.JoinRequest{Federation: "prod", Namespace: v1alpha1.MemberNamespace}
	if got, err := m.SetJoinRequest(t.Context(), "prod", cluster.DryRunNone); err != nil || got != want {
		t.Errorf("set %+v, %v, want %+v", got, err, want)
	}
	if self, err := m.Self(t.Context()); err != nil || self.JoinRequest != want {
		t.Errorf("read %+v, %v, want %+v", self, err, want)
	}
	if got, err := m.RemoveJoinRequest(t.Context(), cluster.DryRunNone); err != nil || got != want {
		t.Errorf("removed %+v, %v, want %+v", got, err, want)
	}
	if err := rbac.ClusterRoleBindings().Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Error(err)
	}
	if err := rbac.ClusterRoles().Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Error(err)
	}
	becomes(t, "the cluster", before, west)
	stranger := connectMember(t, west.User("stranger"))
	_, err := stranger.SetJoinRequest(t.Context(), "prod", cluster.DryRunNone)
	if want := `member: patch Namespace "kube-system": namespaces "kube-system" is forbidden: User "stranger" cannot patch resource "namespaces" in API group "" in the namespace "kube-system"`; err == nil || err.Error() != want {
		t.Errorf("a stranger: %v, want %s", err, want)
	}
}
