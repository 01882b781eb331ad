package rules

import (
	"strings"

	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// AccessRole: what readers of the inventory may do is named.
//
// Reads: spec.access.clusterRole.
// Allows: a name that a ClusterRole can have. cluster-admin warns.
// Does not promise: that members have the role, nor what is in it there.
const AccessRole ID = "accessRole"

func accessRole(_ Snapshot, f *v1alpha1.Federation) (found Findings) {
	if f.Spec.Access == nil {
		return found
	}
	at, role := specPath.Child("access", "clusterRole"), f.Spec.Access.ClusterRole
	if faults := content.IsPathSegmentName(role); len(faults) > 0 || role == "" {
		found.refuse(field.Invalid(at, role, strings.Join(append(faults, "it names no ClusterRole"), "; ")))
	}
	if role == "cluster-admin" {
		found.warn(advice(at, "every reader of the inventory rules every member with cluster-admin"))
	}
	return found
}
