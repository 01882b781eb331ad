package rules

import (
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// LimitRules: the limits are valid.
//
// Reads: spec.limits.
// Allows: one limit for all members and one per label key, with valid keys. A limit per label that is above the limit for
// all members warns: it is never reached.
// Does not promise: that members are within the limits; see MembersKeepRules.
const LimitRules ID = "limitRules"

func limitRules(_ Snapshot, f *v1alpha1.Federation) (found Findings) {
	seen := sets.New[string]()
	var all *v1alpha1.Limit
	for i, limit := range f.Spec.Limits {
		if limit.PerLabel == "" {
			all = &f.Spec.Limits[i]
		}
	}
	for i, limit := range f.Spec.Limits {
		path := specPath.Child("limits").Index(i)
		if seen.Has(limit.PerLabel) {
			found.refuse(field.Duplicate(path.Child("perLabel"), limit.PerLabel))
		}
		seen.Insert(limit.PerLabel)
		if limit.Max < 0 {
			found.refuse(field.Invalid(path.Child("max"), limit.Max, "it must not be negative"))
		}
		if limit.PerLabel == "" {
			continue
		}
		found.labelKey(path.Child("perLabel"), limit.PerLabel)
		if all != nil && limit.Max > all.Max {
			found.warn(advice(path.Child("max"), "%d is more than the %d that all members together may be", limit.Max, all.Max))
		}
	}
	return found
}
