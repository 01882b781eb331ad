//go:build unix

package integration

import (
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// TestUserObjects puts a user's object into the namespace that join made: unjoin leaves both.
func TestUserObjects(t *testing.T) {
	hostCluster, west := joinHost(t), joinFleet(t).Cluster("west")
	snapshot(t, west) // no namespace is ending
	fed := federation(t, hostCluster, "survive", map[string]any{})
	h, m := connectHost(t, hostCluster.Config()), connectMember(t, west.Config())
	if _, err := join(t, h, m, federate.JoinOptions{Name: "survive", Federation: fed}); err != nil {
		t.Fatal(err)
	}
	theirs := clientset(t, west.Config()).CoreV1().ConfigMaps(v1alpha1.MemberNamespace)
	if _, err := theirs.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "theirs"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	result, err := unjoin(t, h, m, federate.UnjoinOptions{Name: "survive"})
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Notes) != 1 || result.Notes[0].String() != `member: Namespace "kubefederate-member": stays: it holds objects that kubectl federate did not create: configmaps/theirs` {
		t.Errorf("notes %v", result.Notes)
	}
	if _, err := theirs.Get(t.Context(), "theirs", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
	if err := theirs.Delete(t.Context(), "theirs", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	// join made the namespace: the next unjoin takes it.
	if _, err := join(t, h, m, federate.JoinOptions{Name: "survive", Federation: fed}); err != nil {
		t.Fatal(err)
	}
	if result, err = unjoin(t, h, m, federate.UnjoinOptions{Name: "survive"}); err != nil || !result.Finishing {
		t.Errorf("%+v, %v", result, err)
	}
}

// TestUnjoinFinalizers keeps a binding on the member with a finalizer: as long as it gives its right, the
// cluster has not left.
func TestUnjoinFinalizers(t *testing.T) {
	hostCluster, west := joinHost(t), joinFleet(t).Cluster("west")
	userNamespace(t, west)
	fed := federation(t, hostCluster, "final", map[string]any{})
	before, hostBefore := snapshot(t, west), snapshot(t, hostCluster)
	h, m := connectHost(t, hostCluster.Config()), connectMember(t, west.Config())
	if _, err := join(t, h, m, federate.JoinOptions{Name: "final", Federation: fed}); err != nil {
		t.Fatal(err)
	}
	finalizers := func(conn *cluster.Conn, ref cluster.Ref, names ...any) {
		t.Helper()
		if _, err := conn.MergePatch(t.Context(), ref, map[string]any{"metadata": map[string]any{"finalizers": names}}, cluster.DryRunNone); err != nil {
			t.Fatal(err)
		}
	}
	binding := cluster.Ref{Resource: cluster.ClusterRoleBindings, Name: member.ManagerRole}
	finalizers(m.Conn, binding, "example.com/theirs")
	_, err := unjoin(t, h, m, federate.UnjoinOptions{Name: "final", Cluster: command.Cluster{Context: "west"}})
	partial, ok := errors.AsType[*federate.Partial](err)
	if !ok {
		t.Fatalf("error %T: %v", err, err)
	}
	const want = `member: ClusterRoleBinding "kubefederate-member:manager": is being deleted, and stays until its finalizers are done: example.com/theirs`
	if partial.Err.Error() != want || partial.Next != "kubectl federate unjoin final --member-context west" {
		t.Errorf("%v\nwant:\n%s", partial, want)
	}
	if k, err := m.Membership(t.Context()); err != nil || k == nil {
		t.Errorf("membership record %v, %v: the cluster could be taken by another", k, err)
	}
	finalizers(m.Conn, binding)
	finalizers(h.Conn, host.MemberRef("final"), "example.com/theirs")
	result, err := unjoin(t, h, m, federate.UnjoinOptions{Name: "final"})
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Notes) != 1 || result.Notes[0].String() != `host: MemberCluster "final": is being deleted, and stays until its finalizers are done: example.com/theirs` {
		t.Errorf("notes %v", result.Notes)
	}
	finalizers(h.Conn, host.MemberRef("final"))
	becomes(t, "the member", before, west)
	becomes(t, "the host", hostBefore, hostCluster)
}

// TestUnjoinForce lets a member go without reaching it, and then removes from it what had stayed.
func TestUnjoinForce(t *testing.T) {
	hostCluster, west := joinHost(t), joinFleet(t).Cluster("west")
	before := snapshot(t, west)
	fed := federation(t, hostCluster, "force", map[string]any{})
	h, m := connectHost(t, hostCluster.Config()), connectMember(t, west.Config())
	if _, err := join(t, h, m, federate.JoinOptions{Name: "force", Federation: fed}); err != nil {
		t.Fatal(err)
	}
	if _, err := unjoin(t, h, nil, federate.UnjoinOptions{Name: "force", Force: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Member(t.Context(), "force"); !apierrors.IsNotFound(err) {
		t.Errorf("the member is still there: %v", err)
	}
	// Under another name the refusal says what the cluster still carries.
	_, err := federate.PlanJoin(t.Context(), h, m, federate.JoinOptions{Name: "other", Federation: fed, Cluster: command.Cluster{Context: "west"}})
	wantRefusal(t, err, `cannot join "other" to federation "force"; nothing was changed
* member: ConfigMap "kubefederate-member/membership": this cluster is member "force" of federation "force" of this host: unjoin it first: kubectl federate unjoin force --member-context west`)
	if _, err := unjoin(t, h, m, federate.UnjoinOptions{Name: "force"}); err != nil {
		t.Fatal(err)
	}
	becomes(t, "the member", before, west)
	plan, err := federate.PlanUnjoin(t.Context(), h, m, federate.UnjoinOptions{Name: "force"})
	if err != nil || !plan.Already() {
		t.Errorf("unjoining once more: %v, %v", plan, err)
	}
}
