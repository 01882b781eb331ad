package discover

import (
	"cmp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/command"
)

// State of a cluster that was discovered.
type State string

// States, in the words of the table.
const (
	// Joined clusters are members.
	Joined State = "Joined"
	// Wants is a federation label that a join can fulfil.
	Wants State = "WantsToJoin"
	// Left clusters were members; the federation label that they still carry does not bring them back.
	Left State = "Left"
	// Conflict is a federation label that contradicts what is, or another federation label, or a cluster ID that is claimed
	// without proof. Only a person resolves it.
	Conflict State = "Conflict"
	// Refused is a federation label that a join would refuse, whatever the federation's rules.
	Refused State = "Refused"
	// NotYetProved ways claim to lead to a member of which the manager has seen no key yet, so that nothing can prove it.
	NotYetProved State = "NotYetProved"
	// Unreachable candidates did not answer, or their source has no way to them.
	Unreachable State = "Unreachable"
	// NoAccess are candidates that answered and refused the caller, or the reading of the label.
	NoAccess State = "NoAccess"
	// Unlabeled clusters answered and carry no label.
	Unlabeled State = "Unlabeled"
	// Gone is what a watch reports of a cluster that it no longer finds.
	Gone State = "Gone"
)

// Cluster is one row of what was discovered: one cluster, however many candidates lead to it.
type Cluster struct {
	// Candidate through which it is joined: the preferred of Ways. Its objects are those of all ways, and its labels those that
	// count for the cluster, with those of its kube-system namespace.
	Candidate
	// Ways are proved to lead to it, and what its labels ask for may be done by them; the preferred comes first. There are none
	// to a cluster that did not answer, or that others claim to be too.
	Ways []Candidate
	// Also names the other candidates of the same cluster.
	Also []string
	// ID is empty when the cluster did not answer.
	ID v1alpha1.ClusterID
	// Member is the name that it has or would get, and MemberUID that of the MemberCluster where it has one.
	Member    v1alpha1.MemberName
	MemberUID types.UID
	// Federation that it is in, or asks to join.
	Federation v1alpha1.FederationName
	State      State
	// Reason says why, where the state needs it, and what to do.
	Reason string

	// requests are the federation labels of the cluster itself, which comes first, and of its objects.
	requests []Object
	// context is a kubeconfig context that leads to it; empty when none does.
	context string
}

// Concerns says whether the cluster is in the federation, or any of its labels asks to join it.
func (c *Cluster) Concerns(federation v1alpha1.FederationName) bool {
	return c.Federation == federation || slices.ContainsFunc(c.requests, func(o Object) bool { return o.JoinRequest == federation })
}

// Context is a kubeconfig context that leads to the cluster; empty when none does.
func (c *Cluster) Context() string { return c.context }

// RequestedBy is the object whose label asks for the membership; the zero one where the cluster asks for it
// itself, or nothing does.
func (c *Cluster) RequestedBy() command.Object {
	if len(c.requests) == 0 || c.requests[0].isCluster() {
		return command.Object{}
	}
	o := c.requests[0].Object()
	o.Elsewhere = c.requests[0].Context != ""
	return o
}

// request is what the labels ask for: the cluster's own, and those of the objects of the ways.
func (c *Cluster) request(own v1alpha1.FederationName, all ...*Observation) {
	if own != "" {
		c.requests = append(c.requests, Object{JoinRequest: own})
	}
	for _, way := range all {
		for _, o := range way.Objects {
			if o.JoinRequest != "" {
				c.requests = append(c.requests, o)
			}
		}
	}
	if len(c.requests) > 0 {
		c.Federation = c.requests[0].JoinRequest
	}
}

// base is what the name of the cluster's member is made of.
func (c *Candidate) base() v1alpha1.MemberName {
	if c.Source == FromKubeconfig {
		return nameFor(c.Name)
	}
	return v1alpha1.MemberName(dnsLabel(cmp.Or(c.Base, c.Name)))
}

// Sort orders rows for a person: by federation, then by name; what has none comes last.
func Sort(clusters []Cluster) {
	slices.SortStableFunc(clusters, func(a, b Cluster) int {
		if (a.Federation == "") != (b.Federation == "") {
			return strings.Compare(string(b.Federation), string(a.Federation))
		}
		return cmp.Or(strings.Compare(string(a.Federation), string(b.Federation)), strings.Compare(a.Name, b.Name))
	})
}
