//go:build unix

package admission

import (
	"context"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
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

	// What is published of a member goes with it, and no manager is asked: none follows a federation without an inventory.
	h.create(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shelf-credentials", Labels: map[string]string{v1alpha1.LabelInventoryCredentials: "forged"}}})
	for _, o := range manifests.CredentialsBinding("shelf-credentials") {
		h.create(t, o)
	}
	h.create(t, fed("forged"))
	m := member("published", "forged")
	h.create(t, m)
	published := []client.Object{
		inventory.Metadata(inventory.Profile(m, inventory.Place{Namespace: "shelf"}, nil, time.Now()), ""),
		inventory.Secret(m, "shelf-credentials"),
	}
	for _, o := range published {
		answers(t, "", func() error { return manager.Create(t.Context(), o) })
	}
	must(t, h.admin.Delete(t.Context(), m))
	for _, o := range published {
		eventually(t, "what was published is collected", func() error {
			if err := h.admin.Get(t.Context(), client.ObjectKeyFromObject(o), o); !apierrors.IsNotFound(err) {
				return fmt.Errorf("%s %s: %w", o.GetNamespace(), o.GetName(), err)
			}
			return nil
		})
	}
}

// TestForgedConsumerCredentials holds that only the manager makes and changes the credentials of those who read an inventory: it
// believes what such a Secret says of its token. Others add their labels, and have Secrets of other types beside.
func TestForgedConsumerCredentials(t *testing.T) {
	t.Parallel()
	h := enforcing(t)
	const namespace = "vault"
	h.create(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace, Labels: map[string]string{v1alpha1.LabelInventoryCredentials: "forged"}}})
	for _, o := range manifests.CredentialsBinding(namespace) {
		h.create(t, o)
	}
	manager, _ := as(t, h.User("system:serviceaccount:"+v1alpha1.HostNamespace+":"+manifests.ManagerAccount))
	secret := func(namespace, name string, kind corev1.SecretType) *corev1.Secret {
		return &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: namespace, Name: name, Annotations: map[string]string{v1alpha1.AnnotationConsumerToken: "{}"},
				Labels: map[string]string{v1alpha1.LabelFederation: "forged", v1alpha1.LabelMember: name},
			},
			Type: kind, Data: map[string][]byte{v1alpha1.CredentialKey: []byte("{}")},
		}
	}
	refused := func(name string) string {
		return denied("consumers.kubefederate.io", "secrets", name, `user "admin" may not make Secrets of type kubefederate.io/consumer-credential, or change `+
			"what kubefederate writes in them: the manager issues these credentials, of members of federations")
	}
	answers(t, refused("forged"), func() error {
		return h.admin.Create(t.Context(), secret(namespace, "forged", v1alpha1.ConsumerCredentialType), client.DryRunAll)
	})
	answers(t, "", func() error { return h.admin.Create(t.Context(), secret(namespace, "opaque", corev1.SecretTypeOpaque)) })
	answers(t, "", func() error {
		return h.admin.Create(t.Context(), secret("default", "forged", v1alpha1.ConsumerCredentialType), client.DryRunAll)
	})
	answers(t, "", func() error {
		return manager.Create(t.Context(), secret(namespace, "made", v1alpha1.ConsumerCredentialType))
	})
	for change, want := range map[string]string{
		`{"metadata":{"annotations":{"kubefederate.io/consumer-token":"{\"expires\":\"2099-01-01T00:00:00Z\"}"}}}`: refused("made"),
		`{"metadata":{"annotations":{"kubefederate.io/consumer-token":null}}}`:                                     refused("made"),
		`{"metadata":{"labels":{"kubefederate.io/member":"another"}}}`:                                             refused("made"),
		`{"metadata":{"labels":{"kubefederate.io/federation":null}}}`:                                              refused("made"),
		`{"data":{"kubeconfig":"e30K"}}`:                                                                           refused("made"),
		`{"stringData":{"more":"x"}}`:                                                                              refused("made"),
		`{"immutable":true}`:                                                                                       refused("made"),
		`{"metadata":{"labels":{"example.com/team":"shop"},"annotations":{"example.com/a":"b"},"finalizers":["example.com/c"]}}`: "",
	} {
		answers(t, want, func() error {
			return h.admin.Patch(t.Context(), secret(namespace, "made", ""), client.RawPatch(types.MergePatchType, []byte(change)), client.DryRunAll)
		})
	}
	answers(t, "", func() error {
		return manager.Patch(t.Context(), secret(namespace, "made", ""), client.RawPatch(types.MergePatchType, []byte(`{"data":{"kubeconfig":"e30K"}}`)))
	})
	answers(t, "", func() error { return h.admin.Delete(t.Context(), secret(namespace, "made", "")) })
}
