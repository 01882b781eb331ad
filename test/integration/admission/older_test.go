//go:build unix

package admission

import (
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/test/cases"
)

// TestOlderThanItsRules holds that an object which became invalid through a later rule, or through time, can still be
// edited in other respects and be deleted. Those are the objects of the cases that could not be created any more; each is
// on the host from before the webhook.
func TestOlderThanItsRules(t *testing.T) {
	t.Parallel()
	h := enforcing(t)
	found := 0
	for _, k := range cases.All() {
		var old client.Object
		switch {
		case k.Unreachable != "" || k.Written() == nil || k.Creates() || onChanges(k):
			continue
		case k.Member != nil:
			old = k.Member.Old.DeepCopy()
		default:
			old = k.Federation.Old.DeepCopy()
		}
		// Control: it is invalid. The rules are asked before the name is found taken.
		err := h.admin.Create(t.Context(), old.DeepCopyObject().(client.Object), client.DryRunAll)
		if !apierrors.IsInvalid(err) {
			continue
		}
		found++
		t.Run(k.Name, func(t *testing.T) {
			t.Parallel()
			edits := []string{`{"metadata":{"labels":{"example.com/other":"x"},"annotations":{"example.com/note":"x"}}}`}
			switch {
			case k.Member != nil && k.Member.Old.Spec.Discovered != nil: // where it may be is a rule of its own
				edits = append(edits, `{"spec":{"suspended":true}}`)
			case k.Member != nil:
				edits = append(edits, `{"spec":{"server":"https://`+old.GetName()+`.example.org","suspended":true}}`)
			default:
				edits = append(edits, `{"spec":{"description":"another","acceptance":"Manual"}}`)
			}
			for _, edit := range edits {
				o := named(k, old.GetName())
				if err := h.admin.Patch(t.Context(), o, client.RawPatch(types.MergePatchType, []byte(edit)), client.DryRunAll); err != nil {
					t.Errorf("%s: %v", edit, err)
				}
			}
			if k.Member == nil && len(k.Members) > 0 {
				return // It has members, which leave first.
			}
			if err := h.admin.Delete(t.Context(), named(k, old.GetName()), client.DryRunAll); err != nil {
				t.Errorf("delete: %v", err)
			}
		})
	}
	if found < 5 {
		t.Errorf("%d such objects found", found)
	}
}

func named(k cases.Case, name string) client.Object {
	if k.Member != nil {
		return &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: name}}
	}
	return fed(name)
}

// onChanges says whether a case has a rule on changes: it judges every edit, whatever was before.
func onChanges(k cases.Case) bool {
	return slices.ContainsFunc(k.Federations, func(f *v1alpha1.Federation) bool {
		return slices.ContainsFunc(f.Spec.Rules, func(r v1alpha1.Rule) bool { return strings.Contains(r.Expression, "oldCluster") })
	})
}
