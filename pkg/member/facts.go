package member

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
)

// Version is the member's Kubernetes version as its API server tells it: "v1.36.3".
func (c *Cluster) Version(ctx context.Context) (string, error) {
	raw, err := c.Raw(ctx, "/version", "", nil)
	if err != nil {
		return "", err
	}
	var info struct {
		GitVersion string `json:"gitVersion"`
	}
	if err := json.Unmarshal(raw, &info); err != nil {
		return "", fmt.Errorf("member: read the version of %s: %w", c.Server(), err)
	}
	return info.GitVersion, nil
}

// Labels that tell where a node stands, newest first. The old ones are what nodes of Kubernetes before
// 1.17 carry.
var (
	regionLabels = []string{"topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region"}
	zoneLabels   = []string{"topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"}
)

// Topology is where the member's nodes stand.
type Topology struct {
	// Regions and Zones are sorted and without duplicates.
	Regions, Zones []string
	// Nodes is the number of nodes.
	Nodes int
	// Region and Zone are set when all nodes carry one and the same.
	Region, Zone string
}

// Topology reads the labels of all nodes, in pages and without the rest of the nodes.
func (c *Cluster) Topology(ctx context.Context) (Topology, error) {
	const metadataOnly = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
	var labels []map[string]string
	query := url.Values{"limit": {"500"}}
	for {
		raw, err := c.Raw(ctx, "/api/v1/nodes", metadataOnly, query)
		if err != nil {
			return Topology{}, err
		}
		var page struct {
			Metadata struct {
				Continue string `json:"continue"`
			} `json:"metadata"`
			Items []struct {
				Metadata struct {
					Labels map[string]string `json:"labels"`
				} `json:"metadata"`
			} `json:"items"`
		}
		if err := json.Unmarshal(raw, &page); err != nil {
			return Topology{}, fmt.Errorf("member: read the nodes of %s: %w", c.Server(), err)
		}
		for _, node := range page.Items {
			labels = append(labels, node.Metadata.Labels)
		}
		if page.Metadata.Continue == "" {
			return TopologyOf(labels), nil
		}
		query.Set("continue", page.Metadata.Continue)
	}
}

// TopologyOf is what the labels of all nodes say.
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
