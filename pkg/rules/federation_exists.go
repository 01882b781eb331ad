package rules

import (
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// FederationExists: a member's federation is there and stays.
//
// Reads: the label kubefederate.io/federation, the Federation of that name.
// Allows: the name of a Federation that is not being deleted.
// Does not promise: that the label stays as it is; ValidatingAdmissionPolicy membership.kubefederate.io does.
const FederationExists ID = "federationExists"

var federationPath = labelsPath.Key(v1alpha1.LabelFederation)

func federationExists(s Snapshot, m *v1alpha1.MemberCluster) (found Findings) {
	name := m.Federation()
	if name == "" {
		found.refuse(field.Required(federationPath, "it names the federation that the cluster joins"))
		return found
	}
	switch federation := s.Federations.Federation(name); {
	case federation == nil:
		e := field.NotFound(federationPath, string(name))
		e.Detail = "no federation has this name; " + Hint(name, s.Federations.FederationNames(),
			"there is none yet: make one with kubectl federate create federation")
		found.refuse(e)
	case federation.DeletionTimestamp != nil:
		found.refuse(field.Invalid(federationPath, string(name), "this federation is being deleted"))
	}
	return found
}

// federationOf is the federation that judges a member; nil when FederationExists refuses it.
func federationOf(s Snapshot, m *v1alpha1.MemberCluster) *v1alpha1.Federation {
	if m.Federation() == "" {
		return nil
	}
	return s.Federations.Federation(m.Federation())
}
