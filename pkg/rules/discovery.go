package rules

import (
	"cmp"
	"slices"

	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// DiscoverySources: what discovery is to look for can be found.
//
// Reads: spec.discovery but its endpoints.
// Allows: selectors that are valid, labels for members whose keys are valid and not under kubefederate.io/, and namespaces that are
// not the manager's own, of which there is at least one where the kind's objects have one. A gonePatience that nothing waits for
// warns.
// Does not promise: that the host serves the kinds, that the namespaces are there, or that the discovery controller may read them.
const DiscoverySources ID = "discoverySources"

var discoveryPath = specPath.Child("discovery")

func discoverySources(_ Snapshot, f *v1alpha1.Federation) (found Findings) {
	d := f.Spec.Discovery
	if d == nil {
		return found
	}
	for i, source := range d.Sources {
		path := discoveryPath.Child("sources").Index(i)
		if len(source.Namespaces) == 0 && source.Kind != v1alpha1.SourceOpenClusterManagement {
			found.refuse(field.Required(path.Child("namespaces"), "name them: who may write in one can ask for membership"))
		}
		for n, namespace := range source.Namespaces {
			if why := UnfitNamespace(namespace, false); why != "" {
				found.refuse(field.Forbidden(path.Child("namespaces").Index(n), why))
			}
		}
		faults := metav1validation.ValidateLabelSelector(source.Selector, metav1validation.LabelSelectorValidationOptions{}, path.Child("selector"))
		slices.SortFunc(faults, func(a, b *field.Error) int { return cmp.Compare(a.Error(), b.Error()) }) // it ranges over matchLabels
		found.refuse(faults...)
		for n, key := range source.MemberLabels {
			found.labelKey(path.Child("memberLabels").Index(n), key)
		}
	}
	if d.GonePatience != "" && d.WhenGone != v1alpha1.GoneLeave {
		found.warn(advice(discoveryPath.Child("gonePatience"), "nothing waits for it: members leave only with whenGone %s", v1alpha1.GoneLeave))
	}
	return found
}
