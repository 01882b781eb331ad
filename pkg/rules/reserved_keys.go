package rules

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// ReservedKeys: a mistyped label or annotation under kubefederate.io/ is refused instead of ignored.
//
// Reads: the keys of metadata.labels and metadata.annotations.
// Allows: keys outside of kubefederate.io/, and the keys that this project defines for the kind.
// Does not promise: anything about values.
const ReservedKeys ID = "reservedKeys"

// Keys that are defined on each kind, sorted.
var (
	memberLabels      = []string{v1alpha1.LabelFederation}
	memberAnnotations = []string{v1alpha1.AnnotationAttempt, v1alpha1.AnnotationCreatedBy, v1alpha1.AnnotationJoinedBy, v1alpha1.AnnotationProbeRequested}
)

func reservedMemberKeys(_ Snapshot, m *v1alpha1.MemberCluster) (found Findings) {
	found.reserved(labelsPath, m.Labels, memberLabels)
	found.reserved(annotationsPath, m.Annotations, memberAnnotations)
	return found
}

func reservedFederationKeys(_ Snapshot, f *v1alpha1.Federation) (found Findings) {
	found.reserved(labelsPath, f.Labels, nil)
	found.reserved(annotationsPath, f.Annotations, nil)
	return found
}

func (f *Findings) reserved(path *field.Path, values map[string]string, defined []string) {
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if strings.HasPrefix(key, v1alpha1.Prefix) && !slices.Contains(defined, key) {
			f.refuse(field.Invalid(path, key, fmt.Sprintf("keys under %s are reserved; %s",
				v1alpha1.Prefix, Hint(key, defined, "none is defined here"))))
		}
	}
}
