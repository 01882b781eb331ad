package discover

import (
	"slices"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// Proof is what a token that was requested through a way has shown, or why there was none.
type Proof struct {
	member.Signature
	Err error
}

// signed says whether a token was issued and the key that signed it is known.
func (p *Proof) signed() bool { return p != nil && p.Err == nil && p.Signer != "" }

// ways lead to one cluster: that is proved of each two of them.
type ways []*Observation

// claim is one cluster ID and everything that answers with it. An ID is only a claim, which any server that answers can make.
type claim struct {
	id v1alpha1.ClusterID
	// record is the member with the ID; nil where there is none.
	record *v1alpha1.MemberCluster
	// proven are the ways that are proved to lead to the member, or, without one, the ways where no other disputes that they
	// lead to the cluster.
	proven ways
	// disputed are all other ways, those to one cluster together.
	disputed []ways
	// silent are ways whose source or whose server says that they lead to the cluster, and which did not answer.
	silent ways
}

// claims are the cluster IDs that were answered, in the order of the observations, as far as they are proved.
func claims(members map[v1alpha1.ClusterID]*v1alpha1.MemberCluster, observations []Observation) []*claim {
	byID := map[v1alpha1.ClusterID]ways{}
	var order []v1alpha1.ClusterID
	for i := range observations {
		if o := &observations[i]; o.Err == nil {
			if byID[o.Answer.ID] == nil {
				order = append(order, o.Answer.ID)
			}
			byID[o.Answer.ID] = append(byID[o.Answer.ID], o)
		}
	}
	all := make([]*claim, 0, len(order))
	for _, id := range order {
		all = append(all, newClaim(id, members[id], byID[id]))
	}
	return all
}

func newClaim(id v1alpha1.ClusterID, record *v1alpha1.MemberCluster, answered ways) *claim {
	c := &claim{id: id, record: record}
	for _, same := range together(answered) {
		if slices.ContainsFunc(same, c.isMember) {
			c.proven = append(c.proven, same...)
		} else {
			c.disputed = append(c.disputed, same)
		}
	}
	if record == nil && len(c.disputed) == 1 {
		c.proven, c.disputed = c.disputed[0], nil
	}
	// Copies of a cluster prove each other: what reaches the stored endpoint comes first.
	slices.SortStableFunc(c.proven, func(a, b *Observation) int {
		switch atStored := c.atStored(a); {
		case atStored == c.atStored(b):
			return compareWays(a, b)
		case atStored:
			return -1
		}
		return 1
	})
	return c
}

// atStored says whether a way reaches the server at the member's stored endpoint.
func (c *claim) atStored(o *Observation) bool {
	return c.record != nil && o.Reached.SameServer(endpoint.Of(c.record))
}

// isMember says whether a way is proved to lead to the member: it reaches the server at the member's stored endpoint, or a
// token that was requested through it is signed by a key that has signed for the member before.
func (c *claim) isMember(o *Observation) bool {
	return c.atStored(o) || c.record != nil && o.Proof.signed() && o.Proof.By(c.record.Status.SigningKeys)
}

// together groups ways: those of a group reach one server, or prove each other by the tokens that they issue.
func together(all ways) []ways {
	servers := map[string]int{}
	var groups []ways
	for _, o := range all {
		key := o.Reached.ServerKey()
		if i, known := servers[key]; known && key != "" {
			groups[i] = append(groups[i], o)
			continue
		}
		servers[key] = len(groups)
		groups = append(groups, ways{o})
	}
	var proved []ways
	for _, group := range groups {
		proved = slices.DeleteFunc(proved, func(other ways) bool {
			same := group.proves(other)
			if same {
				group = append(other, group...)
			}
			return same
		})
		proved = append(proved, group)
	}
	return proved
}

// proves says whether a way of each of the two proves the other.
func (all ways) proves(others ways) bool {
	return slices.ContainsFunc(all, func(o *Observation) bool {
		return o.Proof.signed() && slices.ContainsFunc(others, func(other *Observation) bool {
			return other.Proof.signed() && o.Proof.Proves(other.Proof.Signature)
		})
	})
}

// unproved are the ways through which a token must be requested before the claim can be judged.
func (c *claim) unproved() ways {
	seen := c.record != nil && len(c.record.Status.SigningKeys) > 0
	var ask ways
	if seen || len(c.disputed) > 1 || len(c.proven) > 0 {
		ask = slices.Concat(c.disputed...)
	}
	if len(ask) > 0 && !seen {
		ask = append(ask, c.proven...) // they prove each other
	}
	if len(ask) > 0 || len(c.proven) == 1 {
		return ask
	}
	for _, o := range c.proven {
		if label := o.label(); label != "" && (c.record == nil || label != c.record.Federation()) {
			ask = append(ask, o) // see counts
		}
	}
	return ask
}

// counts says whether the label of the way's object counts for the other ways too. A user who may read one object of a
// cluster can write a Secret that leads to it; a label asks for the cluster only where the Secret has power over it.
func (o *Observation) counts() bool { return o.Proof.signed() }

// label is the federation that an object of the way names; empty where none does, and for a context.
func (o *Observation) label() v1alpha1.FederationName {
	for _, object := range o.Objects {
		if object.JoinRequest != "" {
			return object.JoinRequest
		}
	}
	return ""
}
