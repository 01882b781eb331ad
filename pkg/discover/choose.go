package discover

import (
	"slices"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// Choose says what each sighted cluster is to a person who chose it, and who wants it in the federation whatever the
// cluster itself wishes. Every cluster that answered has a name, and wants to join or has joined; whether it may, the
// join judges. A member keeps its name, and so does a cluster whose join to the federation was not finished, by its
// marker.
func Choose(view View, federation v1alpha1.FederationName, sightings []Sighting) []Cluster {
	return view.each(sightings, func(c *Cluster, look *Look) {
		c.Federation, c.State = federation, Wants
		marker := look.Marker
		switch m := view.member(look.ID); {
		case m != nil:
			c.Member, c.State = v1alpha1.MemberName(m.Name), Joined
		case marker != nil && marker.HostID == view.HostID && marker.Federation == federation:
			c.Member = marker.Member
		}
		if marker != nil && marker.HostID != view.HostID {
			c.Reason = elsewhere(marker)
		}
	})
}

// Reach finds the sighting of each member by its cluster ID, the one through the first context of several. The
// order is that of the members; nil stands for a member that no context reaches.
func Reach(members []v1alpha1.MemberCluster, sightings []Sighting) []*Sighting {
	reached := make([]*Sighting, len(members))
	for i := range members {
		at := slices.IndexFunc(sightings, func(s Sighting) bool {
			return s.Err == nil && string(s.Look.ID) == members[i].Spec.ClusterID
		})
		if at >= 0 {
			reached[i] = &sightings[at]
		}
	}
	return reached
}
