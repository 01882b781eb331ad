//go:build unix

package admission

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// TestForeignCredentialIsRemoved holds that a joiner of one federation who leaves a credential under the name of another
// federation's member keeps no cluster from joining it.
func TestForeignCredentialIsRemoved(t *testing.T) {
	t.Parallel()
	h := enforcing(t)
	h.create(t, fed("squatted"), fed("squatters"))
	m := member("squatted-1", "squatted")
	h.create(t, m)
	mallory := h.user(t, "mallory", manifests.JoinerBinding("squatters", subject("mallory")))

	s := credential(m)
	s.Labels[v1alpha1.LabelFederation] = "squatters"
	answers(t, "", func() error { return client.IgnoreAlreadyExists(mallory.Create(t.Context(), s.DeepCopy())) })
	eventually(t, "it is removed", func() error {
		if err := h.admin.Get(t.Context(), client.ObjectKeyFromObject(s), &corev1.Secret{}); !apierrors.IsNotFound(err) {
			return fmt.Errorf("%v", err)
		}
		return nil
	})
	// Negative control: the right one stays.
	h.create(t, credential(m))
	eventually(t, "the status reports it", func() error {
		must(t, h.admin.Get(t.Context(), client.ObjectKeyFromObject(m), m))
		for _, c := range m.Status.Conditions {
			if c.Type == v1alpha1.ConditionCredentialValid && c.Reason == "CredentialMalformed" {
				return nil
			}
		}
		return fmt.Errorf("%v", m.Status.Conditions)
	})
	must(t, h.admin.Get(t.Context(), client.ObjectKeyFromObject(s), &corev1.Secret{}))
}

// TestOrphanIsRemoved holds that a credential goes also when its member is deleted and what it owns is to be kept.
func TestOrphanIsRemoved(t *testing.T) {
	t.Parallel()
	h := enforcing(t)
	h.create(t, fed("orphans"))
	m := member("orphan-1", "orphans")
	h.create(t, m)
	s := credential(m)
	h.create(t, s)
	must(t, h.admin.Delete(t.Context(), m, client.PropagationPolicy(metav1.DeletePropagationOrphan)))
	for _, o := range []client.Object{m, s} {
		eventually(t, "it is gone", func() error {
			if err := h.admin.Get(t.Context(), client.ObjectKeyFromObject(o), o); !apierrors.IsNotFound(err) {
				return fmt.Errorf("%v", err)
			}
			return nil
		})
	}
}

// TestFederationCounts holds that a federation says how many members it has, and zero when it has none.
func TestFederationCounts(t *testing.T) {
	t.Parallel()
	h := enforcing(t)
	f := fed("counted")
	f.Spec.Acceptance = v1alpha1.AcceptManual
	h.create(t, f)
	written := func(want string) {
		t.Helper()
		eventually(t, "the count", func() error {
			o := unstructuredOf("Federation", f.Name)
			must(t, h.admin.Get(t.Context(), client.ObjectKeyFromObject(o), o))
			status, _ := o.Object["status"].(map[string]any)
			if got := fmt.Sprint(status["members"], status["ready"], status["pending"], status["observedGeneration"]); got != want {
				return fmt.Errorf("got %s, want %s", got, want)
			}
			return nil
		})
	}
	written("0 0 0 1")
	for i := range 3 {
		h.create(t, member(fmt.Sprintf("counted-%d", i), f.Name))
	}
	written("3 0 0 1")
	must(t, h.admin.Delete(t.Context(), member("counted-0", f.Name)))
	must(t, h.admin.Patch(t.Context(), fed(f.Name), client.RawPatch(types.MergePatchType, []byte(`{"spec":{"description":"x"}}`))))
	written("2 0 0 2")
}
