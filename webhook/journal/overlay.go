package journal

import (
	"iter"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
)

// overlay is the host together with the members that are being written. A member that is written twice counts once in a
// bucket, and in every bucket that it is in or may come into.
type overlay struct {
	*rules.Index
	members []*v1alpha1.MemberCluster
	// namespaces are those that were read for a request.
	namespaces []*metav1.ObjectMeta
}

var _ rules.Host = overlay{}

// Namespace implements rules.Host.
func (o overlay) Namespace(name string) *metav1.ObjectMeta {
	if i := slices.IndexFunc(o.namespaces, func(n *metav1.ObjectMeta) bool { return n.Name == name }); i >= 0 {
		return o.namespaces[i]
	}
	return nil
}

// MembersWithID implements rules.Host.
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

// Count implements rules.Host.
func (o overlay) Count(b rules.Bucket, except v1alpha1.MemberName) int {
	n := o.Index.Count(b, except)
	counted := map[string]bool{string(except): true}
	for _, m := range o.members {
		known := o.Index.Member(v1alpha1.MemberName(m.Name))
		if counted[m.Name] || !in(b, m) || known != nil && in(b, known) {
			continue
		}
		counted[m.Name] = true
		n++
	}
	return n
}

// Members implements rules.Host. A member that changes is there as before and as after.
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
