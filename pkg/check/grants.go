package check

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/host/install"
)

// orphanedGrants reports what grant has made that serves no federation any more.
func (j *judge) orphanedGrants() {
	if j.Host.Grants == nil {
		return
	}
	granted := map[string]bool{}
	for _, n := range j.Host.Grants.Namespaces {
		granted[n.Name] = true
		f := j.federations[n.Federation]
		if f != nil && usesNamespace(f, n) {
			continue
		}
		cause := fmt.Sprintf("is granted to federation %q, which does not name it in spec.inventory", n.Federation)
		if f == nil {
			cause = fmt.Sprintf("is granted to federation %q, which does not exist", n.Federation)
		}
		revoke := command.Revoke{Federation: n.Federation, Inventory: n.Name}
		if n.Label == v1alpha1.LabelInventoryCredentials {
			revoke.Inventory, revoke.Credentials = "", n.Name
		}
		j.add(Finding{Code: GrantOrphan, Severity: Warning, Side: cluster.Host, Object: install.Namespace(n.Name).String(), Cause: cause, Remedy: j.line(revoke)})
	}
	for _, o := range j.Host.Grants.Objects {
		f := Finding{Code: GrantOrphan, Severity: Warning, Side: cluster.Host}
		switch name := v1alpha1.FederationName(strings.TrimPrefix(o.GetName(), manifests.RoleDiscovery+":")); {
		case o.GetKind() == cluster.ClusterRoleBindings.Kind && j.federations[name] == nil:
			f.Object, f.Cause = cluster.ClusterRoleBindings.Of(o).String(), fmt.Sprintf("is for the discovery controller in federation %q, which does not exist", name)
			f.Remedy = j.line(command.Revoke{Federation: name, Discovery: true})
		case o.GetKind() == cluster.RoleBindings.Kind && !granted[o.GetNamespace()] && !strings.HasPrefix(o.GetName(), manifests.RoleDiscovery):
			ref := cluster.RoleBindings.Of(o)
			f.Object, f.Cause = ref.String(), "is of a grant, and the namespace is granted to no federation any more"
			f.Remedy = j.line(command.KubectlDelete{Object: ref.Object()})
		default:
			continue
		}
		j.add(f)
	}
}

// usesNamespace says whether a federation names a namespace that it was granted, or may still have something there.
func usesNamespace(f *v1alpha1.Federation, n install.GrantedNamespace) bool {
	spec, status := f.Spec.Inventory, f.Status.Inventory
	if n.Label == v1alpha1.LabelInventoryCredentials {
		return spec != nil && spec.CredentialsNamespace == n.Name || status != nil && slices.Contains(status.CredentialsNamespaces, n.Name)
	}
	return spec != nil && slices.Contains(spec.Namespaces, n.Name) || status != nil && slices.Contains(status.Namespaces, n.Name)
}

// missingGrant is the command that grants a federation the first namespace of its inventory that it was not granted, or in which
// the manager's binding is missing; empty where there is none, where another federation has the namespace, and where it is not known.
func (j *judge) missingGrant(f *v1alpha1.Federation) string {
	if j.Host.Grants == nil || f.Spec.Inventory == nil {
		return ""
	}
	name := v1alpha1.FederationName(f.Name)
	for _, namespace := range append(slices.Clone(f.Spec.Inventory.Namespaces), f.Spec.Inventory.CredentialsNamespace) {
		if namespace == "" {
			continue
		}
		want := install.GrantedNamespace{Name: namespace, Label: v1alpha1.LabelInventory, Federation: name}
		grant := command.Grant{Federation: name, Inventory: namespace}
		if namespace == f.Spec.Inventory.CredentialsNamespace {
			want.Label, grant = v1alpha1.LabelInventoryCredentials, command.Grant{Federation: name, Credentials: namespace}
		}
		bound := slices.ContainsFunc(j.Host.Grants.Objects, func(o *unstructured.Unstructured) bool {
			return o.GetKind() == cluster.RoleBindings.Kind && o.GetNamespace() == namespace && o.GetName() == manifests.RoleInventory
		})
		switch has := slices.Contains(j.Host.Grants.Namespaces, want); {
		case has && bound:
		case !has && slices.ContainsFunc(j.Host.Grants.Namespaces, func(n install.GrantedNamespace) bool { return n.Name == namespace }):
			return "" // it is granted otherwise
		default:
			return j.line(grant)
		}
	}
	return ""
}
