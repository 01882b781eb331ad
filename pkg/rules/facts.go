package rules

import "github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"

// factsOf is what is known about a member's cluster. An empty field is unknown.
func factsOf(m *v1alpha1.MemberCluster) v1alpha1.JoinFacts {
	if m.Spec.JoinedWith == nil {
		return v1alpha1.JoinFacts{}
	}
	return *m.Spec.JoinedWith
}
