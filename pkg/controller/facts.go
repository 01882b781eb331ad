package controller

import (
	"context"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// maxValues bounds the regions, and the zones, that are kept while nodes are read.
const maxValues = 4 * maxTopology

// The labels of a node that name its region and its zone, as they are today and were before 1.17.
var (
	regionKeys = []string{"topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region"}
	zoneKeys   = []string{"topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"}
)

// countedResources are those whose capacity is reported.
var countedResources = []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourcePods}

// sum is what follows from the nodes that were read so far. No node is kept.
type sum struct {
	nodes          int32
	regions, zones map[string]bool
	capacity       corev1.ResourceList
}

// facts are the version, and what follows from all nodes.
func (c *connection) facts(ctx context.Context, b *budget, version string) (*v1alpha1.Facts, error) {
	total := sum{regions: map[string]bool{}, zones: map[string]bool{}, capacity: corev1.ResourceList{}}
	r := nodes(nodePage, "")
	r.most = probeBytes
	for {
		var list page
		before := total.nodes
		_, err := c.send(ctx, b, r, func(s *scanner) error {
			return s.fields(map[string]func() error{
				"metadata": func() error { return list.read(s) },
				"items":    func() error { return s.array(func() error { return total.add(s) }) },
			})
		})
		if err != nil {
			return nil, err
		}
		if list.more == "" || total.nodes >= maxNodes {
			return total.facts(version), nil
		}
		if total.nodes == before || list.more == r.query.Get("continue") {
			return nil, &contentError{"list nodes: the list does not go on, and does not end"}
		}
		r.query.Set("continue", list.more)
	}
}

// add reads one node. No API server stores an amount that ParseQuantity does not take.
func (t *sum) add(s *scanner) error {
	labels, capacity := map[string]string{}, corev1.ResourceList{}
	read := map[string]func() error{}
	for _, key := range slices.Concat(regionKeys, zoneKeys) {
		read[key] = func() error {
			value, fits, err := s.text(maxLabel)
			if fits && len(validation.IsValidLabelValue(value)) == 0 {
				labels[key] = value
			}
			return err
		}
	}
	amounts := map[string]func() error{}
	for _, name := range countedResources {
		amounts[string(name)] = func() error {
			text, fits, err := s.text(maxLabel)
			if err != nil {
				return err
			}
			if !fits {
				return &contentError{fmt.Sprintf("list nodes: a capacity of %s has more than %d bytes", name, maxLabel)}
			}
			quantity, ok := member.ParseQuantity(text)
			if !ok {
				return &contentError{fmt.Sprintf("list nodes: %q is not a capacity of %s", text, name)}
			}
			capacity[name] = quantity
			return nil
		}
	}
	err := s.fields(map[string]func() error{
		"metadata": func() error {
			return s.fields(map[string]func() error{"labels": func() error { return s.fields(read) }})
		},
		"status": func() error {
			return s.fields(map[string]func() error{"capacity": func() error { return s.fields(amounts) }})
		},
	})
	if err != nil || t.nodes >= maxNodes {
		return err
	}
	t.nodes++
	note(t.regions, labels, regionKeys)
	note(t.zones, labels, zoneKeys)
	for name, quantity := range capacity {
		all, ok := t.capacity[name]
		if !ok {
			all.Format = quantity.Format
		}
		all.Add(quantity)
		t.capacity[name] = all
	}
	return nil
}

// note keeps the value of the first of keys that a node has.
func note(values map[string]bool, labels map[string]string, keys []string) {
	for _, key := range keys {
		if value := labels[key]; value != "" {
			if len(values) < maxValues {
				values[value] = true
			}
			return
		}
	}
}

func (t *sum) facts(version string) *v1alpha1.Facts {
	facts := &v1alpha1.Facts{Nodes: t.nodes}
	facts.KubernetesVersion = version
	first := func(values map[string]bool) []string {
		sorted := slices.Sorted(maps.Keys(values))
		return sorted[:min(len(sorted), maxTopology)]
	}
	facts.Regions, facts.Zones = first(t.regions), first(t.zones)
	for name, quantity := range t.capacity {
		if facts.Capacity == nil {
			facts.Capacity = corev1.ResourceList{}
		}
		// Written and read once, so that it compares equal with what the host stores.
		facts.Capacity[name] = resource.MustParse(quantity.String())
	}
	return facts
}
