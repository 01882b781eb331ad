//go:build unix

package admission

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// TestCascades holds that a member and its credential go however the member is deleted, as kubectl delete --cascade,
// Argo CD and Flux ask for it. The garbage collector patches both, under the name of its own account.
func TestCascades(t *testing.T) {
	t.Parallel()
	h := enforcing(t)
	h.create(t, fed("cascade"))
	for _, policy := range []metav1.DeletionPropagation{
		metav1.DeletePropagationBackground, metav1.DeletePropagationForeground, metav1.DeletePropagationOrphan,
	} {
		t.Run(string(policy), func(t *testing.T) {
			t.Parallel()
			m := member("cascade-"+map[metav1.DeletionPropagation]string{
				metav1.DeletePropagationBackground: "b", metav1.DeletePropagationForeground: "f", metav1.DeletePropagationOrphan: "o",
			}[policy], "cascade")
			h.create(t, m)
			h.create(t, credential(m))
			must(t, h.admin.Delete(t.Context(), m, client.PropagationPolicy(policy)))
			eventually(t, "the member is gone", func() error {
				if err := h.admin.Get(t.Context(), client.ObjectKeyFromObject(m), m); !apierrors.IsNotFound(err) {
					return fmt.Errorf("%v; finalizers %v", err, m.Finalizers)
				}
				return nil
			})
			eventually(t, "the credential is gone, or orphaned", func() error {
				s := &corev1.Secret{}
				err := h.admin.Get(t.Context(), client.ObjectKey{Namespace: v1alpha1.CredentialsNamespace, Name: m.Name}, s)
				if policy == metav1.DeletePropagationOrphan && err == nil && len(s.OwnerReferences) == 0 || apierrors.IsNotFound(err) {
					return nil
				}
				return fmt.Errorf("%v; owners %v", err, s.OwnerReferences)
			})
		})
	}
}
