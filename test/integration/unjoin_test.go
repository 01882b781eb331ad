//go:build unix

package integration

import (
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// wantNote fails the test when a command noted anything else.
func wantNote(t *testing.T, notes []federate.Finding, want string) {
	t.Helper()
	if len(notes) != 1 || notes[0].String() != want {
		t.Errorf("notes %v, want %s", notes, want)
	}
}

// TestUserObjects puts a user's object into the namespace that join made: unjoin leaves both.
func TestUserObjects(t *testing.T) {
	p := newPair(t, "survive", nil)
	p.joined(federate.JoinOptions{})
	theirs := clientset(t, p.member.Config()).CoreV1().ConfigMaps(v1alpha1.MemberNamespace)
	if _, err := theirs.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "theirs"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	wantNote(t, p.unjoined(federate.UnjoinOptions{}).Notes,
		`member: Namespace "kubefederate-member": stays: it holds objects that kubectl federate did not create: configmaps/theirs: `+
			`if it is not needed, delete it: kubectl delete namespaces kubefederate-member --context CONTEXT`)
	if err := theirs.Delete(t.Context(), "theirs", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	// join made the namespace: the next unjoin takes it.
	p.joined(federate.JoinOptions{})
	if result := p.unjoined(federate.UnjoinOptions{}); result.Reason == "" {
		t.Errorf("%+v", result)
	}
	p.unchanged()
}

// TestUnjoinFinalizers keeps a binding on the member with a finalizer, and then the host's record: as long as either exists, the
// cluster has not left.
func TestUnjoinFinalizers(t *testing.T) {
	p := newPair(t, "final", nil).furnished()
	p.joined(federate.JoinOptions{})
	finalizers := func(conn *cluster.Conn, ref cluster.Ref, names ...any) {
		t.Helper()
		if _, err := conn.MergePatch(t.Context(), ref, map[string]any{"metadata": map[string]any{"finalizers": names}}, cluster.DryRunNone); err != nil {
			t.Fatal(err)
		}
	}
	binding := cluster.Ref{Resource: cluster.ClusterRoleBindings, Name: member.ManagerRole}
	finalizers(p.m.Conn, binding, "example.com/theirs")
	_, err := p.unjoin(federate.UnjoinOptions{Cluster: command.Cluster{Context: "west"}})
	partial, ok := errors.AsType[*federate.Partial](err)
	if !ok {
		t.Fatalf("error %T: %v", err, err)
	}
	const want = `member: ClusterRoleBinding "kubefederate-member:manager": is being deleted, and stays until its finalizers are done: example.com/theirs (set by kubectl-federate)`
	if partial.Err.Error() != want || partial.Next != "kubectl federate unjoin final --member-context west" {
		t.Errorf("%v\nwant:\n%s", partial, want)
	}
	if k, err := p.m.Membership(t.Context()); err != nil || k == nil {
		t.Errorf("membership record %v, %v: the cluster could be taken by another", k, err)
	}
	finalizers(p.m.Conn, binding)
	finalizers(p.h.Conn, host.MemberRef("final"), "example.com/theirs")
	// A member that is still there has not left: it holds its name, its cluster ID and its place.
	_, err = p.unjoin(federate.UnjoinOptions{Cluster: command.Cluster{Context: "west"}})
	const held = `could not finish: unjoin "final"
* host: MemberCluster "final": is being deleted, and stays until its finalizers are done: example.com/theirs (set by kubectl-federate)
* done: 2 of 3 steps
* left: host: MemberCluster "final"
to continue, run: kubectl federate unjoin final --member-context west`
	if partial, ok := errors.AsType[*federate.Partial](err); !ok || partial.Error() != held {
		t.Errorf("%v\nwant:\n%s", err, held)
	}
	finalizers(p.h.Conn, host.MemberRef("final"))
	p.unjoined(federate.UnjoinOptions{})
	p.unchanged()
}

// TestUnjoinForce lets a member go without reaching it, and then removes from it what had stayed.
func TestUnjoinForce(t *testing.T) {
	p := newPair(t, "force", nil)
	p.joined(federate.JoinOptions{})
	if _, err := unjoin(t.Context(), p.h, nil, federate.UnjoinOptions{Name: "force", Force: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.h.Member(t.Context(), "force"); !apierrors.IsNotFound(err) {
		t.Errorf("the member is still there: %v", err)
	}
	// Under another name the refusal says what the cluster still carries.
	p.refused(federate.JoinOptions{Name: "other", Cluster: command.Cluster{Context: "west"}}, `cannot join "other" to federation "force"; nothing was changed
* member: ConfigMap "kubefederate-member/membership": this cluster is member "force" of federation "force" of this host: unjoin it first: kubectl federate unjoin force --member-context west`)
	p.left("force")
	plan, err := federate.PlanUnjoin(t.Context(), p.h, p.m, federate.UnjoinOptions{Name: "force"})
	if err != nil || !plan.Already() {
		t.Errorf("unjoining once more: %v, %v", plan, err)
	}
}

// TestUnlabeled takes our label from what a join made, as a tool that keeps labels in order does: unjoin revokes the accounts all
// the same, and names what it leaves.
func TestUnlabeled(t *testing.T) {
	p := newPair(t, "unlabeled", viewAccess).furnished()
	p.joined(federate.JoinOptions{})
	credential := p.credential()
	c := clientset(t, p.member.Config())
	patch, options := []byte(`{"metadata":{"labels":{"`+v1alpha1.LabelManagedBy+`":null}}}`), metav1.PatchOptions{FieldManager: "theirs"}
	for _, account := range []string{v1alpha1.ManagerAccount, v1alpha1.ConsumerAccount} {
		if _, err := c.CoreV1().ServiceAccounts(v1alpha1.MemberNamespace).Patch(t.Context(), account, types.MergePatchType, patch, options); err != nil {
			t.Fatal(err)
		}
	}
	bindings := c.RbacV1().ClusterRoleBindings()
	if _, err := bindings.Patch(t.Context(), member.ManagerRole, types.MergePatchType, patch, options); err != nil {
		t.Fatal(err)
	}
	wantNote(t, p.unjoined(federate.UnjoinOptions{Cluster: command.Cluster{Context: "west"}}).Notes,
		`member: ClusterRoleBinding "kubefederate-member:manager": stays, since it lacks the label app.kubernetes.io/managed-by=kubectl-federate, which a join sets: `+
			`if it is not needed, delete it: kubectl delete clusterrolebindings.rbac.authorization.k8s.io kubefederate-member:manager --context west`)
	p.revoked("after unjoin", credential)
	if err := bindings.Delete(t.Context(), member.ManagerRole, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	p.unchanged()
}
