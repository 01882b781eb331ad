package discover

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
)

// disputed are the ways of a claim that are not proved: one cluster for each that claims to be a member, and a single one for
// all where there is no member, since nothing says which of them is right.
func (j *judge) disputed(c *claim) []Cluster {
	var clusters []Cluster
	if c.record != nil {
		for _, same := range c.disputed {
			clusters = append(clusters, j.notMember(c, same))
		}
	} else if len(c.disputed) > 0 {
		clusters = append(clusters, j.unsettled(c))
	}
	return clusters
}

// disputedBy is a cluster that all of the ways claim to be. Their labels are shown, and nothing is done by them.
func disputedBy(all ways) Cluster {
	slices.SortStableFunc(all, compareWays)
	c := newCluster(all[0])
	c.State = Conflict
	for i, way := range all {
		if i > 0 {
			c.Also = append(c.Also, way.Candidate.String())
		}
		c.Objects = append(c.Objects, way.Objects...)
		c.request(way.Answer.JoinRequest.Federation, way)
	}
	return c
}

// notMember is a way that answers with the ID of a member and is not proved to lead to it.
func (j *judge) notMember(c *claim, same ways) Cluster {
	row := disputedBy(same)
	row.Federation, row.Member = c.record.Federation(), v1alpha1.MemberName(c.record.Name)
	claims := fmt.Sprintf("answers with the cluster ID of member %q, ", row.Member)
	trust := command.Join{Member: row.Member, Federation: row.Federation, Cluster: j.way(&row), TrustContext: true}
	if len(c.record.Status.SigningKeys) == 0 {
		row.State = NotYetProved
		row.Reason = claims + "which is not proved: the manager has seen no signing key of the member yet, and its stored endpoint is another; " +
			j.Commands.To("if it is that member, say so", trust)
		if silent := rules.NeverAnswered(c.record, j.Now); silent != "" {
			row.Reason += "; the member " + silent + ", and " +
				j.Commands.To("if it does not stand for this cluster, free the ID", command.Unjoin{Member: row.Member, Force: true})
		}
		return row
	}
	row.Reason = claims + "and does not prove to be it: " + same.failed() + "; " +
		j.Commands.To("only if all signing keys of the member were replaced", trust)
	return row
}

// failed says why the ways do not prove to be a member.
func (all ways) failed() string {
	for _, o := range all {
		if o.Proof != nil && o.Proof.Err == nil {
			return "its tokens are signed by a key that has not signed for the member"
		}
	}
	return all.noToken()
}

// noToken says why no token shows what the first of the ways that issued none leads to; empty when all have issued one.
func (all ways) noToken() string {
	for _, o := range all {
		if o.Proof != nil && o.Proof.Err != nil {
			return fmt.Sprintf("no token could be requested through %s: %s", o.Candidate, cluster.Printable(cluster.Cause(o.Proof.Err)))
		}
	}
	return ""
}

// unsettled are ways that claim one cluster ID which no member has, and do not prove each other.
func (j *judge) unsettled(c *claim) Cluster {
	all := slices.Concat(c.disputed...)
	row := disputedBy(all)
	row.Reason = all.list() + " answer with one cluster ID, and do not prove to be one cluster"
	if why := all.noToken(); why != "" {
		row.Reason += ": " + why
	}
	row.Reason += "; " + j.Commands.To("to join the one that you trust, name it", command.Join{
		Federation: row.Federation, Cluster: command.Cluster{Context: command.ContextPlaceholder, Kubeconfig: j.MemberKubeconfig},
	})
	return row
}

// list names the ways, of which there are at least two.
func (all ways) list() string {
	names := make([]string, 0, len(all))
	for _, o := range all {
		names = append(names, o.Candidate.String())
	}
	last := names[len(names)-1]
	if names = names[:len(names)-1]; len(names) > otherNames {
		names, last = names[:otherNames], fmt.Sprintf("%d more", len(names)+1-otherNames)
	}
	return strings.Join(names, ", ") + " and " + last
}
