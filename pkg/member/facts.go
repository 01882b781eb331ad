package member

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/version"

	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

// What Version and Topology read.
var (
	VersionRef = cluster.Ref{Path: "/version"}
	NodesRef   = cluster.Ref{Resource: cluster.Nodes}
)

// Version is the member's Kubernetes version as its API server reports it: "v1.36.3"; empty when it reports none.
func (c *Cluster) Version(ctx context.Context) (string, error) {
	var info version.Info
	err := c.GetPath(ctx, VersionRef.Path, &info)
	return KnownVersion(info.GitVersion), err
}

// Labels with a node's location, the newest first. The old ones are those of Kubernetes before 1.17.
var (
	regionLabels = []string{"topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region"}
	zoneLabels   = []string{"topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"}
)

// Topology is where the member's nodes are.
type Topology struct {
	// Regions and Zones are sorted and without duplicates.
	Regions, Zones []string
	// Nodes is the number of nodes.
	Nodes int
	// Region and Zone are set when all nodes carry one and the same.
	Region, Zone string
	// WithoutRegion and WithoutZone are how many nodes carry none.
	WithoutRegion, WithoutZone int
}

// maxLabelLength is the length of the longest label value. What is longer is none.
const maxLabelLength = 63

// Topology reads the location labels of all nodes, and nothing else of them.
func (c *Cluster) Topology(ctx context.Context) (Topology, error) {
	type node struct {
		Metadata struct {
			Labels map[string]string `json:"labels"`
		} `json:"metadata"`
	}
	var nodes []map[string]string
	err := cluster.EachMetadata(ctx, c.Conn, cluster.Nodes, cluster.ListOptions{}, func() { nodes = nil }, func(n *node) {
		var kept map[string]string
		for _, key := range slices.Concat(regionLabels, zoneLabels) {
			if value := n.Metadata.Labels[key]; value != "" && len(value) <= maxLabelLength {
				if kept == nil {
					kept = map[string]string{}
				}
				kept[key] = value
			}
		}
		nodes = append(nodes, kept)
	})
	if err != nil {
		return Topology{}, err
	}
	return TopologyOf(nodes), nil
}

// TopologyOf is the topology that the labels of all nodes describe.
func TopologyOf(nodes []map[string]string) Topology {
	t := Topology{Nodes: len(nodes)}
	t.Regions, t.Region, t.WithoutRegion = gather(nodes, regionLabels)
	t.Zones, t.Zone, t.WithoutZone = gather(nodes, zoneLabels)
	return t
}

// gather is every value of the first of keys that a node carries, the one value if all nodes agree, and how many carry none.
func gather(nodes []map[string]string, keys []string) (values []string, agreed string, without int) {
	for _, labels := range nodes {
		value := ""
		for _, key := range keys {
			if value = labels[key]; value != "" {
				break
			}
		}
		if value == "" {
			without++
			continue
		}
		values = append(values, value)
	}
	slices.Sort(values)
	values = slices.Compact(values)
	if len(values) == 1 && without == 0 {
		agreed = values[0]
	}
	return values, agreed, without
}
