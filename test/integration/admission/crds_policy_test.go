//go:build unix

package admission

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// TestDefinitionsAreNotDeleted holds that no user deletes all members by deleting their definition, alone or among
// others, unless it was allowed.
func TestDefinitionsAreNotDeleted(t *testing.T) {
	h := enforcing(t)
	definition := func(name string) *unstructured.Unstructured {
		o := &unstructured.Unstructured{}
		o.SetAPIVersion("apiextensions.k8s.io/v1")
		o.SetKind("CustomResourceDefinition")
		o.SetName(name)
		return o
	}
	// A request that deletes a collection has no name.
	refused := func(object, name string) string {
		return denied("crds.kubefederate.io", "customresourcedefinitions.apiextensions.k8s.io", object, "deleting "+name+
			" deletes every object of its kind: unjoin the members and run kubectl federate deinit, or allow it with kubectl annotate crd "+
			name+" kubefederate.io/allow-deletion=true")
	}
	for _, name := range []string{"federations.kubefederate.io", "memberclusters.kubefederate.io"} {
		refusal := refused(name, name)
		answers(t, refusal, func() error { return h.admin.Delete(t.Context(), definition(name), client.DryRunAll) })
		answers(t, refused("Unknown", name), func() error {
			return h.admin.DeleteAllOf(t.Context(), definition(""), client.MatchingFields{metav1.ObjectNameField: name}, client.DryRunAll)
		})
		for _, test := range []struct{ value, want string }{{`"false"`, refusal}, {`"true"`, ""}, {"null", refusal}} {
			must(t, h.admin.Patch(t.Context(), definition(name), client.RawPatch(types.MergePatchType,
				[]byte(`{"metadata":{"annotations":{"`+v1alpha1.AnnotationAllowDeletion+`":`+test.value+`}}}`))))
			answers(t, test.want, func() error { return h.admin.Delete(t.Context(), definition(name), client.DryRunAll) })
		}
	}
	// Negative control: definitions of others are deleted as ever.
	other := definition("others.example.com")
	other.Object["spec"] = map[string]any{
		"group": "example.com", "scope": "Cluster", "names": map[string]any{"plural": "others", "kind": "Other"},
		"versions": []any{map[string]any{"name": "v1", "served": true, "storage": true, "schema": map[string]any{"openAPIV3Schema": map[string]any{"type": "object"}}}},
	}
	h.create(t, other)
	must(t, h.admin.Delete(t.Context(), other))
}
