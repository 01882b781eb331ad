package federate

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
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
	return f.Host.Member == nil && !given && p.agreed == ""
}

// read is what was read of the nodes, which do not agree.
func (p place) read(nodes int) string {
	quoted := make([]string, len(p.values))
	for i, value := range p.values {
		quoted[i] = cluster.Quoted(value)
	}
	values := strings.Join(quoted, ", ")
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

func (p place) remedy() string { return "choose one with --labels " + p.key + "=VALUE" }

// explainPlaces adds to refusals of labels that were not read what was read, and how to choose.
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
	return findings
}

// requiredPlaces are the labels that a federation requires and that were not read, for a run that does not ask the host,
// which would refuse them.
func requiredPlaces(f *joinFacts, o JoinOptions) (notes []Finding) {
	if f.Host.Federation == nil || o.DryRun != cluster.DryRunClient {
		return nil
	}
	for _, p := range placesOf(f.Member.Topology) {
		for _, rule := range f.Host.Federation.Spec.Labels {
			if rule.Key == p.key && rule.Required && p.open(f, o) {
				notes = append(notes, Finding{Side: cluster.Member, Object: "label " + p.key,
					Cause: fmt.Sprintf("is required by federation %q; %s", v1alpha1.FederationName(f.Host.Federation.Name), p.read(f.Member.Nodes)), Remedy: p.remedy()})
			}
		}
	}
	return notes
}
