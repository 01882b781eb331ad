package discover

import (
	"cmp"
	"errors"
	"maps"
	"slices"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
)

// merge makes one Cluster of all ways that are proved to lead to one cluster, which judge judges, and one of each way that is
// not. The order is that of the first observation of each. What did not answer is a cluster of its own, unless it is known
// whose it is.
func (j *judge) merge(observations []Observation, judge func(*Cluster, *Answer)) []Cluster {
	claims := claims(j.members, observations)
	owner := attachSilent(claims, observations)
	clusters := make([]Cluster, 0, len(observations))
	done := map[v1alpha1.ClusterID]bool{}
	for i := range observations {
		o := &observations[i]
		c := owner[o]
		switch {
		case c == nil:
			clusters = append(clusters, unreachable(o))
		case !done[c.id]:
			done[c.id] = true
			if len(c.proven) > 0 {
				cluster := mergeWays(c.proven)
				for _, silent := range c.silent {
					cluster.Also = append(cluster.Also, silent.Candidate.String())
				}
				judge(&cluster, c.proven[0].Answer)
				clusters = append(clusters, cluster)
			}
			clusters = append(clusters, j.disputed(c)...)
		}
	}
	return clusters
}

// attachSilent finds the claim of each observation; none is one that did not answer and of which nothing says whose it is. A
// server that refuses the caller is known by its endpoint, and another system's object by the name that a second system has
// for it.
func attachSilent(claims []*claim, observations []Observation) map[*Observation]*claim {
	owner := make(map[*Observation]*claim, len(observations))
	named, served := map[string]*claim{}, map[endpoint.Key]*claim{}
	for _, c := range claims {
		for _, o := range slices.Concat(append(c.disputed, c.proven)...) {
			owner[o] = c
		}
		for _, o := range c.proven {
			if o.Source != FromKubeconfig {
				named[o.sharedName()] = c
			}
			if key := endpoint.KeyOf(o.Reached.Server); served[key] == nil {
				served[key] = c
			}
		}
	}
	for i := range observations {
		o := &observations[i]
		if o.Err == nil {
			continue
		}
		c := served[endpoint.KeyOf(o.Reached.Server)]
		if c == nil || !o.Refused || !slices.ContainsFunc(c.proven, func(way *Observation) bool { return way.Reached.SameServer(o.Reached) }) {
			c = nil
			if o.Source != FromKubeconfig {
				c = named[o.sharedName()]
			}
		}
		// Its label is not proved to be the cluster's: one that differs is shown.
		if c != nil && (o.label() == "" || c.asksFor(o.label())) {
			owner[o] = c
			c.silent = append(c.silent, o)
		}
	}
	return owner
}

// asksFor says whether the cluster is in the federation, or asks for it by itself or by an object that leads to it.
func (c *claim) asksFor(federation v1alpha1.FederationName) bool {
	return c.record != nil && c.record.Federation() == federation || slices.ContainsFunc(c.proven, func(o *Observation) bool {
		return o.Answer.JoinRequest.Federation == federation || o.label() == federation
	})
}

// sharedName is the name by which other sources may know the cluster.
func (c Candidate) sharedName() string { return cmp.Or(c.OtherName, c.String()) }

// compareWays puts the preferred of two proven ways to a cluster first: the more direct, then Rancher's proxy where Rancher
// knows an endpoint of the cluster's own, then other ways through that proxy. An object without a label comes after all ways
// that can be joined by: its owner asks for nothing.
func compareWays(a, b *Observation) int {
	rank := func(o *Observation) int {
		rank, n := o.Source.directness(), len(Sources)
		if endpoint.RancherProxyID(o.Reached.Server) != "" {
			rank += n
			if o.Endpoint == nil {
				rank += n
			}
		}
		if len(o.Objects) > 0 && o.label() == "" {
			rank += 3 * n
		}
		if o.Endpoint == nil && o.EndpointMissing != "" {
			rank += 6 * n
		}
		return rank
	}
	return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.Candidate.String(), b.Candidate.String()))
}

// mergeWays is one cluster of all ways that are proved to lead to it, the preferred first.
func mergeWays(all ways) Cluster {
	joins, labels := all, slices.DeleteFunc(slices.Clone(all), func(o *Observation) bool { return len(all) > 1 && !o.counts() })
	own := all[0].Answer.JoinRequest.Federation
	if own == "" && !slices.ContainsFunc(labels, func(o *Observation) bool { return o.label() != "" }) {
		// Labels that count for their own ways only, if any: then the cluster is joined by these, with the rights that they have.
		if asking := slices.DeleteFunc(slices.Clone(all), func(o *Observation) bool { return o.label() == "" }); len(asking) > 0 {
			joins, labels = asking, asking
		}
	}
	c := newCluster(joins[0])
	for _, way := range all {
		if way != joins[0] {
			c.Also = append(c.Also, way.Candidate.String())
		}
		for _, o := range way.Objects {
			if !slices.Contains(c.Objects, o) {
				c.Objects = append(c.Objects, o)
			}
		}
	}
	for _, way := range joins {
		c.Ways = append(c.Ways, way.Candidate)
		c.context = cmp.Or(c.context, way.Candidate.Context())
	}
	c.Labels = maps.Clone(joins[0].Answer.Labels)
	if c.Labels == nil {
		c.Labels = map[string]string{}
	}
	for _, way := range slices.Backward(labels) {
		maps.Copy(c.Labels, way.Candidate.Labels)
	}
	c.request(own, labels...)
	return c
}

// newCluster is a cluster that is reached by one way, so far.
func newCluster(o *Observation) Cluster {
	c := Cluster{Candidate: o.Candidate, context: o.Candidate.Context()}
	if o.Answer != nil {
		c.ID = o.Answer.ID
	}
	c.Objects = nil
	return c
}

// unreachable is a cluster that did not answer.
func unreachable(o *Observation) Cluster {
	c := newCluster(o)
	c.State, c.Reason, c.Objects = Unreachable, o.Err.Error(), o.Objects
	if o.Refused {
		c.State = NoAccess
	}
	if c.request("", o); o.label() == "" {
		if _, none := errors.AsType[*NoCredential](o.Err); none {
			c.State = Unlabeled // as far as can be known: nothing asks for it, and nothing is wrong
		}
	}
	return c
}
