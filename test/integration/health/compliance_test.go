//go:build unix

package health

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterinventory "sigs.k8s.io/cluster-inventory-api/apis/v1alpha1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
	"github.com/kubefederate/kubectl-federate/test/env"
	envhost "github.com/kubefederate/kubectl-federate/test/env/host"
)

// administrator writes on a cluster as kubectl does.
func administrator(t *testing.T, c *env.Cluster) client.Client {
	t.Helper()
	w, err := envhost.Client(c.Config())
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// compliance is what the host says of a member and the rules.
type compliance struct {
	Phase      v1alpha1.Phase
	Accepted   string
	Compliant  string
	Violations []v1alpha1.Violation
}

// complies waits until member east is what it should be.
func complies(t *testing.T, w client.Client, want compliance) {
	t.Helper()
	env.Eventually(t, "what the host says of the member", func(ctx context.Context) error {
		var m v1alpha1.MemberCluster
		if err := w.Get(ctx, client.ObjectKey{Name: "east"}, &m); err != nil {
			return err
		}
		of := func(kind string) string {
			c := meta.FindStatusCondition(m.Status.Conditions, kind)
			if c == nil {
				return ""
			}
			return string(c.Status) + " " + c.Reason
		}
		got := compliance{m.Status.Phase, of(v1alpha1.ConditionAccepted), of(v1alpha1.ConditionCompliant), m.Status.Violations}
		if diff := cmp.Diff(want, got); diff != "" {
			return fmt.Errorf("(-want +got)\n%s", diff)
		}
		return nil
	})
}

const strict = "strict"

// violate waits until that many members of federation strict break its rules as they are.
func violate(t *testing.T, w client.Client, want int32) {
	t.Helper()
	env.Eventually(t, "the count of the federation", func(ctx context.Context) error {
		var f v1alpha1.Federation
		if err := w.Get(ctx, client.ObjectKey{Name: strict}, &f); err != nil {
			return err
		}
		if f.Status.ObservedGeneration != f.Generation || f.Status.Violating != want {
			return fmt.Errorf("generation %d has %+v", f.Generation, f.Status)
		}
		return nil
	})
}

// TestFirstLook plays a member that is written past the joiner, with no word on what it is, through a federation whose rules
// it breaks.
func TestFirstLook(t *testing.T) {
	east := fleet(t).Cluster("east")
	h, m := connect(t, east)
	w := administrator(t, enforcing(t))
	defer serveProfiles(t, w)()
	const shelf = "strict-fleet"
	create(t, w, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: shelf, Labels: map[string]string{v1alpha1.LabelInventory: strict}}})
	create(t, w, manifests.InventoryBinding(shelf)...)
	f := &v1alpha1.Federation{ObjectMeta: metav1.ObjectMeta{Name: strict}}
	f.Spec.Inventory = &v1alpha1.Inventory{Namespaces: []string{shelf}}
	f.Spec.KubernetesVersions = "<1.30"
	f.Spec.Rules = []v1alpha1.Rule{{Name: "eu-only", Expression: "cluster.facts.regions.all(r, r.startsWith('eu-'))"}}
	if err := w.Create(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	change := func(mutate func(*v1alpha1.FederationSpec)) error {
		next := f.DeepCopy()
		mutate(&next.Spec)
		if err := w.Patch(t.Context(), next, client.MergeFrom(f)); err != nil {
			return err // as it was, so that it can be tried again
		}
		f = next
		return nil
	}

	// What a join stored is kept, and the member written anew.
	join(t, h, m, federate.JoinOptions{Name: "east"})
	joined := becomes(t, h, "east", answers)
	var secret corev1.Secret
	if err := w.Get(t.Context(), client.ObjectKey{Namespace: v1alpha1.CredentialsNamespace, Name: "east"}, &secret); err != nil {
		t.Fatal(err)
	}
	if err := w.Delete(t.Context(), joined); err != nil {
		t.Fatal(err)
	}
	env.Eventually(t, "the member is gone", func(ctx context.Context) error {
		member := w.Get(ctx, client.ObjectKey{Name: "east"}, &v1alpha1.MemberCluster{})
		credential := w.Get(ctx, client.ObjectKeyFromObject(&secret), &corev1.Secret{})
		if !apierrors.IsNotFound(member) || !apierrors.IsNotFound(credential) {
			return fmt.Errorf("the member: %w, its credential: %w", member, credential)
		}
		return nil
	})
	byHand := &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: "east", Labels: map[string]string{v1alpha1.LabelFederation: strict}}}
	byHand.Spec = joined.Spec
	byHand.Spec.JoinedWith = nil
	if err := w.Create(t.Context(), byHand); err != nil {
		t.Fatal(err)
	}
	secret.ObjectMeta = metav1.ObjectMeta{
		Namespace: secret.Namespace, Name: secret.Name, Annotations: secret.Annotations,
		Labels: map[string]string{v1alpha1.LabelFederation: strict, v1alpha1.LabelMember: "east"},
		OwnerReferences: []metav1.OwnerReference{{
			APIVersion: v1alpha1.GroupVersion.String(), Kind: "MemberCluster", Name: "east", UID: byHand.UID,
		}},
	}
	if err := w.Create(t.Context(), &secret); err != nil {
		t.Fatal(err)
	}

	version := joined.Spec.JoinedWith.KubernetesVersion
	broken := func(enforcement v1alpha1.Enforcement) []v1alpha1.Violation {
		return []v1alpha1.Violation{
			{Rule: string(rules.KubernetesVersion), Enforcement: enforcement,
				Message: `status.facts.kubernetesVersion: Invalid value: "` + version + `": federation "strict" takes <1.30`},
			{Rule: string(rules.Expressions), Enforcement: enforcement,
				Message: `metadata.labels[kubefederate.io/federation]: Forbidden: rule "eu-only" of federation "strict" is violated: cluster.facts.regions.all(r, r.startsWith('eu-'))`},
		}
	}
	deny, warn := broken(v1alpha1.EnforceDeny), broken(v1alpha1.EnforceWarn)
	complies(t, w, compliance{v1alpha1.PhasePending, "False RulesBroken", "False RulesBroken", deny})
	violate(t, w, 1)
	isPublished := func(condition string, namespaces ...string) {
		t.Helper()
		inventoryIs(t, w, strict, `True Published: members are published in namespace "strict-fleet"`, condition)
		profiles(t, w, func(*clusterinventory.ClusterProfile) error { return nil }, namespaces...)
	}
	isPublished("False NotAccepted: the member is published when it is accepted")

	// The webhook says the same of a joiner who reports what the manager saw.
	reported := byHand.DeepCopy()
	reported.ObjectMeta = metav1.ObjectMeta{Name: "reported", Labels: byHand.Labels}
	reported.Spec.JoinedWith, reported.Spec.ClusterID = joined.Spec.JoinedWith, "another"
	err := w.Create(t.Context(), reported, client.DryRunAll)
	for _, v := range deny {
		if said := strings.Replace(v.Message, "status.facts", "spec.joinedWith", 1); err == nil || !strings.Contains(err.Error(), said) {
			t.Errorf("the webhook says %v, and not %s", err, said)
		}
	}

	// It goes on when the rules only warn, and is past that when they are enforced again, which the webhook would refuse.
	if err := change(func(s *v1alpha1.FederationSpec) { s.Enforcement = v1alpha1.EnforceWarn }); err != nil {
		t.Fatal(err)
	}
	complies(t, w, compliance{v1alpha1.PhaseReady, "True Accepted", "False RulesBroken", warn})
	violate(t, w, 1)
	const shelved = `True Published: ClusterProfiles of the member are in namespace "strict-fleet"`
	isPublished(shelved, shelf)
	var webhooks admissionregistrationv1.ValidatingWebhookConfiguration
	if err := w.Get(t.Context(), client.ObjectKey{Name: "kubefederate.io"}, &webhooks); err != nil {
		t.Fatal(err)
	}
	if err := w.Delete(t.Context(), &webhooks); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		webhooks.ObjectMeta = metav1.ObjectMeta{Name: webhooks.Name, Labels: webhooks.Labels, Annotations: webhooks.Annotations}
		if err := w.Create(context.WithoutCancel(t.Context()), &webhooks); err != nil {
			t.Error(err)
		}
	})
	env.Eventually(t, "a change past the webhook", func(context.Context) error {
		return change(func(s *v1alpha1.FederationSpec) { s.Enforcement = v1alpha1.EnforceDeny })
	})
	complies(t, w, compliance{v1alpha1.PhaseReady, "True Accepted", "False RulesBroken", deny})
	violate(t, w, 1)
	isPublished(shelved, shelf)

	// Without the rules it keeps them.
	if err := change(func(s *v1alpha1.FederationSpec) { s.KubernetesVersions, s.Rules = "", nil }); err != nil {
		t.Fatal(err)
	}
	complies(t, w, compliance{v1alpha1.PhaseReady, "True Accepted", "True RulesKept", nil})
	violate(t, w, 0)

	unjoin(t, h, m, "east")
	if err := w.Delete(t.Context(), f); err != nil {
		t.Fatal(err)
	}
}

// serveProfiles has the host serve ClusterProfiles, which w reads, until the end is called.
func serveProfiles(t *testing.T, w client.Client) (end func()) {
	t.Helper()
	if err := clusterinventory.AddToScheme(w.Scheme()); err != nil {
		t.Fatal(err)
	}
	stop, err := envhost.ServeProfiles(t.Context(), enforcing(t))
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	}
}

// TestFirstLookUnknown plays a member whose nodes do not say where they are, in a federation that asks: it waits until they do, and is
// never published before. Where they are found elsewhere later, it stays.
func TestFirstLookUnknown(t *testing.T) {
	env.Full(t, "it starts the manager again and again")
	west := fleet(t).Cluster("west")
	h, m := connect(t, west)
	w, nodes := administrator(t, enforcing(t)), administrator(t, west)
	defer serveProfiles(t, w)()
	const shelf = "unlabeled-fleet"
	create(t, w, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: shelf, Labels: map[string]string{v1alpha1.LabelInventory: "unlabeled"}}})
	create(t, w, manifests.InventoryBinding(shelf)...)
	f := &v1alpha1.Federation{ObjectMeta: metav1.ObjectMeta{Name: "unlabeled"}}
	f.Spec.Inventory = &v1alpha1.Inventory{Namespaces: []string{shelf}}
	f.Spec.Rules = []v1alpha1.Rule{{Name: "eu-only", Expression: "cluster.facts.regions.all(r, r.startsWith('eu-'))"}}
	create(t, w, f)
	if err := west.AddNode(t.Context(), "unlabeled", nil); err != nil {
		t.Fatal(err)
	}
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "unlabeled"}}
	// in moves the node. A manager that starts reads again what a member waits for; one that goes on does so within five minutes.
	in := func(region string) {
		t.Helper()
		next := node.DeepCopy()
		next.Labels = map[string]string{corev1.LabelTopologyRegion: region}
		if err := nodes.Patch(t.Context(), next, client.MergeFrom(node)); err != nil {
			t.Fatal(err)
		}
		node = next
		manager.Kill()
		if err := errors.Join(manager.Start(t.Context()), manager.Wait(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
	isPublished := func(condition string, namespaces ...string) {
		t.Helper()
		inventoryIs(t, w, "unlabeled", `True Published: members are published in namespace "unlabeled-fleet"`, condition)
		profiles(t, w, func(*clusterinventory.ClusterProfile) error { return nil }, namespaces...)
	}
	const not = "False NotAccepted: the member is published when it is accepted"
	elsewhere := []v1alpha1.Violation{{Rule: string(rules.Expressions), Enforcement: v1alpha1.EnforceDeny,
		Message: `metadata.labels[kubefederate.io/federation]: Forbidden: rule "eu-only" of federation "unlabeled" is violated: ` + f.Spec.Rules[0].Expression}}

	join(t, h, m, federate.JoinOptions{Name: "east", Federation: "unlabeled"})
	complies(t, w, compliance{v1alpha1.PhasePending, "False FactsUnknown", "Unknown FactsUnknown", nil})
	isPublished(not)
	in("us-east-1")
	complies(t, w, compliance{v1alpha1.PhasePending, "False RulesBroken", "False RulesBroken", elsewhere})
	isPublished(not)
	in("eu-west-1")
	complies(t, w, compliance{v1alpha1.PhaseReady, "True Accepted", "True RulesKept", nil})
	isPublished(`True Published: ClusterProfiles of the member are in namespace "unlabeled-fleet"`, shelf)

	unjoin(t, h, m, "east")
	if err := errors.Join(nodes.Delete(t.Context(), node), w.Delete(t.Context(), f)); err != nil {
		t.Fatal(err)
	}
}
