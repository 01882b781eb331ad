//go:build unix

package admission

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

const (
	joiningPolicy    = "joining.kubefederate.io"
	membershipPolicy = "membership.kubefederate.io"
	leavingPolicy    = "leaving.kubefederate.io"
	memberclusters   = "memberclusters.kubefederate.io"
)

// mergePatch is a change of a member as kubectl patch --type merge sends it.
func mergePatch(c client.Client, t *testing.T, name, patch string, options ...client.PatchOption) error {
	t.Helper()
	return c.Patch(t.Context(), &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: name}}, client.RawPatch(types.MergePatchType, []byte(patch)), options...)
}

// broad may write members everywhere as far as RBAC goes, and holds none of the verbs.
func broad(user string) []*unstructured.Unstructured {
	return role(user, "", rbacv1.PolicyRule{
		APIGroups: []string{"kubefederate.io"}, Resources: []string{"memberclusters", "memberclusters/status", "federations"},
		Verbs: []string{"get", "list", "create", "update", "patch", "delete", "deletecollection"},
	})
}

// TestWhoMay goes through what a joiner, an approver and a user with broad rights of RBAC may do to the members of two
// federations.
func TestWhoMay(t *testing.T) {
	t.Parallel()
	h := enforcing(t)
	h.create(t, fed("red"))
	blue := fed("blue")
	blue.Spec.Acceptance = v1alpha1.AcceptManual
	h.create(t, blue, member("red-1", "red"), member("blue-1", "blue"))

	alice := h.user(t, "alice", manifests.JoinerBinding("red", subject("alice")))
	bob := h.user(t, "bob", manifests.ApproverBinding("blue", subject("bob")))
	carol := h.user(t, "carol", broad("carol"))
	ivy := h.user(t, "ivy", manifests.IntegratorBinding("blue", subject("ivy")))
	grace := h.user(t, "grace", role("grace", "",
		rbacv1.PolicyRule{APIGroups: []string{"kubefederate.io"}, Resources: []string{"memberclusters"}, Verbs: []string{"create"}},
		rbacv1.PolicyRule{APIGroups: []string{"kubefederate.io"}, Resources: []string{"federations"}, ResourceNames: []string{"red"}, Verbs: []string{"join"}}))

	create := func(c client.Client, m *v1alpha1.MemberCluster) func() error {
		return func() error { return c.Create(t.Context(), m.DeepCopy(), client.DryRunAll) }
	}
	patch := func(c client.Client, name, patch string) func() error {
		return func() error { return mergePatch(c, t, name, patch, client.DryRunAll) }
	}
	remove := func(c client.Client, name string) func() error {
		return func() error {
			return c.Delete(t.Context(), &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: name}}, client.DryRunAll)
		}
	}
	no := func(name, message string) string {
		policy := membershipPolicy
		if name == "new" {
			policy = joiningPolicy
		}
		return denied(policy, memberclusters, name, message)
	}
	accepted := member("new", "red")
	accepted.Spec.Accepted = true
	owned := member("new", "red")
	owned.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Namespace", Name: "default", UID: "x"}}
	orphaned := member("new", "red")
	orphaned.Finalizers = []string{metav1.FinalizerOrphanDependents}
	unlabeled := member("new", "red")
	unlabeled.Labels = nil
	createdBy := func(user string) *v1alpha1.MemberCluster {
		m := member("new", "red")
		m.Annotations = map[string]string{v1alpha1.AnnotationCreatedBy: user}
		return m
	}
	const owner = `{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Namespace","name":"default","uid":"x"}]}}`

	for name, test := range map[string]struct {
		request func() error
		want    string
	}{
		"joiner joins":               {create(alice, member("new", "red")), ""},
		"joiner changes":             {patch(alice, "red-1", `{"metadata":{"labels":{"a":"b"}},"spec":{"server":"https://x.example.com","suspended":true}}`), ""},
		"joiner removes":             {remove(alice, "red-1"), ""},
		"joiner owns":                {patch(alice, "red-1", owner), ""},
		"joiner elsewhere joins":     {create(alice, member("new", "blue")), no("new", `user "alice" may not join clusters to federation "blue": it takes the verb join on federations/blue`)},
		"joiner elsewhere changes":   {patch(alice, "blue-1", `{"spec":{"server":"https://x.example.com"}}`), no("blue-1", `user "alice" may not change labels or spec of members of federation "blue": it takes the verb join on federations/blue`)},
		"joiner elsewhere labels":    {patch(alice, "blue-1", `{"metadata":{"labels":{"a":"b"}}}`), no("blue-1", `user "alice" may not change labels or spec of members of federation "blue": it takes the verb join on federations/blue`)},
		"joiner elsewhere removes":   {remove(alice, "blue-1"), denied(leavingPolicy, memberclusters, "blue-1", `user "alice" may not let clusters leave federation "blue": it takes the verb leave on federations/blue`)},
		"joiner elsewhere owns":      {patch(alice, "blue-1", owner), no("blue-1", `user "alice" may not change the ownerReferences, or the finalizers orphan and foregroundDeletion, of members of federation "blue": it takes the verb leave on federations/blue, since these decide when a member goes`)},
		"joiner elsewhere accepts":   {patch(alice, "blue-1", `{"spec":{"accepted":true}}`), no("blue-1", `user "alice" may not change spec.accepted of members of federation "blue": it takes the verb approve on federations/blue`)},
		"joiner steals":              {patch(alice, "blue-1", `{"metadata":{"labels":{"kubefederate.io/federation":"red"}}}`), faulty(membershipPolicy, memberclusters, "blue-1", `the label kubefederate.io/federation cannot change: the cluster is a member of federation "blue"; to move it, run kubectl federate move blue-1 --to red`)},
		"joiner accepts":             {patch(alice, "red-1", `{"spec":{"accepted":true}}`), no("red-1", `user "alice" may not change spec.accepted of members of federation "red": it takes the verb approve on federations/red`)},
		"joiner joins accepted":      {create(alice, accepted), no("new", `user "alice" may not change spec.accepted of members of federation "red": it takes the verb approve on federations/red`)},
		"joiner joins owned":         {create(alice, owned), ""},
		"joiner without leave owns":  {create(grace, owned), no("new", `user "grace" may not change the ownerReferences, or the finalizers orphan and foregroundDeletion, of members of federation "red": it takes the verb leave on federations/red, since these decide when a member goes`)},
		"joiner without leave joins": {create(grace, member("new", "red")), ""},
		"joiner says who":            {create(alice, createdBy("alice")), ""},
		"joiner names another":       {create(alice, createdBy("bob")), faulty(joiningPolicy, memberclusters, "new", `the annotation kubefederate.io/created-by must be "alice", who creates the member, or absent; to name another takes the verb join on federations`)},
		"joiner names no user":       {create(alice, createdBy("")), faulty(joiningPolicy, memberclusters, "new", `the annotation kubefederate.io/created-by must be "alice", who creates the member, or absent; to name another takes the verb join on federations`)},
		"joiner says who later":      {patch(alice, "red-1", `{"metadata":{"annotations":{"kubefederate.io/created-by":"alice"}}}`), faulty(membershipPolicy, memberclusters, "red-1", `the annotation kubefederate.io/created-by cannot change: it says who created the member`)},
		"backup is restored":         {create(h.admin, createdBy("alice")), ""},
		"label is missing":           {create(alice, unlabeled), faulty(joiningPolicy, memberclusters, "new", "the label kubefederate.io/federation is missing: it names the federation that the cluster joins")},
		"label is taken off":         {patch(h.admin, "red-1", `{"metadata":{"labels":{"kubefederate.io/federation":null}}}`), faulty(membershipPolicy, memberclusters, "red-1", "the label kubefederate.io/federation is missing: it names the federation that the cluster joins")},
		"label is emptied":           {patch(h.admin, "red-1", `{"metadata":{"labels":null}}`), faulty(membershipPolicy, memberclusters, "red-1", "the label kubefederate.io/federation is missing: it names the federation that the cluster joins")},
		"label moves":                {patch(h.admin, "red-1", `{"metadata":{"labels":{"kubefederate.io/federation":"blue"}}}`), faulty(membershipPolicy, memberclusters, "red-1", `the label kubefederate.io/federation cannot change: the cluster is a member of federation "red"; to move it, run kubectl federate move red-1 --to blue`)},
		"approver accepts":           {patch(bob, "blue-1", `{"spec":{"accepted":true}}`), ""},
		"approver accepts and moves": {patch(bob, "blue-1", `{"spec":{"accepted":true,"server":"https://evil.example.com"}}`), no("blue-1", `user "bob" may not change labels or spec of members of federation "blue": it takes the verb join on federations/blue`)},
		"approver accepts and tags":  {patch(bob, "blue-1", `{"metadata":{"labels":{"a":"b"}},"spec":{"accepted":true}}`), no("blue-1", `user "bob" may not change labels or spec of members of federation "blue": it takes the verb join on federations/blue`)},
		"approver accepts elsewhere": {patch(bob, "red-1", `{"spec":{"accepted":true}}`), no("red-1", `user "bob" may not change spec.accepted of members of federation "red": it takes the verb approve on federations/red`)},
		"approver forges a joiner":   {patch(bob, "blue-1", `{"metadata":{"annotations":{"kubefederate.io/joined-by":"alice"}}}`), no("blue-1", `user "bob" may not change annotations of kubefederate.io and kubectl apply of members of federation "blue": it takes the verb join on federations/blue`)},
		"approver annotates":         {patch(bob, "blue-1", `{"metadata":{"annotations":{"example.com/note":"x"}}}`), no("blue-1", `user "bob" may not change annotations or finalizers of members of federation "blue": it takes the verb join or integrate on federations/blue`)},
		"approver holds":             {patch(bob, "blue-1", `{"metadata":{"finalizers":["example.com/hold"]}}`), no("blue-1", `user "bob" may not change annotations or finalizers of members of federation "blue": it takes the verb join or integrate on federations/blue`)},
		"approver asks for a probe":  {patch(bob, "blue-1", `{"metadata":{"annotations":{"kubefederate.io/probe-requested":"1"}}}`), no("blue-1", `user "bob" may not change the annotation kubefederate.io/probe-requested of members of federation "blue": it takes the verb join or leave on federations/blue`)},
		"integrator annotates":       {patch(ivy, "blue-1", `{"metadata":{"annotations":{"example.com/note":"x"},"finalizers":["example.com/hold"]}}`), ""},
		"integrator forges apply":    {patch(ivy, "blue-1", `{"metadata":{"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{}"}}}`), no("blue-1", `user "ivy" may not change annotations of kubefederate.io and kubectl apply of members of federation "blue": it takes the verb join on federations/blue`)},
		"integrator orphans":         {patch(ivy, "blue-1", `{"metadata":{"finalizers":["orphan"]}}`), no("blue-1", `user "ivy" may not change the ownerReferences, or the finalizers orphan and foregroundDeletion, of members of federation "blue": it takes the verb leave on federations/blue, since these decide when a member goes`)},
		"integrator labels":          {patch(ivy, "blue-1", `{"metadata":{"labels":{"a":"b"}}}`), no("blue-1", `user "ivy" may not change labels or spec of members of federation "blue": it takes the verb join on federations/blue`)},
		"integrator accepts":         {patch(ivy, "blue-1", `{"spec":{"accepted":true}}`), no("blue-1", `user "ivy" may not change spec.accepted of members of federation "blue": it takes the verb approve on federations/blue`)},
		"joiner annotates":           {patch(alice, "red-1", `{"metadata":{"annotations":{"example.com/note":"x","kubefederate.io/probe-requested":"1","kubectl.kubernetes.io/last-applied-configuration":"{}"},"finalizers":["example.com/hold","orphan"]}}`), ""},
		"joiner joins orphaned":      {create(grace, orphaned), no("new", `user "grace" may not change the ownerReferences, or the finalizers orphan and foregroundDeletion, of members of federation "red": it takes the verb leave on federations/red, since these decide when a member goes`)},
		"nothing changes":            {patch(bob, "blue-1", `{}`), ""},
		"broad rights join":          {create(carol, member("new", "red")), no("new", `user "carol" may not join clusters to federation "red": it takes the verb join on federations/red`)},
		"broad rights remove": {func() error {
			return carol.DeleteAllOf(t.Context(), &v1alpha1.MemberCluster{}, client.MatchingLabels{v1alpha1.LabelFederation: "red"}, client.DryRunAll)
		}, denied(leavingPolicy, memberclusters, "Unknown", `user "carol" may not let clusters leave federation "red": it takes the verb leave on federations/red`)},
		"broad rights write a status": {func() error {
			return carol.Status().Patch(t.Context(), member("red-1", "red"), client.RawPatch(types.MergePatchType, []byte(`{"status":{"phase":"Ready"}}`)), &client.SubResourcePatchOptions{PatchOptions: client.PatchOptions{DryRun: []string{"All"}}})
		}, ""},
		"acceptance ends": {func() error {
			return carol.Patch(t.Context(), fed("blue"), client.RawPatch(types.MergePatchType, []byte(`{"spec":{"acceptance":"Automatic"}}`)), client.DryRunAll)
		}, denied("acceptance.kubefederate.io", "federations.kubefederate.io", "blue", `user "carol" may not make acceptance of federation "blue" automatic: it takes the verb approve on federations/blue, since every pending member is accepted by it`)},
		"acceptance begins": {func() error {
			return carol.Patch(t.Context(), fed("red"), client.RawPatch(types.MergePatchType, []byte(`{"spec":{"acceptance":"Manual"}}`)), client.DryRunAll)
		}, ""},
	} {
		t.Run(name, func(t *testing.T) { answers(t, test.want, test.request) })
	}
}

// TestApproverMovesNothing takes every field of the spec there is or will be: an approver without join who changes it
// while accepting is refused, and a joiner is not.
func TestApproverMovesNothing(t *testing.T) {
	t.Parallel()
	h := enforcing(t)
	h.create(t, fed("green"), member("green-1", "green"))
	dave := h.user(t, "dave", manifests.ApproverBinding("green", subject("dave")))
	erin := h.user(t, "erin", manifests.JoinerBinding("green", subject("erin")))

	policy := denied(membershipPolicy, memberclusters, "green-1", `user "dave" may not change labels or spec of members of federation "green": it takes the verb join on federations/green`)
	const immutable = `422 MemberCluster.kubefederate.io "green-1" is invalid: spec.clusterID: Invalid value: "another": clusterID is immutable: another cluster joins under another name`
	const joined = `422 MemberCluster.kubefederate.io "green-1" is invalid: spec: Invalid value: discovered is immutable: a member was joined by a person or by discovery`
	changes := map[string]struct {
		value          string
		dave, erin     string
		joinerIsFaulty bool
	}{
		// The schema comes before the policy.
		"clusterID":             {value: `"another"`, dave: immutable, erin: immutable},
		"server":                {value: `"https://other.example.com"`, dave: policy},
		"caBundle":              {value: `"Z2FyYmFnZQ=="`, dave: policy, joinerIsFaulty: true},
		"proxyURL":              {value: `"http://proxy.example.com:3128"`, dave: policy},
		"tlsServerName":         {value: `"api.example.com"`, dave: policy},
		"insecureSkipTLSVerify": {value: `true`, dave: policy, joinerIsFaulty: true},
		"suspended":             {value: `true`, dave: policy},
		"suspension":            {value: `{"reason":"upgrade"}`, dave: policy},
		"joinedWith":            {value: `{"kubernetesVersion":"v1.36.3"}`, dave: policy},
		"discovered":            {value: `{"kind":"ClusterAPI","name":"green-1","uid":"x"}`, dave: joined, erin: joined},
	}
	for field := range reflect.TypeFor[v1alpha1.MemberClusterSpec]().Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "accepted" {
			continue
		}
		change, ok := changes[name]
		if !ok {
			t.Errorf("spec.%s: say here what an approver who changes it is answered, and compare it in manifests/install/3-policies.yaml", name)
			continue
		}
		patch := fmt.Sprintf(`{"spec":{%q:%s}}`, name, change.value)
		t.Run(name, func(t *testing.T) {
			answers(t, change.dave, func() error { return mergePatch(dave, t, "green-1", patch, client.DryRunAll) })
			eventually(t, "a joiner may", func() error {
				err := mergePatch(erin, t, "green-1", patch, client.DryRunAll)
				// Past the policy the webhook judges.
				if change.joinerIsFaulty && apierrors.IsInvalid(err) {
					return nil
				}
				if text(err) != change.erin {
					return fmt.Errorf("got %v", err)
				}
				return nil
			})
		})
	}
}

// TestGarbageCollectionGoesOn holds that the collector needs none of the product's verbs, be it to delete what lost its owner
// or to take one of two owners off.
func TestGarbageCollectionGoesOn(t *testing.T) {
	t.Parallel()
	h := enforcing(t)
	h.create(t, fed("owned"))
	var owners []metav1.OwnerReference
	for _, name := range []string{"test:owner-1", "test:owner-2"} {
		o := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}}
		h.create(t, o)
		owners = append(owners, metav1.OwnerReference{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "ClusterRole", Name: name, UID: o.UID})
	}
	m := member("owned-1", "owned")
	m.OwnerReferences = owners
	h.create(t, m)

	must(t, h.admin.Delete(t.Context(), &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "test:owner-1"}}))
	eventually(t, "the first owner is taken off", func() error {
		must(t, h.admin.Get(t.Context(), client.ObjectKeyFromObject(m), m))
		if len(m.OwnerReferences) != 1 || m.OwnerReferences[0].Name != "test:owner-2" {
			return fmt.Errorf("owners %v", m.OwnerReferences)
		}
		return nil
	})
	must(t, h.admin.Delete(t.Context(), &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "test:owner-2"}}))
	eventually(t, "the member is gone", func() error {
		if err := h.admin.Get(t.Context(), client.ObjectKeyFromObject(m), m); !apierrors.IsNotFound(err) {
			return fmt.Errorf("%v", err)
		}
		return nil
	})

	// Negative control: no other user adds an owner by the collector's name.
	config := h.Config()
	config.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:kube-system:generic-garbage-collector"}
	collector, _ := as(t, config)
	h.create(t, member("owned-2", "owned"))
	answers(t, denied(membershipPolicy, memberclusters, "owned-2", `user "system:serviceaccount:kube-system:generic-garbage-collector" may not change the ownerReferences, or the finalizers orphan and foregroundDeletion, of members of federation "owned": it takes the verb leave on federations/owned, since these decide when a member goes`),
		func() error {
			owner, _ := json.Marshal(owners[:1])
			return mergePatch(collector, t, "owned-2", fmt.Sprintf(`{"metadata":{"ownerReferences":%s}}`, owner), client.DryRunAll)
		})
}

// TestMemberWithoutLabel holds what becomes of a member that is older than the policy: who holds the verbs on all federations
// may mend or delete it.
func TestMemberWithoutLabel(t *testing.T) {
	h := enforcing(t)
	h.create(t, fed("grey"))
	// The policy steps aside for as long as it takes to make such a member.
	binding := &unstructured.Unstructured{}
	binding.SetAPIVersion("admissionregistration.k8s.io/v1")
	binding.SetKind("ValidatingAdmissionPolicyBinding")
	binding.SetName(joiningPolicy)
	hook := &unstructured.Unstructured{}
	hook.SetAPIVersion("admissionregistration.k8s.io/v1")
	hook.SetKind("ValidatingWebhookConfiguration")
	hook.SetName(manifests.WebhookConfiguration)
	must(t, h.admin.Delete(t.Context(), binding))
	must(t, h.admin.Delete(t.Context(), hook))
	m := member("grey-1", "")
	m.Labels = nil
	eventually(t, "it is made", func() error { return h.admin.Create(t.Context(), m.DeepCopy()) })
	must(t, h.manager.Install(t.Context()))
	must(t, h.manager.Wait(t.Context()))

	frank := h.user(t, "frank", manifests.JoinerBinding("grey", subject("frank")))
	const patch = `{"metadata":{"labels":{"kubefederate.io/federation":"grey"},"annotations":{"a":"b"}}}`
	answers(t, denied(membershipPolicy, memberclusters, "grey-1", `user "frank" may not change labels or spec of members of no federation: it takes the verb join on federations`),
		func() error { return mergePatch(frank, t, "grey-1", patch, client.DryRunAll) })
	answers(t, denied(membershipPolicy, memberclusters, "grey-1", `user "frank" may not change annotations or finalizers of members of no federation: it takes the verb join or integrate on federations`),
		func() error {
			return mergePatch(frank, t, "grey-1", `{"metadata":{"annotations":{"a":"b"}}}`, client.DryRunAll)
		})
	answers(t, denied(leavingPolicy, memberclusters, "grey-1", `user "frank" may not delete members of no federation: it takes the verb leave on federations`),
		func() error { return frank.Delete(t.Context(), m.DeepCopy(), client.DryRunAll) })
	answers(t, "", func() error { return mergePatch(h.admin, t, "grey-1", patch, client.DryRunAll) })
	answers(t, "", func() error { return mergePatch(h.admin, t, "grey-1", `{"spec":{"suspended":true}}`, client.DryRunAll) })
	answers(t, "", func() error { return client.IgnoreNotFound(h.admin.Delete(t.Context(), m.DeepCopy())) })
}
