package member

import (
	"context"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

// What the manager reads of services: the Services, and which of them are exported (KEP-1645). No version counts for a right.
var (
	exportResource = cluster.Resource{
		GroupVersionResource: schema.GroupVersionResource{Group: "multicluster.x-k8s.io", Version: "v1beta1", Resource: "serviceexports"}, Kind: "ServiceExport",
	}
)

var servicesRole = cluster.Ref{Resource: cluster.ClusterRoles, Name: ServicesRole}

// servicesVerbs are what the account for services may do with them, in each of the namespaces.
const servicesVerbs = "get list watch"

// JoinNamespaces are names of namespaces in one text, as Grants has them: sorted, each once. Grants are compared.
func JoinNamespaces(names []string) string {
	names = slices.Sorted(slices.Values(names))
	return strings.Join(slices.Compact(names), ",")
}

func (g Grants) serviceNamespaces() []string {
	if g.Services == "" {
		return nil
	}
	return strings.Split(g.Services, ",")
}

func servicesRules() []any {
	return []any{rule(cluster.Services, servicesVerbs), rule(exportResource, servicesVerbs)}
}

// servicesGiven are the rights that the account for services gets, and those that the manager's gets for it.
func (g Grants) servicesGiven() (rights []cluster.Right) {
	for _, namespace := range g.serviceNamespaces() {
		rights = append(rights, namespaceRef(namespace).Rights("get")...)
		for _, r := range []cluster.Resource{cluster.Services, exportResource} {
			rights = append(rights, cluster.Ref{Resource: r, Namespace: namespace}.Rights(strings.Fields(servicesVerbs)...)...)
		}
	}
	if g.Services != "" {
		rights = append(rights, cluster.TokenRef(ServicesAccountRef()).Rights("create")...)
	}
	return rights
}

// ServicesAccountRef names the account by which the manager reads exported services.
func ServicesAccountRef() cluster.Ref {
	return cluster.Ref{Resource: cluster.ServiceAccounts, Namespace: v1alpha1.MemberNamespace, Name: v1alpha1.ServicesAccount}
}

// ServicesBindingRef names the binding of that account in a namespace.
func ServicesBindingRef(namespace string) cluster.Ref {
	return cluster.Ref{Resource: cluster.RoleBindings, Namespace: namespace, Name: v1alpha1.ServicesAccount}
}

// IsServicesBinding says whether ref is a binding of that account.
func IsServicesBinding(ref cluster.Ref) bool {
	return ref.Namespace != "" && ref == ServicesBindingRef(ref.Namespace)
}

// ServicesNamespaceRef names a namespace in which the manager may read what is exported.
func ServicesNamespaceRef(namespace string) cluster.Ref { return namespaceRef(namespace) }

// ServicesRefs name what a member carries beside the bindings only where the Federation reads services.
func ServicesRefs() []cluster.Ref { return []cluster.Ref{servicesRole, ServicesAccountRef()} }

// servicesRefs are what a membership can have put on a member for services, in the order in which it is to be removed.
func servicesRefs(namespaces []string) (refs []cluster.Ref) {
	for _, namespace := range namespaces {
		refs = append(refs, ServicesBindingRef(namespace))
	}
	return append(refs, ServicesRefs()...)
}

// grantedNamespaces are those in which a join gave rights on services, as the manager's ClusterRole has them. It has them before the
// bindings are made, and until these are gone.
func grantedNamespaces(manager *unstructured.Unstructured) (names []string) {
	if manager == nil {
		return nil
	}
	rules, _, _ := unstructured.NestedSlice(manager.Object, "rules")
	for _, r := range rules {
		r, _ := r.(map[string]any)
		resources, _, _ := unstructured.NestedStringSlice(r, "resources")
		if !slices.Equal(resources, []string{cluster.Namespaces.Resource}) {
			continue
		}
		found, _, _ := unstructured.NestedStringSlice(r, "resourceNames")
		for _, name := range found {
			if name != v1alpha1.IdentityNamespace && len(validation.IsDNS1123Label(name)) == 0 && len(names) < v1alpha1.MaxServiceNamespaces {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// readServices reads what an earlier join put on the member for services.
func (c *Cluster) readServices(ctx context.Context, s *State) error {
	if s.ServiceNamespaces = grantedNamespaces(s.Objects[clusterRole]); len(s.ServiceNamespaces) == 0 {
		return nil
	}
	return c.ReadServices(ctx, s, s.ServiceNamespaces)
}

// ReadServices reads what a join that gives rights on services in namespaces has to know, beside what Read reads.
func (c *Cluster) ReadServices(ctx context.Context, s *State, namespaces []string) error {
	refs := servicesRefs(namespaces)
	for _, namespace := range namespaces {
		refs = append(refs, ServicesNamespaceRef(namespace))
	}
	return c.readInto(ctx, s, slices.DeleteFunc(refs, func(r cluster.Ref) bool { return s.Objects[r] != nil }))
}

// WithoutNamespace says whether ref is a binding for services in a namespace that the member does not have.
func (s *State) WithoutNamespace(ref cluster.Ref) bool {
	namespace := ServicesNamespaceRef(ref.Namespace)
	return IsServicesBinding(ref) && s.Objects[namespace] == nil && s.Denied[namespace] == nil
}

// readInto adds the objects that exist to the state, and the reads that the member forbids to those.
func (c *Cluster) readInto(ctx context.Context, s *State, refs []cluster.Ref) error {
	found := make([]*unstructured.Unstructured, len(refs))
	reads := make([]func() error, len(refs))
	for i, ref := range refs {
		reads[i] = func() (err error) { found[i], err = c.Find(ctx, ref); return err }
	}
	for i, err := range cluster.Together(reads...) {
		switch {
		case err != nil && !s.Denied.Add(err):
			return err
		case found[i] != nil:
			s.Objects[refs[i]] = found[i]
		}
	}
	return nil
}
