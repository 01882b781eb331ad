package discover

import "github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"

// Choose says what each observed cluster is to a person who chose it, and who wants it in the federation whatever the
// cluster itself asks for. Every cluster that answered has a name, and wants to join or has joined; whether it may, the
// join judges. A member keeps its name, and so does a cluster whose join to the federation was not finished, by its
// membership record.
func Choose(view View, federation v1alpha1.FederationName, observations []Observation) []Cluster {
	j := newJudge(view)
	clusters := j.merge(observations, func(c *Cluster, answer *Answer) {
		c.Federation, c.State = federation, Wants
		membership := answer.Membership
		switch m := j.members[answer.ID]; {
		case m != nil:
			c.Member, c.MemberUID, c.State = v1alpha1.MemberName(m.Name), m.UID, Joined
		case membership != nil && membership.HostID == view.HostID && membership.Federation == federation:
			c.Member = membership.Member
		}
		if membership != nil && membership.HostID != view.HostID {
			c.Reason = ofOtherHost(membership)
		}
	})
	j.nameAll(clusters)
	return clusters
}

// Reached are the observations of a member.
type Reached struct {
	// Ways are proved to lead to the member; the preferred comes first.
	Ways []*Observation
	// Disputed says why each way that answers with the member's ID and is not proved to lead to it is not used.
	Disputed []Cluster
}

// Reach finds the ways to each member, in their order.
func Reach(view View, observations []Observation) []Reached {
	j := newJudge(view)
	byID := map[v1alpha1.ClusterID]*claim{}
	for _, c := range claims(j.members, observations) {
		byID[c.id] = c
	}
	reached := make([]Reached, len(view.Members))
	for i := range view.Members {
		if c := byID[v1alpha1.ClusterID(view.Members[i].Spec.ClusterID)]; c != nil {
			reached[i] = Reached{Ways: c.proven, Disputed: j.disputed(c)}
		}
	}
	return reached
}
