package federate

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// place is a label of the member that a join reads from the nodes, where they agree.
type place struct {
	key, agreed string
	values      []string
	without     int
}

func placesOf(t member.Topology) []place {
	return []place{
		{corev1.LabelTopologyRegion, t.Region, t.Regions, t.WithoutRegion},
		{corev1.LabelTopologyZone, t.Zone, t.Zones, t.WithoutZone},
	}
}

// open says that the label of a new member is neither given nor read.
func (p place) open(f *joinFacts, o JoinOptions) bool {
	_, given := o.Labels[p.key]
	if as := f.as(o); as != nil && as.Labels[p.key] != "" {
		return false
	}
	return f.Host.Member == nil && !given && p.agreed == ""
}

// read is what was read of the nodes, which do not agree.
func (p place) read(nodes int) string {
	values := quoted(p.values)
	switch {
	case nodes == 0:
		return "the cluster has no nodes to read it from"
	case len(p.values) == 0:
		return "no node of the cluster carries it"
	case p.without == 0:
		return "the nodes carry different ones, " + values
	}
	return fmt.Sprintf("%d of %d nodes do not carry it, the others carry %s", p.without, nodes, values)
}

// quoted are texts on one line.
func quoted(texts []string) string {
	all := make([]string, len(texts))
	for i, text := range texts {
		all[i] = cluster.Quoted(text)
	}
	return strings.Join(all, ", ")
}

func (p place) remedy() string { return "choose one with --labels " + p.key + "=VALUE" }

// explainPlaces adds to refusals of labels how to choose them, and of those that were not read what was read.
func explainPlaces(findings []Finding, f *joinFacts, o JoinOptions) []Finding {
	for _, p := range placesOf(f.Member.Topology) {
		path := field.NewPath("metadata", "labels").Key(p.key).String()
		for i := range findings {
			if findings[i].field == path && p.open(f, o) {
				findings[i].Cause += "; " + p.read(f.Member.Nodes)
				findings[i].Remedy = p.remedy()
			}
		}
	}
	if f.Host.Federation == nil {
		return findings
	}
	for _, rule := range f.Host.Federation.Spec.Labels {
		path := field.NewPath("metadata", "labels").Key(rule.Key).String()
		for i := range findings {
			if findings[i].field == path && findings[i].Remedy == "" {
				findings[i].Remedy = place{key: rule.Key}.remedy()
			}
		}
	}
	return findings
}

// requiredPlaces are the labels that a federation requires and that were not read, for a run that does not ask the host,
// which would refuse them.
func requiredPlaces(f *joinFacts, o JoinOptions) (notes []Finding) {
	if f.Host.Federation == nil || o.DryRun != cluster.DryRunClient {
		return nil
	}
	places := placesOf(f.Member.Topology)
	for _, rule := range f.Host.Federation.Spec.Labels {
		i := slices.IndexFunc(places, func(p place) bool { return p.key == rule.Key })
		if i < 0 {
			i = len(places)
			places = append(places, place{key: rule.Key}) // one that is not read
		}
		if p := places[i]; rule.Required && p.open(f, o) {
			n := Finding{Side: cluster.Member, Object: "label " + p.key, Cause: "is required by federation " + cluster.Quoted(f.Host.Federation.Name), Remedy: p.remedy()}
			switch {
			case i < len(placesOf(f.Member.Topology)):
				n.Cause += "; " + p.read(f.Member.Nodes)
			case rule.Message != "":
				n.Cause += "; " + rule.Message
			case len(rule.Values) > 0:
				n.Cause += "; supported values: " + quoted(rule.Values)
			}
			notes = append(notes, n)
		}
	}
	return notes
}
