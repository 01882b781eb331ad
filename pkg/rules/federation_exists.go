package rules

import (
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/command"
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
	switch federation := s.Federation(name); {
	case federation == nil:
		e := field.NotFound(federationPath, string(name))
		e.Detail = "no federation has this name; " + FederationHint(name, s.FederationNames(), command.Host{})
		found.refuse(e)
	case federation.DeletionTimestamp != nil:
		found.refuse(field.Invalid(federationPath, string(name), "this federation is being deleted"))
	}
	return found
}

// FederationHint helps with the name of a federation that does not exist: the one that it may mean, or how to create it.
func FederationHint(name v1alpha1.FederationName, names []v1alpha1.FederationName, h command.Host) string {
	none := h.To("there is none yet, create it", command.CreateFederation{Name: name})
	if len(validation.IsDNS1123Label(string(name))) > 0 {
		none = "none can have it: a name has at most 63 lower-case letters, digits and '-'"
		if _, near := Nearest(name, names); !near {
			return none
		}
	}
	return Hint(name, names, none)
}

// federationOf is the federation that judges a member; nil when FederationExists refuses it.
func federationOf(s Snapshot, m *v1alpha1.MemberCluster) *v1alpha1.Federation {
	if m.Federation() == "" {
		return nil
	}
	return s.Federation(m.Federation())
}
