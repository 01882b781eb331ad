package discovery

import (
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/discover"
)

// request is what an object on the host may ask for.
type request struct {
	federation *v1alpha1.Federation
	source     *v1alpha1.DiscoverySource
	// object carries the label.
	object discover.Object
}

// requestOf is what the candidate asks for, if a federation takes what its object asks for; nil otherwise. The first object with a
// label counts.
func requestOf(federations map[v1alpha1.FederationName]*v1alpha1.Federation, c *discover.Candidate) *request {
	i := slices.IndexFunc(c.Objects, func(o discover.Object) bool { return o.JoinRequest != "" })
	if i < 0 {
		return nil
	}
	f := federations[c.Objects[i].JoinRequest]
	if f == nil || f.Spec.Discovery == nil || f.DeletionTimestamp != nil {
		return nil
	}
	for s := range f.Spec.Discovery.Sources {
		source := &f.Spec.Discovery.Sources[s]
		if takes(source, c) {
			return &request{federation: f, source: source, object: c.Objects[i]}
		}
	}
	return nil
}

// takes says whether a source of a federation takes a candidate.
func takes(s *v1alpha1.DiscoverySource, c *discover.Candidate) bool {
	if source, known := discover.OfKind(s.Kind); !known || source.Name != c.Source {
		return false
	}
	if len(s.Namespaces) > 0 && !slices.Contains(s.Namespaces, namespaceOf(c)) {
		return false
	}
	// An object may name a Secret of another namespace, where others may write.
	if n := c.Secret.Namespace; len(s.Namespaces) > 0 && n != "" && !slices.Contains(s.Namespaces, n) {
		return false
	}
	selector, err := metav1.LabelSelectorAsSelector(s.Selector)
	if s.Selector == nil {
		selector, err = labels.Everything(), nil
	}
	return err == nil && selector.Matches(labels.Set(c.Labels))
}

// namespaceOf is the namespace whose users say what the candidate is: that of its objects or, where they have none, that of its
// credential.
func namespaceOf(c *discover.Candidate) string {
	for _, o := range c.Objects {
		if o.Namespace != "" {
			return o.Namespace
		}
	}
	return c.Secret.Namespace
}

// memberLabels are those that the member gets. Keys of this project are left out, and so is what the object does not have.
func (r *request) memberLabels(c *discover.Candidate) map[string]string {
	given := map[string]string{}
	for _, key := range r.source.MemberLabels {
		if value, has := c.Labels[key]; has && !strings.HasPrefix(key, v1alpha1.Prefix) {
			given[key] = value
		}
	}
	return given
}

// discovered is what the member says of its object.
func (r *request) discovered() *v1alpha1.Discovered {
	return &v1alpha1.Discovered{Kind: r.source.Kind, Namespace: r.object.Namespace, Name: r.object.Name, UID: string(r.object.UID)}
}

// kinds are the sources that federations name, and those of the members that were discovered, by name.
func kinds(federations map[v1alpha1.FederationName]*v1alpha1.Federation, members []v1alpha1.MemberCluster) []v1alpha1.DiscoverySourceKind {
	used := map[v1alpha1.DiscoverySourceKind]bool{}
	for _, f := range federations {
		if f.Spec.Discovery != nil {
			for _, s := range f.Spec.Discovery.Sources {
				used[s.Kind] = true
			}
		}
	}
	for i := range members {
		if d := members[i].Spec.Discovered; d != nil {
			used[d.Kind] = true
		}
	}
	return slices.Sorted(maps.Keys(used))
}

// namespacesOf are those that sources of a kind name, and those of the objects of members that were discovered, each once. It is never
// nil.
func namespacesOf(kind v1alpha1.DiscoverySourceKind, federations map[v1alpha1.FederationName]*v1alpha1.Federation, members []v1alpha1.MemberCluster) []string {
	all := []string{}
	for _, f := range federations {
		if f.Spec.Discovery != nil {
			for _, s := range f.Spec.Discovery.Sources {
				if s.Kind == kind {
					all = append(all, s.Namespaces...)
				}
			}
		}
	}
	for i := range members {
		if d := members[i].Spec.Discovered; d != nil && d.Kind == kind && d.Namespace != "" {
			all = append(all, d.Namespace)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
