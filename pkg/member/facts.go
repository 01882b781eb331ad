package member

import (
	"context"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/version"

	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

// What Version and Topology read.
var (
	VersionRef = cluster.Ref{Path: "/version"}
	NodesRef   = cluster.Ref{Resource: cluster.Nodes}
)

// Version is the member's Kubernetes version as its API server reports it: "v1.36.3".
func (c *Cluster) Version(ctx context.Context) (string, error) {
	var info version.Info
	err := c.GetPath(ctx, VersionRef.Path, &info)
	return info.GitVersion, err
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
}

// Topology reads the labels of all nodes, and nothing else of them.
func (c *Cluster) Topology(ctx context.Context) (Topology, error) {
	nodes, _, err := cluster.List[metav1.PartialObjectMetadata](ctx, c.Conn, cluster.Nodes, cluster.ListOptions{})
	if err != nil {
		return Topology{}, err
	}
	labels := make([]map[string]string, len(nodes))
	for i := range nodes {
		labels[i] = nodes[i].Labels
	}
	return TopologyOf(labels), nil
}

// TopologyOf is the topology that the labels of all nodes describe.
func TopologyOf(nodes []map[string]string) Topology {
	t := Topology{Nodes: len(nodes)}
	t.Regions, t.Region = gather(nodes, regionLabels)
	t.Zones, t.Zone = gather(nodes, zoneLabels)
	return t
}

// gather is every value of the first of keys that a node carries, and the one value if all nodes agree.
func gather(nodes []map[string]string, keys []string) (values []string, agreed string) {
	bare := false
	for _, labels := range nodes {
		value := ""
		for _, key := range keys {
			if value = labels[key]; value != "" {
				break
			}
		}
		if value == "" {
			bare = true
			continue
		}
		values = append(values, value)
	}
	slices.Sort(values)
	values = slices.Compact(values)
	if len(values) == 1 && !bare {
		agreed = values[0]
	}
	return values, agreed
}
