package discover

import (
	"cmp"
	"maps"
	"slices"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
)

// merge makes one Cluster of all observations of a cluster, in the order of the first of each. What did not answer is a
// cluster of its own, unless an object names it as one that did.
func merge(observations []Observation, judge func(*Cluster, *Answer)) []Cluster {
	ways := map[v1alpha1.ClusterID][]*Observation{}
	// named are the clusters that answered, by the names that their sources know.
	named := map[string]v1alpha1.ClusterID{}
	for i := range observations {
		if o := &observations[i]; o.Err == nil {
			ways[o.Answer.ID] = append(ways[o.Answer.ID], o)
			if o.Source != FromKubeconfig {
				named[o.sharedName()] = o.Answer.ID
			}
		}
	}
	for i := range observations {
		if o := &observations[i]; o.Err != nil && o.Source != FromKubeconfig {
			if id, known := named[o.sharedName()]; known {
				ways[id] = append(ways[id], o)
			}
		}
	}
	clusters := make([]Cluster, 0, len(observations))
	for i := range observations {
		o := &observations[i]
		if o.Err != nil {
			if _, known := named[o.sharedName()]; !known || o.Source == FromKubeconfig {
				clusters = append(clusters, unreachable(o))
			}
			continue
		}
		if found := ways[o.Answer.ID]; found != nil {
			ways[o.Answer.ID] = nil
			c := mergeWays(found)
			judge(&c, o.Answer)
			clusters = append(clusters, c)
		}
	}
	return clusters
}

// sharedName is the name by which other sources may know the cluster.
func (c Candidate) sharedName() string { return cmp.Or(c.OtherName, c.String()) }

// compareWays puts the more direct of two ways to a cluster first; what did not answer comes last. Rancher's proxy comes after
// all sources, whichever leads to it, and before others where Rancher knows an endpoint of the cluster's own.
func compareWays(a, b *Observation) int {
	rank := func(o *Observation) int {
		rank := o.Source.directness()
		if o.Err != nil {
			return 3*len(Sources) + rank
		}
		if endpoint.RancherProxyID(o.Server) == "" {
			return rank
		}
		if o.Endpoint != nil {
			return len(Sources) + rank
		}
		return 2*len(Sources) + rank
	}
	return cmp.Compare(rank(a), rank(b))
}

// mergeWays is one cluster of all its candidates.
func mergeWays(ways []*Observation) Cluster {
	slices.SortStableFunc(ways, compareWays)
	best := ways[0]
	c := Cluster{Candidate: best.Candidate, ID: best.Answer.ID}
	c.Objects, c.Labels = nil, maps.Clone(best.Answer.Labels)
	if c.Labels == nil {
		c.Labels = map[string]string{}
	}
	if own := best.Answer.JoinRequest.Federation; own != "" {
		c.requests = append(c.requests, Object{JoinRequest: own})
	}
	for i, way := range ways {
		if i > 0 {
			c.Also = append(c.Also, way.Candidate.String())
		}
		c.context = cmp.Or(c.context, way.Candidate.Context())
		c.Objects = append(c.Objects, way.Objects...)
	}
	for _, way := range slices.Backward(ways) {
		maps.Copy(c.Labels, way.Candidate.Labels)
	}
	c.request()
	return c
}

// unreachable is a cluster that did not answer.
func unreachable(o *Observation) Cluster {
	c := Cluster{Candidate: o.Candidate, State: Unreachable, Reason: o.Err.Error(), context: o.Candidate.Context()}
	c.request()
	return c
}
