package discover

import "github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"

// Choose says what each observed cluster is to a person who chose it, and who wants it in the federation whatever the
// cluster itself asks for. Every cluster that answered has a name, and wants to join or has joined; whether it may, the
// join judges. A member keeps its name, and so does a cluster whose join to the federation was not finished, by its
// membership record.
func Choose(view View, federation v1alpha1.FederationName, observations []Observation) []Cluster {
	j := newJudge(view)
	clusters := merge(observations, func(c *Cluster, answer *Answer) {
		c.Federation, c.State = federation, Wants
		membership := answer.Membership
		switch m := j.members[answer.ID]; {
		case m != nil:
			c.Member, c.State = v1alpha1.MemberName(m.Name), Joined
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

// Reach finds the observation of each member by its cluster ID, the one through the first context of several. The
// order is that of the members; nil stands for a member that no context reaches.
func Reach(members []v1alpha1.MemberCluster, observations []Observation) []*Observation {
	byID := map[v1alpha1.ClusterID]*Observation{}
	for i := range observations {
		if o := &observations[i]; o.Err == nil && byID[o.Answer.ID] == nil {
			byID[o.Answer.ID] = o
		}
	}
	reached := make([]*Observation, len(members))
	for i := range members {
		reached[i] = byID[v1alpha1.ClusterID(members[i].Spec.ClusterID)]
	}
	return reached
}
