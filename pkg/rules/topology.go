package rules

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// Topology: a region or zone label says where the nodes are.
//
// Reads: the labels topology.kubernetes.io/region and /zone, and what is known of the nodes' regions and zones.
// Allows: a label that one of the nodes has. Unknown only warns; no label says nothing.
// Does not promise: that all nodes are there.
const Topology ID = "topology"

// Labels that Kubernetes defines for nodes (k8s.io/api/core/v1), and that mean the same on a member.
const (
	LabelRegion = "topology.kubernetes.io/region"
	LabelZone   = "topology.kubernetes.io/zone"
)

func topology(_ Snapshot, m *v1alpha1.MemberCluster) (found Findings) {
	facts := m.KnownFacts()
	for _, place := range []struct {
		key, noun string
		known     []string
	}{
		{LabelRegion, "region", facts.Regions},
		{LabelZone, "zone", facts.Zones},
	} {
		value, has := m.Labels[place.key]
		switch {
		case !has:
		case len(place.known) == 0:
			found.warn(unknown(labelsPath.Key(place.key), "no %s of the nodes is known to compare it with", place.noun))
		case !slices.Contains(place.known, value):
			quoted := make([]string, len(place.known))
			for i, known := range place.known {
				quoted[i] = fmt.Sprintf("%q", known)
			}
			found.refuse(field.Invalid(labelsPath.Key(place.key), value,
				fmt.Sprintf("the nodes of this cluster are in %s %s", place.noun, strings.Join(quoted, ", "))))
		}
	}
	return found
}
