package host

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

// joinVerb is the verb on the federation that a join takes.
func (t Target) joinVerb() string {
	if t.Discovered != nil {
		return v1alpha1.VerbDiscover
	}
	return v1alpha1.VerbJoin
}

// JoinRights are the rights that a join uses on the host.
func (t Target) JoinRights() []cluster.Right {
	return slices.Concat(
		cluster.IdentityNamespace.Rights("get"), FederationRef(t.Federation).Rights("get", t.joinVerb()),
		MemberRef(t.Member).Rights("get", "create", "patch"), CredentialRef(t.Member).Rights("create", "update"),
	)
}

// CredentialRights are the rights that replacing a credential uses on the host.
func (t Target) CredentialRights() []cluster.Right {
	return slices.Concat(
		cluster.IdentityNamespace.Rights("get"), FederationRef(t.Federation).Rights(v1alpha1.VerbJoin),
		MemberRef(t.Member).Rights("get"), CredentialRef(t.Member).Rights("create", "update"),
	)
}

// LeaveRights are the rights that an unjoin uses on the host, and a join that is rolled back.
func (t Target) LeaveRights() []cluster.Right {
	return slices.Concat(MemberRef(t.Member).Rights("get"), FederationRef(t.Federation).Rights(v1alpha1.VerbLeave), MemberRef(t.Member).Rights("delete"))
}

// DeleteCredentialRights are the right to delete a credential. An unjoin works without it: garbage collection follows the
// ownerReference.
func (t Target) DeleteCredentialRights() []cluster.Right {
	return CredentialRef(t.Member).Rights("delete")
}

// EventRight is the right to create the Event of a join.
func (t Target) EventRight() cluster.Right {
	return cluster.Right{Verb: "create", Resource: cluster.Events, Namespace: metav1.NamespaceDefault}
}

// MayRights are the verbs on a federation that decide who may do what with its members.
func MayRights(federation v1alpha1.FederationName) []cluster.Right {
	return FederationRef(federation).Rights(v1alpha1.VerbJoin, v1alpha1.VerbLeave, v1alpha1.VerbApprove)
}
