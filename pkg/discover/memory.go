package discover

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// maxMemory is how many bytes the memory takes: an object has 1 MiB in etcd. A cluster takes about 75.
const maxMemory = 900 << 10

// Memory is what the discovery controller has seen as members: which cluster each object on the host led to. A cluster that was a
// member, and left otherwise than by `unjoin`, which it remembers itself, is not joined again by the label that is still there.
// The zero Memory is empty, and nil is one that cannot be read.
type Memory struct {
	of map[types.UID]remembered
}

// remembered is a member that an object led to.
type remembered struct {
	federation v1alpha1.FederationName
	cluster    v1alpha1.ClusterID
	// until is when it was seen that the cluster is no member any more; zero while it is.
	until time.Time
	// anew says that the label was removed after that: when it is set again, it asks again.
	anew bool
}

// asksAnew is how a line ends whose label was removed after its cluster left.
const asksAnew = "removed"

// ReadMemory reads the data of the ConfigMap that the memory is kept in: for each federation a line for each object, with the
// object's UID, the cluster ID and, once the cluster has left, when. Lines that cannot be read are left out.
func ReadMemory(data map[string]string) *Memory {
	m := &Memory{of: map[types.UID]remembered{}}
	for federation, lines := range data {
		for line := range strings.Lines(lines) {
			fields := strings.Fields(line)
			if len(fields) < 2 {
				continue
			}
			s := remembered{federation: v1alpha1.FederationName(federation), cluster: v1alpha1.ClusterID(fields[1])}
			if len(fields) > 2 {
				until, err := time.Parse(time.RFC3339, fields[2])
				if err != nil {
					continue
				}
				s.until, s.anew = until, len(fields) > 3 && fields[3] == asksAnew
			}
			m.of[types.UID(fields[0])] = s
		}
	}
	return m
}

// Data is the memory as it is kept. Where it is too long, the clusters that left first are forgotten first, of the federation that has
// most of them: those who let many clusters join and leave have none of another federation be forgotten.
func (m *Memory) Data() map[string]string {
	objects := slices.SortedFunc(maps.Keys(m.of), func(a, b types.UID) int {
		return cmp.Or(m.of[b].until.Compare(m.of[a].until), cmp.Compare(a, b))
	})
	turn, count := map[types.UID]int{}, map[v1alpha1.FederationName]int{}
	for _, object := range objects {
		if s := m.of[object]; !s.until.IsZero() { // members come first
			count[s.federation]++
			turn[object] = count[s.federation]
		}
	}
	slices.SortStableFunc(objects, func(a, b types.UID) int { return cmp.Compare(turn[a], turn[b]) })
	data, size := map[string]string{}, 0
	for _, object := range objects {
		s := m.of[object]
		line := string(object) + " " + string(s.cluster)
		if !s.until.IsZero() {
			line += " " + s.until.UTC().Format(time.RFC3339)
		}
		if s.anew {
			line += " " + asksAnew
		}
		if size += len(line) + 1; size > maxMemory {
			break
		}
		data[string(s.federation)] += line + "\n"
	}
	return data
}

// See remembers that the object leads to a member of the federation.
func (m *Memory) See(object types.UID, federation v1alpha1.FederationName, id v1alpha1.ClusterID) {
	if object != "" && id != "" {
		m.of[object] = remembered{federation: federation, cluster: id}
	}
}

// Update compares the memory with the members that there are: it remembers when a cluster has left, and forgets that of one which has
// been joined again.
func (m *Memory) Update(members map[v1alpha1.ClusterID]v1alpha1.FederationName, now time.Time) {
	for object, s := range m.of {
		switch member := members[s.cluster] == s.federation; {
		case member:
			s.until, s.anew = time.Time{}, false
		case s.until.IsZero():
			s.until = now.Truncate(time.Second)
		}
		m.of[object] = s
	}
}

// Unlabel remembers that the label of an object is gone. One that led to a member may ask again by another label.
func (m *Memory) Unlabel(object types.UID) {
	if s, known := m.of[object]; known && !s.until.IsZero() {
		s.anew = true
		m.of[object] = s
	}
}

// Keep forgets objects of which keep is false, and whose clusters are members.
func (m *Memory) Keep(keep func(types.UID) bool) {
	maps.DeleteFunc(m.of, func(object types.UID, r remembered) bool { return r.until.IsZero() && !keep(object) })
}

// Cluster is the cluster that an object led to when it was last seen as a member; empty where it is not known.
func (m *Memory) Cluster(object types.UID) v1alpha1.ClusterID {
	if m == nil {
		return ""
	}
	return m.of[object].cluster
}

// Members are the clusters that are members of a federation by an object, as far as it is remembered.
func (m *Memory) Members(federation v1alpha1.FederationName) []v1alpha1.ClusterID {
	found := map[v1alpha1.ClusterID]bool{}
	for _, s := range m.of {
		if s.federation == federation && s.until.IsZero() {
			found[s.cluster] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// left is the object whose label stands for a cluster that left, and until when that was seen as a member; nil where there is none.
// anew says that a label was removed since, and set again.
func (m *Memory) left(c *Cluster) (object *Object, until time.Time, anew bool) {
	if m == nil {
		return nil, until, false
	}
	for i := range c.requests {
		o := &c.requests[i]
		s, known := m.of[o.UID]
		switch {
		case !known || s.until.IsZero() || s.cluster != c.ID || s.federation != o.JoinRequest:
		case s.anew:
			anew = true
		case s.until.After(until):
			object, until = o, s.until
		}
	}
	return object, until, anew
}
