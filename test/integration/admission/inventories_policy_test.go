//go:build unix

package admission

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/inventory"
	envhost "github.com/kubefederate/kubectl-federate/test/env/host"
)

// TestForgedProfiles holds that in an inventory only the manager makes ClusterProfiles that carry its name, of which it keeps a
// copy; others change what it made, as consumers do, and have theirs beside.
func TestForgedProfiles(t *testing.T) {
	h := enforcing(t)
	stop, err := envhost.ServeProfiles(t.Context(), h.Cluster)
	must(t, err)
	t.Cleanup(func() { must(t, stop(context.WithoutCancel(t.Context()))) })
	h.create(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shelf", Labels: map[string]string{v1alpha1.LabelInventory: "forged"}}})
	for _, o := range manifests.InventoryBinding("shelf") {
		h.create(t, o)
	}
	profile := func(namespace, name, manager string) *unstructured.Unstructured {
		o := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"displayName": name, "clusterManager": map[string]any{"name": manager}}}}
		o.SetAPIVersion("multicluster.x-k8s.io/v1alpha1")
		o.SetKind("ClusterProfile")
		o.SetNamespace(namespace)
		o.SetName(name)
		o.SetLabels(map[string]string{"x-k8s.io/cluster-manager": manager})
		return o
	}
	manager, _ := as(t, h.User("system:serviceaccount:"+v1alpha1.HostNamespace+":"+manifests.ManagerAccount))
	refused := denied("inventories.kubefederate.io", "clusterprofiles.multicluster.x-k8s.io", "forged", `user "admin" may not make ClusterProfiles with the label `+
		"x-k8s.io/cluster-manager=kubefederate: the manager of kubefederate makes them, of members of federations")
	answers(t, refused, func() error {
		return h.admin.Create(t.Context(), profile("shelf", "forged", inventory.Manager), client.DryRunAll)
	})
	answers(t, "", func() error { return h.admin.Create(t.Context(), profile("shelf", "forged", "other")) })
	answers(t, refused, func() error {
		return h.admin.Patch(t.Context(), profile("shelf", "forged", "other"), client.RawPatch(types.MergePatchType,
			[]byte(`{"metadata":{"labels":{"x-k8s.io/cluster-manager":"kubefederate"}}}`)))
	})
	answers(t, "", func() error {
		return h.admin.Create(t.Context(), profile("default", "forged", inventory.Manager), client.DryRunAll)
	})

	answers(t, "", func() error { return manager.Create(t.Context(), profile("shelf", "made", inventory.Manager)) })
	answers(t, "", func() error {
		return h.admin.Patch(t.Context(), profile("shelf", "made", inventory.Manager), client.RawPatch(types.MergePatchType,
			[]byte(`{"metadata":{"labels":{"example.com/team":"shop"},"annotations":{"example.com/a":"b"}}}`)))
	})
}
