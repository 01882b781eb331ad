package services

import (
	"context"
	"encoding/json"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

// APIs are the groups and versions of ServiceExport and ServiceImport, in the order in which they are asked for: the standard ones, and
// GKE's own.
var APIs = []schema.GroupVersion{
	{Group: "multicluster.x-k8s.io", Version: "v1beta1"},
	{Group: "multicluster.x-k8s.io", Version: "v1alpha1"},
	{Group: "net.gke.io", Version: "v1"},
}

// What is read of members beside exports and imports.
var (
	serviceCIDRs = []cluster.Resource{
		kind(schema.GroupVersion{Group: "networking.k8s.io", Version: "v1"}, "servicecidrs", "ServiceCIDR"),
		kind(schema.GroupVersion{Group: "networking.k8s.io", Version: "v1beta1"}, "servicecidrs", "ServiceCIDR"),
	}
	corefile = cluster.Ref{Resource: cluster.ConfigMaps, Namespace: "kube-system", Name: "coredns"}
)

// Exports is ServiceExport in a version.
func Exports(v schema.GroupVersion) cluster.Resource {
	return kind(v, "serviceexports", "ServiceExport")
}

// Imports is ServiceImport in a version.
func Imports(v schema.GroupVersion) cluster.Resource {
	return kind(v, "serviceimports", "ServiceImport")
}

func kind(v schema.GroupVersion, resource, kind string) cluster.Resource {
	return cluster.Resource{GroupVersionResource: v.WithResource(resource), Kind: kind}
}

// Query says which services are read.
type Query struct {
	// Namespace is empty for all, and Name for all of the namespace.
	Namespace, Name string
}

func (q Query) options() cluster.ListOptions {
	o := cluster.ListOptions{Namespace: q.Namespace, Quiet: true}
	if q.Name != "" {
		o.Fields = fields.OneTermEqualSelector("metadata.name", q.Name).String()
	}
	return o
}

// Bounds of what is kept of one kind of a member.
const (
	maxObjects = 2000
	maxBytes   = 4 << 20
)

// Read reads what a member exports and imports, and whether it has the namespaces. That it serves no ServiceExport is no error.
func Read(ctx context.Context, c *cluster.Conn, member string, q Query) (*Member, error) {
	m := &Member{Name: member}
	for _, version := range APIs {
		err := m.readExports(ctx, c, Exports(version), q)
		if cluster.IsNotServed(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		m.API = version.String()
		err = m.readImports(ctx, c, Imports(version), q)
		switch {
		case cluster.IsNotServed(err):
			m.note("it serves no ServiceImport")
		case apierrors.IsForbidden(err):
			m.note("what it imports is not known: you are not allowed to list ServiceImports")
		case err != nil:
			return nil, err
		}
		break
	}
	if err := m.readServices(ctx, c, q); err != nil {
		return nil, err
	}
	return m, m.readNamespaces(ctx, c, q)
}

// kept bounds what is kept of a list.
type kept struct{ objects, bytes, dropped, unnamed int }

// take says whether one more object is kept.
func (k *kept) take(raw json.RawMessage) bool {
	if k.objects == maxObjects || k.bytes+len(raw) > maxBytes {
		k.dropped++
		return false
	}
	k.objects, k.bytes = k.objects+1, k.bytes+len(raw)
	return true
}

func (k *kept) note(m *Member, what string) {
	if k.dropped > 0 {
		m.note("%d of its %ss are left out, after the first %d or %d MiB", k.dropped, what, maxObjects, maxBytes>>20)
	}
	if k.unnamed > 0 {
		m.note("%d of its %ss are left out: their names are none", k.unnamed, what)
	}
}

func (m *Member) readExports(ctx context.Context, c *cluster.Conn, r cluster.Resource, q Query) error {
	var k kept
	err := cluster.Each(ctx, c, r, q.options(), func() { m.Exports, k = nil, kept{} }, func(raw *json.RawMessage) {
		o, name, ok := decodeName(*raw)
		switch {
		case !ok:
			k.unnamed++
		case o.Metadata.DeletionTimestamp == nil && k.take(*raw):
			m.Exports = append(m.Exports, decodeExport(*raw, o, name))
		}
	})
	k.note(m, r.Kind)
	return err
}

func (m *Member) readImports(ctx context.Context, c *cluster.Conn, r cluster.Resource, q Query) error {
	var k kept
	err := cluster.Each(ctx, c, r, q.options(), func() { m.Imports, k = nil, kept{} }, func(raw *json.RawMessage) {
		o, name, ok := decodeName(*raw)
		switch {
		case !ok:
			k.unnamed++
		case o.Metadata.DeletionTimestamp == nil && !o.transported() && k.take(*raw):
			m.Imports = append(m.Imports, decodeImport(*raw, name))
		}
	})
	k.note(m, r.Kind)
	return err
}

// readServices reads the Services that are exported, and keeps no other.
func (m *Member) readServices(ctx context.Context, c *cluster.Conn, q Query) error {
	if len(m.Exports) == 0 {
		return nil
	}
	exports := make(map[Name]*Export, len(m.Exports))
	for i := range m.Exports {
		if e := &m.Exports[i]; exports[e.Name] == nil {
			exports[e.Name] = e
		}
	}
	begin := func() {
		for _, e := range exports {
			e.Service = nil
		}
	}
	return cluster.Each(ctx, c, cluster.Services, q.options(), begin, func(raw *json.RawMessage) {
		_, name, ok := decodeName(*raw)
		e := exports[name]
		if !ok || e == nil {
			return
		}
		d, err := decodeService(*raw)
		if err != nil {
			e.Fault = "its Service cannot be read: " + err.Error()
			return
		}
		e.Service = d
	})
}

// readNamespaces reads which namespaces exist: the one of the query, or all.
func (m *Member) readNamespaces(ctx context.Context, c *cluster.Conn, q Query) error {
	var err error
	names := map[string]bool{}
	if q.Namespace != "" {
		var found *metav1.PartialObjectMetadata
		found, err = c.FindMetadata(ctx, cluster.Ref{Resource: cluster.Namespaces, Name: q.Namespace})
		names[q.Namespace] = found != nil
	} else {
		err = cluster.EachMetadata(ctx, c, cluster.Namespaces, cluster.ListOptions{}, func() { clear(names) }, func(o *object) {
			names[o.Metadata.Name] = true
		})
	}
	if apierrors.IsForbidden(err) {
		m.note("which namespaces it has is not known: you are not allowed to read them")
		return nil
	}
	m.Namespaces = names
	return err
}

// ReadNetwork reads the networks of a member and its cluster DNS. What is not known of them is among the notes.
func (m *Member) ReadNetwork(ctx context.Context, c *cluster.Conn) {
	n := &Network{Domain: DomainUnknown}
	m.Network = n
	var notes [3]string
	_ = cluster.Together(
		func() error { n.Services, notes[0] = readServiceCIDRs(ctx, c); return nil },
		func() error { n.Pods, notes[1] = readPodCIDRs(ctx, c); return nil },
		func() error { n.Domain, notes[2] = readDomain(ctx, c); return nil },
	)
	for _, note := range notes {
		if note != "" {
			m.note("%s", note)
		}
	}
}

// why says why something could not be read, and which right that takes.
func why(err error, right string) string {
	if apierrors.IsForbidden(err) {
		return "you are not allowed to " + right
	}
	return cluster.Cause(err)
}

func readServiceCIDRs(ctx context.Context, c *cluster.Conn) ([]Range, string) {
	const unknown = "the addresses of its Services are not known: "
	for _, r := range serviceCIDRs {
		var all cidrs
		err := cluster.Each(ctx, c, r, cluster.ListOptions{Quiet: true}, func() { all = cidrs{} }, func(o *struct {
			Spec struct {
				CIDRs []string `json:"cidrs"`
			} `json:"spec"`
		}) {
			all.add(o.Spec.CIDRs)
		})
		switch {
		case cluster.IsNotServed(err):
			continue
		case err != nil:
			return nil, unknown + why(err, "list ServiceCIDRs")
		}
		return all.result("addresses of Services")
	}
	return nil, unknown + "it serves no ServiceCIDR, which Kubernetes does from 1.31 on"
}

func readPodCIDRs(ctx context.Context, c *cluster.Conn) ([]Range, string) {
	var all cidrs
	err := cluster.Each(ctx, c, cluster.Nodes, cluster.ListOptions{}, func() { all = cidrs{} }, func(o *struct {
		Spec struct {
			PodCIDRs []string `json:"podCIDRs"`
		} `json:"spec"`
	}) {
		all.add(o.Spec.PodCIDRs)
	})
	switch {
	case err != nil:
		return nil, "the addresses of its pods are not known: " + why(err, "list nodes")
	case len(all.ranges) == 0 && all.invalid == 0:
		return nil, "the addresses of its pods are not known: its nodes have no spec.podCIDRs"
	}
	return all.result("addresses of pods")
}

// cidrs gathers ranges within bounds.
type cidrs struct {
	ranges           []Range
	invalid, dropped int
}

func (c *cidrs) add(some []string) {
	const perObject = 2 // the most that Kubernetes takes
	if len(some) > perObject {
		c.dropped += len(some) - perObject
		some = some[:perObject]
	}
	ranges, invalid := parseRanges(some)
	c.invalid += invalid
	c.ranges = append(c.ranges, ranges...) // as many as a list may have objects
}

// result joins the ranges, and says what was left out of them.
func (c *cidrs) result(what string) (ranges []Range, note string) {
	ranges = join(c.ranges)
	if more := len(ranges) - maxRanges; more > 0 {
		c.dropped += more
		ranges = ranges[:maxRanges]
	}
	if c.invalid+c.dropped > 0 {
		note = fmt.Sprintf("of the %s it names, %d are left out: they are no ranges that a cluster has, or too many", what, c.invalid+c.dropped)
	}
	return ranges, note
}

func readDomain(ctx context.Context, c *cluster.Conn) (Domain, string) {
	const unknown = "whether cluster DNS serves " + clusterSetDomain + " is not known: "
	o, err := c.Find(ctx, corefile)
	switch {
	case err != nil:
		return DomainUnknown, unknown + why(err, "get "+corefile.String())
	case o == nil:
		return DomainUnknown, unknown + "there is no " + corefile.String()
	}
	text, found, err := unstructured.NestedString(o.Object, "data", "Corefile")
	if err != nil || !found {
		return DomainUnknown, unknown + corefile.String() + " has no Corefile"
	}
	return domainOf(text), ""
}
