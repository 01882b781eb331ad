package journal

import (
	"iter"
	"slices"
	"strings"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
)

// overlay is the host together with the writes that are under way. A member that is written twice counts
// once in a bucket, and in every bucket that it is in or may come into.
type overlay struct {
	*rules.Index
	members []*v1alpha1.MemberCluster
	// federation, when not nil, takes the place of the one of its name.
	federation *v1alpha1.Federation
}

// Federation implements rules.Federations.
func (o overlay) Federation(name v1alpha1.FederationName) *v1alpha1.Federation {
	if o.federation != nil && o.federation.Name == string(name) {
		return o.federation
	}
	return o.Index.Federation(name)
}

// MembersWithID implements rules.Identities.
func (o overlay) MembersWithID(id v1alpha1.ClusterID) []*v1alpha1.MemberCluster {
	found := o.Index.MembersWithID(id)
	for _, m := range o.members {
		if m.Spec.ClusterID == string(id) && !slices.ContainsFunc(found, func(f *v1alpha1.MemberCluster) bool { return f.Name == m.Name }) {
			found = append(slices.Clip(found), m)
		}
	}
	slices.SortFunc(found, func(a, b *v1alpha1.MemberCluster) int { return strings.Compare(a.Name, b.Name) })
	return found
}

// Count implements rules.Memberships.
func (o overlay) Count(b rules.Bucket, except v1alpha1.MemberName) int {
	n := o.Index.Count(b, except)
	for i, m := range o.members {
		known := o.Index.Member(v1alpha1.MemberName(m.Name))
		switch {
		case m.Name == string(except) || !in(b, m) || known != nil && in(b, known):
		case slices.ContainsFunc(o.members[:i], func(other *v1alpha1.MemberCluster) bool { return other.Name == m.Name && in(b, other) }):
		default:
			n++
		}
	}
	return n
}

// Members implements rules.Memberships. A member that changes is there as before and as after.
func (o overlay) Members(name v1alpha1.FederationName) iter.Seq[*v1alpha1.MemberCluster] {
	return func(yield func(*v1alpha1.MemberCluster) bool) {
		for m := range o.Index.Members(name) {
			if !yield(m) {
				return
			}
		}
		for _, m := range o.members {
			if m.Federation() == name && !yield(m) {
				return
			}
		}
	}
}

func in(b rules.Bucket, m *v1alpha1.MemberCluster) bool {
	if m.Federation() != b.Federation {
		return false
	}
	value, has := m.Labels[b.Key]
	return b.Key == "" || has && value == b.Value
}
