package rules

import (
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// factsOf is what is known about a member's cluster, and the path of the field that has it. An empty field is unknown.
// A new member is judged by what its joiner saw: see stored.
func factsOf(m *v1alpha1.MemberCluster) (v1alpha1.JoinFacts, *field.Path) {
	path := specPath.Child("joinedWith")
	if m.Status.Facts != nil {
		path = field.NewPath("status", "facts")
	}
	return m.KnownFacts(), path
}
