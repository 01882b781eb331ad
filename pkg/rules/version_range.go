package rules

import (
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// VersionRange: the range of Kubernetes versions can be read and holds one.
//
// Reads: spec.kubernetesVersions.
// Allows: comparisons (>=, >, <=, <, =, !=) that must all hold, as ">=1.33 <1.38".
// Does not promise: that the versions in it exist.
const VersionRange ID = "versionRange"

func versionRange(_ Snapshot, f *v1alpha1.Federation) (found Findings) {
	if f.Spec.KubernetesVersions == "" {
		return found
	}
	if _, err := parseRange(f.Spec.KubernetesVersions); err != nil {
		found.refuse(field.Invalid(specPath.Child("kubernetesVersions"), f.Spec.KubernetesVersions, err.Error()))
	}
	return found
}
