//go:build unix

package health

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clusterinventory "sigs.k8s.io/cluster-inventory-api/apis/v1alpha1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/test/env"
	envhost "github.com/kubefederate/kubectl-federate/test/env/host"
)

const published = "published"

// create makes objects on the host.
func create[O client.Object](t *testing.T, w client.Client, objects ...O) {
	t.Helper()
	for _, o := range objects {
		if err := w.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
}

// inventoryIs waits until the condition of the federation of that name and that of its member are what they should be.
func inventoryIs(t *testing.T, w client.Client, name, federation, member string) {
	t.Helper()
	text := func(conditions []metav1.Condition, kind string) string {
		c := meta.FindStatusCondition(conditions, kind)
		if c == nil {
			return ""
		}
		return fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message)
	}
	env.Eventually(t, "what the host says of the inventory", func(ctx context.Context) error {
		var f v1alpha1.Federation
		var m v1alpha1.MemberCluster
		if err := errors.Join(w.Get(ctx, client.ObjectKey{Name: name}, &f), w.Get(ctx, client.ObjectKey{Name: "east"}, &m)); err != nil {
			return err
		}
		want := federation + "\n" + member
		if strings.Contains(federation, v1alpha1.ReasonProfilesNotServed) {
			// Of a kind that was served before, the API server says first that the manager may not read it.
			f.Status.Conditions = slices.Clone(f.Status.Conditions)
			for i := range f.Status.Conditions {
				c := &f.Status.Conditions[i]
				c.Message, _, _ = strings.Cut(c.Message, "; the manager may not get")
			}
		}
		got := text(f.Status.Conditions, v1alpha1.ConditionInventoryPublished) + "\n" + text(m.Status.Conditions, v1alpha1.ConditionPublished)
		if got != want {
			return fmt.Errorf("(-want +got)\n%s", cmp.Diff(want, got))
		}
		return nil
	})
}

// profiles waits until member east has a profile in exactly these namespaces, each of which is as it should be.
func profiles(t *testing.T, w client.Client, right func(*clusterinventory.ClusterProfile) error, namespaces ...string) {
	t.Helper()
	env.Eventually(t, "the profiles of the member", func(ctx context.Context) error {
		var list clusterinventory.ClusterProfileList
		if err := w.List(ctx, &list); err != nil {
			return err
		}
		var got []string
		for i := range list.Items {
			got = append(got, list.Items[i].Namespace)
			if err := right(&list.Items[i]); err != nil {
				return fmt.Errorf("%s: %w", list.Items[i].Namespace, err)
			}
		}
		if diff := cmp.Diff(namespaces, got); diff != "" {
			return fmt.Errorf("namespaces (-want +got)\n%s", diff)
		}
		return nil
	})
}

// TestInventory publishes a member in two namespaces, as rights and the kind come, and takes it back.
func TestInventory(t *testing.T) {
	east := fleet(t).Cluster("east")
	h, m := connect(t, east)
	w := administrator(t, enforcing(t))
	if err := clusterinventory.AddToScheme(w.Scheme()); err != nil {
		t.Fatal(err)
	}
	namespace := func(name, label string) *corev1.Namespace {
		return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{label: published}}}
	}
	create(t, w, namespace("fleet", v1alpha1.LabelInventory), namespace("queue", v1alpha1.LabelInventory))
	create(t, w, manifests.InventoryBinding("fleet")...)
	f := &v1alpha1.Federation{ObjectMeta: metav1.ObjectMeta{Name: published}}
	f.Spec.Acceptance = v1alpha1.AcceptManual
	f.Spec.Inventory = &v1alpha1.Inventory{Namespaces: []string{"fleet", "queue"}}
	create(t, w, f)
	change := func(o client.Object, mutate func()) {
		t.Helper()
		patch := client.MergeFrom(o.DeepCopyObject().(client.Object))
		mutate()
		if err := w.Patch(t.Context(), o, patch); err != nil {
			t.Fatal(err)
		}
	}
	join(t, h, m, federate.JoinOptions{Name: "east", Federation: published})
	defer unjoin(t, h, m, "east")
	const notServed = "False ProfilesNotServed: the host does not serve clusterprofiles.multicluster.x-k8s.io/v1alpha1: " +
		"install its CustomResourceDefinition, of sigs.k8s.io/cluster-inventory-api"
	inventoryIs(t, w, published, notServed, "False NotAccepted: the member is published when it is accepted")
	joined := &v1alpha1.MemberCluster{}
	if err := w.Get(t.Context(), client.ObjectKey{Name: "east"}, joined); err != nil {
		t.Fatal(err)
	}
	change(joined, func() { joined.Spec.Accepted = true })
	inventoryIs(t, w, published, notServed, `False InventoryUnavailable: the member is not published in namespace "fleet": see the condition InventoryPublished of federation "published"; `+
		`the member is not published in namespace "queue": see the condition InventoryPublished of federation "published"`)

	stop, err := envhost.ServeProfiles(t.Context(), enforcing(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	inventoryIs(t, w, published, `False InventoryForbidden: the manager may not get clusterprofiles in namespace "queue"; allow it: kubectl federate grant published --inventory queue`,
		`False InventoryUnavailable: the member is not published in namespace "queue": see the condition InventoryPublished of federation "published"`)
	create(t, w, manifests.InventoryBinding("queue")...)
	inventoryIs(t, w, published, "True Published: members are published in namespaces fleet, queue",
		"True Published: ClusterProfiles of the member are in namespaces fleet, queue")
	healthy := func(want metav1.ConditionStatus) func(p *clusterinventory.ClusterProfile) error {
		return func(p *clusterinventory.ClusterProfile) error {
			c := meta.FindStatusCondition(p.Status.Conditions, "ControlPlaneHealthy")
			if c == nil || c.Status != want {
				return fmt.Errorf("ControlPlaneHealthy is %+v", c)
			}
			return nil
		}
	}
	whole := func(p *clusterinventory.ClusterProfile) error {
		labels := map[string]string{
			"x-k8s.io/cluster-manager": "kubefederate", "multicluster.x-k8s.io/clusterset": published, "clusterset.multicluster.x-k8s.io": published,
		}
		properties := map[string]string{}
		for _, property := range p.Status.Properties {
			properties[property.Name] = property.Value
		}
		want := map[string]string{
			"cluster.clusterset.k8s.io": joined.Spec.ClusterID, "clusterset.k8s.io": published,
			"kubefederate.io/kubernetes-version": joined.Spec.JoinedWith.KubernetesVersion, "kubefederate.io/nodes": "2",
			"kubefederate.io/regions": "us-east-1", "kubefederate.io/zones": "us-east-1a,us-east-1b",
		}
		if diff := cmp.Diff(labels, p.Labels) + cmp.Diff(want, properties); diff != "" {
			return errors.New(diff)
		}
		if p.Spec.DisplayName != "east" || p.Spec.ClusterManager.Name != "kubefederate" || p.Status.Version.Kubernetes != joined.Spec.JoinedWith.KubernetesVersion {
			return fmt.Errorf("%+v %+v", p.Spec, p.Status.Version)
		}
		return healthy(metav1.ConditionTrue)(p)
	}
	profiles(t, w, whole, "fleet", "queue")

	// What others add stays, and what is owned here comes back.
	p := &clusterinventory.ClusterProfile{}
	if err := w.Get(t.Context(), client.ObjectKey{Namespace: "fleet", Name: "east"}, p); err != nil {
		t.Fatal(err)
	}
	const finalizer = "example.com/consumer"
	change(p, func() {
		p.Labels["example.com/team"], p.Finalizers, p.Spec.DisplayName = "shop", []string{finalizer}, "another"
		delete(p.Labels, "multicluster.x-k8s.io/clusterset")
	})
	if err := w.Get(t.Context(), client.ObjectKey{Name: "east"}, joined); err != nil {
		t.Fatal(err)
	}
	change(joined, func() { joined.Spec.Suspended = true })
	profiles(t, w, func(p *clusterinventory.ClusterProfile) error {
		if p.Namespace == "fleet" && (p.Labels["example.com/team"] != "shop" || len(p.Finalizers) != 1 || p.Spec.DisplayName != "east" || p.Labels["multicluster.x-k8s.io/clusterset"] != published) {
			return fmt.Errorf("%+v", p)
		}
		return healthy(metav1.ConditionFalse)(p)
	}, "fleet", "queue")
	if err := w.Get(t.Context(), client.ObjectKey{Name: "east"}, joined); err != nil {
		t.Fatal(err)
	}
	change(joined, func() { joined.Spec.Suspended = false })
	profiles(t, w, healthy(metav1.ConditionTrue), "fleet", "queue")

	// A namespace that the federation does not name any more is emptied, even of what has lost its finalizer late.
	if err := w.Get(t.Context(), client.ObjectKey{Name: published}, f); err != nil {
		t.Fatal(err)
	}
	change(f, func() { f.Spec.Inventory.Namespaces = []string{"queue"} })
	env.Eventually(t, "the profile is being deleted", func(ctx context.Context) error {
		if err := w.Get(ctx, client.ObjectKeyFromObject(p), p); err != nil || p.DeletionTimestamp == nil {
			return fmt.Errorf("%v: %w", p.DeletionTimestamp, err)
		}
		return nil
	})
	change(p, func() { p.Finalizers = nil })
	profiles(t, w, healthy(metav1.ConditionTrue), "queue")
	queue := namespace("queue", "")
	if err := w.Get(t.Context(), client.ObjectKeyFromObject(queue), queue); err != nil {
		t.Fatal(err)
	}
	left := &v1alpha1.InventoryStatus{Namespaces: []string{"queue"}, UIDs: map[string]types.UID{"queue": queue.UID}}
	env.Eventually(t, "the namespace is left", func(ctx context.Context) error {
		if err := w.Get(ctx, client.ObjectKey{Name: published}, f); err != nil {
			return err
		}
		if diff := cmp.Diff(left, f.Status.Inventory); diff != "" {
			return errors.New(diff)
		}
		return nil
	})

	if err := w.Get(t.Context(), client.ObjectKey{Name: "east"}, joined); err != nil {
		t.Fatal(err)
	}
	change(joined, func() { joined.Spec.Accepted = false })
	profiles(t, w, func(*clusterinventory.ClusterProfile) error { return nil })
	inventoryIs(t, w, published, `True Published: members are published in namespace "queue"`, "False NotAccepted: the member is published when it is accepted")
}
