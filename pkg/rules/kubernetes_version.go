package rules

import (
	"fmt"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// KubernetesVersion: members run a version that their federation takes.
//
// Reads: what is known of the member's version, and spec.kubernetesVersions of the Federation.
// Allows: a version in the range, by major, minor and patch. What distributions append is ignored.
// Does not promise: that the version still is what the manager saw last, or before that the joiner. An unknown one only
// warns.
const KubernetesVersion ID = "kubernetesVersion"

func kubernetesVersion(s Snapshot, m *v1alpha1.MemberCluster) (found Findings) {
	federation := federationOf(s, m)
	if federation == nil || federation.Spec.KubernetesVersions == "" {
		return found
	}
	facts, path := factsOf(m)
	path, wanted, version := path.Child("kubernetesVersion"), federation.Spec.KubernetesVersions, facts.KubernetesVersion
	if version == "" {
		found.warn(unknown(path, "the version is unknown; federation %q takes %s", federation.Name, wanted))
		return found
	}
	allowed, err := parseRange(wanted)
	at, _, ok := parseVersion(version)
	switch {
	case err != nil:
		found.refuse(field.Invalid(path, version, fmt.Sprintf("it cannot be judged: the range %q of federation %q: %s", wanted, federation.Name, err)))
	case !ok:
		found.refuse(field.Invalid(path, version, "it is not a Kubernetes version such as v1.36.3"))
	case !allowed.has(at):
		found.refuse(field.Invalid(path, version, fmt.Sprintf("federation %q takes %s", federation.Name, wanted)))
	}
	return found
}
