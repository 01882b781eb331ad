package member

import (
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

// Names of what a membership puts on a member, beside those in v1alpha1.
const (
	// ManagerRole is the ClusterRole of the manager's account, and its binding.
	ManagerRole = v1alpha1.MemberNamespace + ":manager"
	// ConsumerBinding binds the consumer's account to the Federation's spec.access.
	ConsumerBinding = v1alpha1.MemberNamespace + ":consumer"
	// ServicesRole is the ClusterRole of the account that reads exported services. It is bound in single namespaces.
	ServicesRole = v1alpha1.MemberNamespace + ":services"
)

// Object is something a membership puts on a member.
type Object struct {
	Ref      cluster.Ref
	Manifest *unstructured.Unstructured
}

// Grants say what a membership gives on a member.
type Grants struct {
	// Properties says whether the member serves the About API (KEP-2149). Only there the manager may create
	// properties: RBAC cannot bind a create to a name.
	Properties bool
	// AccessRole is the ClusterRole that the Federation gives to readers of the inventory; "" is none.
	AccessRole string
	// Services are the namespaces in which the manager reads what is exported, in the form of JoinNamespaces; "" is none.
	Services string
	// Binding is the name of the Secret that the manager's token is bound to; "" is the first of BindingRefs.
	Binding string
	// TokenLifetime is how long the tokens that the manager requests may live, which a ValidatingAdmissionPolicy sees to; 0 is
	// where there is none.
	TokenLifetime time.Duration
}

func (g Grants) binding() cluster.Ref {
	ref := BindingRefs()[0]
	if g.Binding != "" {
		ref.Name = g.Binding
	}
	return ref
}

// managed is an empty object as a join creates it.
func managed(ref cluster.Ref) Object {
	o := ref.Resource.New(ref.Namespace, ref.Name)
	o.SetLabels(map[string]string{v1alpha1.LabelManagedBy: v1alpha1.ManagedByJoin})
	return Object{Ref: ref, Manifest: o}
}

// membershipLabels are the labels of an object that names its federation.
func membershipLabels(federation v1alpha1.FederationName) map[string]string {
	return map[string]string{v1alpha1.LabelManagedBy: v1alpha1.ManagedByJoin, v1alpha1.LabelFederation: string(federation)}
}

func words(s ...string) []any {
	out := make([]any, len(s))
	for i := range s {
		out[i] = s[i]
	}
	return out
}

// rule is one RBAC rule on one resource; verbs are separated by spaces, and without names it is for all objects.
func rule(r cluster.Resource, verbs string, names ...string) map[string]any {
	out := map[string]any{"apiGroups": words(r.Group), "resources": words(r.Resource), "verbs": words(strings.Fields(verbs)...)}
	if len(names) > 0 {
		out["resourceNames"] = words(names...)
	}
	return out
}

// clusterRules are the manager's rights outside kubefederate-member.
func (g Grants) clusterRules() []any {
	rules := []any{
		rule(cluster.Nodes, "list"),
		rule(cluster.Namespaces, "get", append([]string{v1alpha1.IdentityNamespace}, g.serviceNamespaces()...)...),
		rule(cluster.ClusterProperties, "get update delete", v1alpha1.PropertyClusterID, v1alpha1.PropertyClusterSet),
	}
	if g.Properties {
		rules = append(rules, rule(cluster.ClusterProperties, "create"))
	}
	return rules
}

// namespaceRules are the manager's rights in kubefederate-member.
func (g Grants) namespaceRules() []any {
	tokens, accounts := cluster.ServiceAccounts, []string{v1alpha1.ManagerAccount, v1alpha1.ConsumerAccount}
	tokens.Resource += "/token"
	if g.Services != "" {
		accounts = append(accounts, v1alpha1.ServicesAccount)
	}
	return []any{
		rule(tokens, "create", accounts...),
		rule(cluster.ConfigMaps, "get", v1alpha1.MembershipName),
	}
}

// NamespaceManifest is kubefederate-member as a join creates it.
func NamespaceManifest() *unstructured.Unstructured { return managed(NamespaceRef()).Manifest }

func role(ref cluster.Ref, rules []any) Object {
	o := managed(ref)
	o.Manifest.Object["rules"] = rules
	return o
}

// binding gives an account a role.
func binding(ref, role cluster.Ref, account string) Object {
	o := managed(ref)
	o.Manifest.Object["roleRef"] = map[string]any{"apiGroup": role.Resource.Group, "kind": role.Resource.Kind, "name": role.Name}
	o.Manifest.Object["subjects"] = []any{map[string]any{"kind": cluster.ServiceAccounts.Kind, "namespace": v1alpha1.MemberNamespace, "name": account}}
	return o
}

// The roles of the manager's account: for the whole cluster, and for kubefederate-member.
var (
	clusterRole   = cluster.Ref{Resource: cluster.ClusterRoles, Name: ManagerRole}
	namespaceRole = cluster.Ref{Resource: cluster.Roles, Namespace: v1alpha1.MemberNamespace, Name: v1alpha1.ManagerAccount}
)

// Accounts are the manager's and, where the Federation gives access or reads services, those for that.
func (g Grants) Accounts() []Object {
	objects := []Object{managed(ManagerAccountRef())}
	if g.AccessRole != "" {
		objects = append(objects, managed(ConsumerRefs()[1]))
	}
	if g.Services != "" {
		objects = append(objects, managed(ServicesAccountRef()))
	}
	return objects
}

// BaseObjects are the accounts, the roles and the Secret that bindings and the token refer to.
func (g Grants) BaseObjects() []Object {
	objects := append(g.Accounts(), role(clusterRole, g.clusterRules()), role(namespaceRole, g.namespaceRules()), BindingManifest(g.binding()))
	if g.Services != "" {
		objects = append(objects, role(servicesRole, servicesRules()))
	}
	return objects
}

// Bindings give the accounts their roles.
func (g Grants) Bindings() []Object {
	objects := []Object{
		binding(cluster.Ref{Resource: cluster.ClusterRoleBindings, Name: ManagerRole}, clusterRole, v1alpha1.ManagerAccount),
		binding(cluster.Ref{Resource: cluster.RoleBindings, Namespace: v1alpha1.MemberNamespace, Name: v1alpha1.ManagerAccount}, namespaceRole, v1alpha1.ManagerAccount),
	}
	if g.AccessRole != "" {
		access := cluster.Ref{Resource: cluster.ClusterRoles, Name: g.AccessRole}
		objects = append(objects, binding(ConsumerRefs()[0], access, v1alpha1.ConsumerAccount))
	}
	for _, namespace := range g.serviceNamespaces() {
		objects = append(objects, binding(ServicesBindingRef(namespace), servicesRole, v1alpha1.ServicesAccount))
	}
	return objects
}

// Property is a ClusterProperty of the membership. Its label says which federation it is of: a property
// without it is not managed.
func Property(name, value string, federation v1alpha1.FederationName) Object {
	o := cluster.ClusterProperties.New("", name)
	o.SetLabels(membershipLabels(federation))
	o.Object["spec"] = map[string]any{"value": value}
	return Object{Ref: PropertyRef(name), Manifest: o}
}

// refs are all objects that a membership can have put on a member, except the namespace and the membership record.
func refs() []cluster.Ref {
	g := Grants{Properties: true, AccessRole: "any"}
	var all []cluster.Ref
	for _, o := range append(g.Bindings(), g.BaseObjects()...) {
		all = append(all, o.Ref)
	}
	all = append(all, BindingRefs()[1], PropertyRef(v1alpha1.PropertyClusterSet), PropertyRef(v1alpha1.PropertyClusterID))
	return append(all, PolicyRefs()...)
}

// PropertyRef names a ClusterProperty.
func PropertyRef(name string) cluster.Ref {
	return cluster.Ref{Resource: cluster.ClusterProperties, Name: name}
}

// ConsumerRefs name what a member carries only where the Federation gives access.
func ConsumerRefs() []cluster.Ref {
	return []cluster.Ref{
		{Resource: cluster.ClusterRoleBindings, Name: ConsumerBinding},
		{Resource: cluster.ServiceAccounts, Namespace: v1alpha1.MemberNamespace, Name: v1alpha1.ConsumerAccount},
	}
}

// ManagerAccountRef names the account whose token the host keeps.
func ManagerAccountRef() cluster.Ref {
	return cluster.Ref{Resource: cluster.ServiceAccounts, Namespace: v1alpha1.MemberNamespace, Name: v1alpha1.ManagerAccount}
}

// NamespaceRef names kubefederate-member.
func NamespaceRef() cluster.Ref { return namespaceRef(v1alpha1.MemberNamespace) }

// ReadRefs are what a join reads before it decides, beside the version.
func (g Grants) ReadRefs() []cluster.Ref {
	refs := []cluster.Ref{cluster.IdentityNamespace, NodesRef, NamespaceRef(), MembershipRef()}
	for _, o := range append(g.BaseObjects(), g.Bindings()...) {
		refs = append(refs, o.Ref)
	}
	if g.Properties {
		refs = append(refs, PropertyRef(v1alpha1.PropertyClusterID), PropertyRef(v1alpha1.PropertyClusterSet))
	}
	for _, ref := range BindingRefs() {
		if ref != g.binding() {
			refs = append(refs, ref)
		}
	}
	return refs
}

// Given are the rights that the manager's account gets. RBAC lets a user give what that user holds, or anything with escalate or
// bind.
func (g Grants) Given() []cluster.Right {
	rights := slices.Concat(
		NodesRef.Rights("list"), cluster.IdentityNamespace.Rights("get"), MembershipRef().Rights("get"),
		cluster.TokenRef(ManagerAccountRef()).Rights("create"), cluster.TokenRef(ConsumerRefs()[1]).Rights("create"),
		PropertyRef(v1alpha1.PropertyClusterID).Rights("get", "update", "delete"), PropertyRef(v1alpha1.PropertyClusterSet).Rights("get", "update", "delete"),
	)
	if g.Properties {
		rights = append(rights, PropertyRef(v1alpha1.PropertyClusterID).Rights("create")...)
	}
	return append(rights, g.servicesGiven()...)
}

// StandsFor says whether live, which others prepared, is what a join would create in its place. Only what is outside of
// kubefederate-member can be prepared: accounts and Secrets are made anew to revoke a credential.
func (o Object) StandsFor(live *unstructured.Unstructured) bool {
	if o.Ref.Namespace != "" {
		return false
	}
	want := o.Manifest.DeepCopy()
	want.SetLabels(nil)
	return cluster.Covers(live.Object, want.Object)
}

// ByJoin says whether o was created for a membership or, as the namespace, by label. A ClusterProperty was where it has the
// federation label, which the manager sets too.
func ByJoin(o *unstructured.Unstructured) bool {
	if o.GetKind() == cluster.ClusterProperties.Kind {
		_, labeled := o.GetLabels()[v1alpha1.LabelFederation]
		return labeled
	}
	return o.GetLabels()[v1alpha1.LabelManagedBy] == v1alpha1.ManagedByJoin
}

// Written says whether a join, a rotation or the manager wrote o, as its managed fields show. Some of them stay when o loses the
// label by which ByJoin knows it.
func Written(o *unstructured.Unstructured) bool {
	return slices.ContainsFunc(o.GetManagedFields(), func(e metav1.ManagedFieldsEntry) bool {
		return e.Manager == v1alpha1.FieldOwner || e.Manager == v1alpha1.ManagerFieldOwner
	})
}
