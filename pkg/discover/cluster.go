package discover

import (
	"cmp"
	"slices"
	"strings"

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
	// Conflict is a federation label that contradicts what is, or another federation label, which only a person resolves.
	Conflict State = "Conflict"
	// Refused is a federation label that a join would refuse, whatever the federation's rules.
	Refused State = "Refused"
	// Unreachable candidates did not answer, or their source has no way to them.
	Unreachable State = "Unreachable"
	// Unlabeled clusters answered and carry no label.
	Unlabeled State = "Unlabeled"
	// Gone is what a watch reports of a cluster that it no longer finds.
	Gone State = "Gone"
)

// Cluster is one row of what was discovered: one cluster, however many candidates lead to it.
type Cluster struct {
	// Candidate through which it is joined: the most direct of those that answered. Its objects and labels are those of
	// all, with the labels of the cluster's kube-system namespace.
	Candidate
	// Also names the other candidates of the same cluster.
	Also []string
	// ID is empty when the cluster did not answer.
	ID v1alpha1.ClusterID
	// Member is the name that it has or would get.
	Member v1alpha1.MemberName
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

// RequestedBy is the object on the host whose label asks for the membership; the zero one where the cluster asks for it
// itself, or nothing does.
func (c *Cluster) RequestedBy() command.Object {
	if len(c.requests) == 0 || c.requests[0].isCluster() {
		return command.Object{}
	}
	return c.requests[0].Object()
}

// request adds the federation labels of the objects, and finds out which federation they name.
func (c *Cluster) request() {
	for _, o := range c.Objects {
		if o.JoinRequest != "" {
			c.requests = append(c.requests, o)
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
