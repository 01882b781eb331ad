package host

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

// right is one verb on one object.
func right(verb string, r cluster.Ref) cluster.Right {
	if verb == "create" {
		r.Name = "" // a create is not authorized by name
	}
	return cluster.Right{Verb: verb, Resource: r.Resource, Namespace: r.Namespace, Name: r.Name}
}

// JoinRights are the rights that a join uses on the host.
func (t Target) JoinRights() []cluster.Right {
	return []cluster.Right{
		right("get", cluster.IdentityNamespace),
		right("get", federationRef(t.Federation)),
		right(v1alpha1.VerbJoin, federationRef(t.Federation)),
		right("get", MemberRef(t.Member)),
		right("create", MemberRef(t.Member)),
		right("patch", MemberRef(t.Member)),
		right("create", CredentialRef(t.Member)),
		right("update", CredentialRef(t.Member)),
	}
}

// CredentialRights are the rights that replacing a credential uses on the host.
func (t Target) CredentialRights() []cluster.Right {
	return []cluster.Right{
		right("get", cluster.IdentityNamespace),
		right(v1alpha1.VerbJoin, federationRef(t.Federation)),
		right("get", MemberRef(t.Member)),
		right("create", CredentialRef(t.Member)),
		right("update", CredentialRef(t.Member)),
	}
}

// LeaveRights are the rights that an unjoin uses on the host, and a join that is rolled back.
func (t Target) LeaveRights() []cluster.Right {
	return []cluster.Right{
		right("get", MemberRef(t.Member)),
		right(v1alpha1.VerbLeave, federationRef(t.Federation)),
		right("delete", MemberRef(t.Member)),
	}
}

// DeleteCredentialRight is the right to delete a credential. An unjoin works without it: garbage collection follows the
// ownerReference.
func (t Target) DeleteCredentialRight() cluster.Right {
	return right("delete", CredentialRef(t.Member))
}

// EventRight is the right to create the Event of a join.
func (t Target) EventRight() cluster.Right {
	return cluster.Right{Verb: "create", Resource: cluster.Events, Namespace: metav1.NamespaceDefault}
}

// MayRights are the verbs on a federation that decide who may do what with its members.
func MayRights(federation v1alpha1.FederationName) []cluster.Right {
	return []cluster.Right{
		right(v1alpha1.VerbJoin, federationRef(federation)),
		right(v1alpha1.VerbLeave, federationRef(federation)),
		right(v1alpha1.VerbApprove, federationRef(federation)),
	}
}
