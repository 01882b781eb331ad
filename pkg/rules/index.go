package rules

import (
	"iter"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
)

// Index is the federations, members and namespaces of a host in memory, with everything counted that rules ask for, so that
// an answer takes as long with ten thousand members as with ten. It keeps the objects it is given and
// changes none. It is not safe for use by several goroutines at once when one of them writes.
type Index struct {
	federations map[v1alpha1.FederationName]*v1alpha1.Federation
	members     map[v1alpha1.MemberName]*v1alpha1.MemberCluster
	namespaces  map[string]*metav1.ObjectMeta

	of       map[v1alpha1.FederationName]set
	byID     map[v1alpha1.ClusterID]set
	byServer map[endpoint.Key]set
	counts   map[Bucket]int
}

type set map[v1alpha1.MemberName]struct{}

var _ Host = (*Index)(nil)

// NewIndex gives an empty index.
func NewIndex() *Index {
	return &Index{
		federations: map[v1alpha1.FederationName]*v1alpha1.Federation{},
		members:     map[v1alpha1.MemberName]*v1alpha1.MemberCluster{},
		namespaces:  map[string]*metav1.ObjectMeta{},
		of:          map[v1alpha1.FederationName]set{},
		byID:        map[v1alpha1.ClusterID]set{},
		byServer:    map[endpoint.Key]set{},
		counts:      map[Bucket]int{},
	}
}

// SetFederation puts a federation in the place of the one of its name.
func (x *Index) SetFederation(f *v1alpha1.Federation) {
	x.federations[v1alpha1.FederationName(f.Name)] = f
}

// DropFederation takes a federation out.
func (x *Index) DropFederation(name v1alpha1.FederationName) { delete(x.federations, name) }

// Member is nil when there is none of the name. It is not to be changed.
func (x *Index) Member(name v1alpha1.MemberName) *v1alpha1.MemberCluster { return x.members[name] }

// SetNamespace puts a namespace in the place of the one of its name.
func (x *Index) SetNamespace(m *metav1.ObjectMeta) { x.namespaces[m.Name] = m }

// Namespace implements Host.
func (x *Index) Namespace(name string) *metav1.ObjectMeta { return x.namespaces[name] }

// SetMember puts a member in the place of the one of its name.
func (x *Index) SetMember(m *v1alpha1.MemberCluster) {
	name := v1alpha1.MemberName(m.Name)
	x.DropMember(name)
	x.members[name] = m
	insert(x.of, m.Federation(), name)
	insert(x.byID, v1alpha1.ClusterID(m.Spec.ClusterID), name)
	insert(x.byServer, endpoint.KeyOf(m.Spec.Server), name)
	x.count(m, 1)
}

// DropMember takes a member out.
func (x *Index) DropMember(name v1alpha1.MemberName) {
	m, ok := x.members[name]
	if !ok {
		return
	}
	delete(x.members, name)
	remove(x.of, m.Federation(), name)
	remove(x.byID, v1alpha1.ClusterID(m.Spec.ClusterID), name)
	remove(x.byServer, endpoint.KeyOf(m.Spec.Server), name)
	x.count(m, -1)
}

func (x *Index) count(m *v1alpha1.MemberCluster, by int) {
	add := func(b Bucket) {
		if x.counts[b] += by; x.counts[b] == 0 {
			delete(x.counts, b)
		}
	}
	add(Bucket{Federation: m.Federation()})
	for key, value := range m.Labels {
		add(Bucket{m.Federation(), key, value})
	}
}

func insert[K comparable](sets map[K]set, key K, name v1alpha1.MemberName) {
	if sets[key] == nil {
		sets[key] = set{}
	}
	sets[key][name] = struct{}{}
}

func remove[K comparable](sets map[K]set, key K, name v1alpha1.MemberName) {
	if delete(sets[key], name); len(sets[key]) == 0 {
		delete(sets, key)
	}
}

// Federation implements Host.
func (x *Index) Federation(name v1alpha1.FederationName) *v1alpha1.Federation {
	return x.federations[name]
}

// FederationNames implements Host.
func (x *Index) FederationNames() []v1alpha1.FederationName {
	return slices.Sorted(maps.Keys(x.federations))
}

// Memberships are the federations that have members, whether they are there or not, sorted.
func (x *Index) Memberships() []v1alpha1.FederationName { return slices.Sorted(maps.Keys(x.of)) }

// MembersWithID implements Host.
func (x *Index) MembersWithID(id v1alpha1.ClusterID) []*v1alpha1.MemberCluster {
	return x.sorted(x.byID[id])
}

// MembersAt implements Host.
func (x *Index) MembersAt(key endpoint.Key) []*v1alpha1.MemberCluster {
	return x.sorted(x.byServer[key])
}

func (x *Index) sorted(names set) []*v1alpha1.MemberCluster {
	if len(names) == 0 {
		return nil
	}
	found := make([]*v1alpha1.MemberCluster, 0, len(names))
	for name := range names {
		found = append(found, x.members[name])
	}
	slices.SortFunc(found, func(a, b *v1alpha1.MemberCluster) int { return strings.Compare(a.Name, b.Name) })
	return found
}

// Count implements Host.
func (x *Index) Count(b Bucket, except v1alpha1.MemberName) int {
	n := x.counts[b]
	if m := x.members[except]; m != nil && m.Federation() == b.Federation {
		if value, has := m.Labels[b.Key]; b.Key == "" || has && value == b.Value {
			n--
		}
	}
	return n
}

// Members implements Host.
func (x *Index) Members(name v1alpha1.FederationName) iter.Seq[*v1alpha1.MemberCluster] {
	return func(yield func(*v1alpha1.MemberCluster) bool) {
		for member := range x.of[name] {
			if !yield(x.members[member]) {
				return
			}
		}
	}
}
