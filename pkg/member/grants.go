package member

import (
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
	// Binding is the name of the Secret that the manager's token is bound to; "" is the first of BindingRefs.
	Binding string
}

func (g Grants) binding() cluster.Ref {
	ref := BindingRefs()[0]
	if g.Binding != "" {
		ref.Name = g.Binding
	}
	return ref
}

const (
	rbacGroup  = "rbac.authorization.k8s.io"
	aboutGroup = "about.k8s.io"
)

func labelled(o *unstructured.Unstructured) *unstructured.Unstructured {
	o.SetLabels(map[string]string{v1alpha1.LabelManagedBy: v1alpha1.ManagedByJoin})
	return o
}

func words(s ...string) []any {
	out := make([]any, len(s))
	for i := range s {
		out[i] = s[i]
	}
	return out
}

// rule is one RBAC rule on one resource; names may be empty.
func rule(group, resource string, verbs, names []string) map[string]any {
	r := map[string]any{"apiGroups": words(group), "resources": words(resource), "verbs": words(verbs...)}
	if len(names) > 0 {
		r["resourceNames"] = words(names...)
	}
	return r
}

// clusterRules are the manager's rights outside our namespace.
func (g Grants) clusterRules() []any {
	properties := []string{v1alpha1.PropertyClusterID, v1alpha1.PropertyClusterSet}
	rules := []any{
		rule("", "nodes", []string{"list"}, nil),
		rule("", "namespaces", []string{"get"}, []string{v1alpha1.IdentityNamespace}),
		rule(aboutGroup, "clusterproperties", []string{"get", "update", "delete"}, properties),
	}
	if g.Properties {
		rules = append(rules, rule(aboutGroup, "clusterproperties", []string{"create"}, nil))
	}
	return rules
}

// namespaceRules are the manager's rights in our namespace.
func namespaceRules() []any {
	return []any{
		rule("", "serviceaccounts/token", []string{"create"}, []string{v1alpha1.ManagerAccount, v1alpha1.ConsumerAccount}),
		rule("", "configmaps", []string{"get"}, []string{v1alpha1.MembershipName}),
	}
}

// NamespaceManifest is our namespace as it is made.
func NamespaceManifest() *unstructured.Unstructured {
	return labelled(cluster.Namespaces.New("", v1alpha1.MemberNamespace))
}

// object wraps a manifest.
func object(r cluster.Resource, o *unstructured.Unstructured) Object {
	return Object{Ref: r.Of(o), Manifest: o}
}

func account(name string) Object {
	return object(cluster.ServiceAccounts, labelled(cluster.ServiceAccounts.New(v1alpha1.MemberNamespace, name)))
}

func role(r cluster.Resource, namespace, name string, rules []any) Object {
	o := labelled(r.New(namespace, name))
	o.Object["rules"] = rules
	return object(r, o)
}

func binding(r cluster.Resource, namespace, name string, to map[string]any, who string) Object {
	o := labelled(r.New(namespace, name))
	o.Object["roleRef"] = to
	o.Object["subjects"] = []any{map[string]any{"kind": "ServiceAccount", "namespace": v1alpha1.MemberNamespace, "name": who}}
	return object(r, o)
}

func roleRef(kind, name string) map[string]any {
	return map[string]any{"apiGroup": rbacGroup, "kind": kind, "name": name}
}

// BaseObjects are the accounts, the roles and the Secret that bindings and the token refer to.
func (g Grants) BaseObjects() []Object {
	objects := []Object{account(v1alpha1.ManagerAccount)}
	if g.AccessRole != "" {
		objects = append(objects, account(v1alpha1.ConsumerAccount))
	}
	return append(objects,
		role(cluster.ClusterRoles, "", ManagerRole, g.clusterRules()),
		role(cluster.Roles, v1alpha1.MemberNamespace, v1alpha1.ManagerAccount, namespaceRules()),
		BindingManifest(g.binding()),
	)
}

// Bindings give the accounts their roles.
func (g Grants) Bindings() []Object {
	objects := []Object{
		binding(cluster.ClusterRoleBindings, "", ManagerRole, roleRef("ClusterRole", ManagerRole), v1alpha1.ManagerAccount),
		binding(cluster.RoleBindings, v1alpha1.MemberNamespace, v1alpha1.ManagerAccount, roleRef("Role", v1alpha1.ManagerAccount), v1alpha1.ManagerAccount),
	}
	if g.AccessRole != "" {
		objects = append(objects, consumerBinding(g.AccessRole))
	}
	return objects
}

func consumerBinding(accessRole string) Object {
	return binding(cluster.ClusterRoleBindings, "", ConsumerBinding, roleRef("ClusterRole", accessRole), v1alpha1.ConsumerAccount)
}

// Property is a ClusterProperty of the membership. Its label says which federation it is of: a property
// without it is not managed.
func Property(name, value string, federation v1alpha1.FederationName) Object {
	o := cluster.ClusterProperties.New("", name)
	o.SetLabels(map[string]string{
		v1alpha1.LabelFederation: string(federation),
		v1alpha1.LabelManagedBy:  v1alpha1.ManagedByJoin,
	})
	o.Object["spec"] = map[string]any{"value": value}
	return object(cluster.ClusterProperties, o)
}

// EscalationProbe is a ClusterRole with every right of the manager's account. A server dry run of it shows
// whether the caller may give these rights, before anything is written: Kubernetes refuses a grant of rights that the
// caller does not hold.
func (g Grants) EscalationProbe() Object {
	return role(cluster.ClusterRoles, "", ManagerRole, append(g.clusterRules(), namespaceRules()...))
}

// AccessProbe is the consumer's binding, for the same purpose; nil where the Federation gives no access.
func (g Grants) AccessProbe() *Object {
	if g.AccessRole == "" {
		return nil
	}
	o := consumerBinding(g.AccessRole)
	return &o
}

// refs are all objects that a membership can have put on a member, except the namespace and the membership record.
func refs() []cluster.Ref {
	var all []cluster.Ref
	g := Grants{Properties: true, AccessRole: "any"}
	for _, o := range g.Bindings() {
		all = append(all, o.Ref)
	}
	for _, o := range g.BaseObjects() {
		all = append(all, o.Ref)
	}
	all = append(all, BindingRefs()[1])
	return append(all, PropertyRef(v1alpha1.PropertyClusterSet), PropertyRef(v1alpha1.PropertyClusterID))
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

// NamespaceRef names our namespace.
func NamespaceRef() cluster.Ref { return namespaceRef(v1alpha1.MemberNamespace) }

// verbs is right for each of the verbs on one object.
func verbs(r cluster.Ref, verbs ...string) []cluster.Right {
	var rights []cluster.Right
	for _, v := range verbs {
		right := cluster.Right{Verb: v, Resource: r.Resource, Namespace: r.Namespace, Name: r.Name}
		if v == "create" || v == "list" {
			right.Name = "" // neither is authorized by name
		}
		rights = append(rights, right)
	}
	return rights
}

// JoinRights are the rights that a join uses on a member.
func (g Grants) JoinRights() []cluster.Right {
	rights := append(verbs(cluster.IdentityNamespace, "get"), verbs(cluster.Ref{Resource: cluster.Nodes}, "list")...)
	rights = append(rights, verbs(NamespaceRef(), "get", "create")...)
	rights = append(rights, verbs(MembershipRef(), "get", "create", "patch")...)
	for _, o := range append(g.BaseObjects(), g.Bindings()...) {
		rights = append(rights, verbs(o.Ref, "get", "create", "patch")...)
	}
	for _, ref := range BindingRefs() {
		rights = append(rights, verbs(ref, "get")...)
	}
	rights = append(rights, tokenRight)
	if g.Properties {
		for _, name := range []string{v1alpha1.PropertyClusterID, v1alpha1.PropertyClusterSet} {
			rights = append(rights, verbs(PropertyRef(name), "get", "create", "patch")...)
		}
	}
	return unique(rights)
}

// LeaveRights are the rights that an unjoin uses on a member, and the undoing of a join.
func (g Grants) LeaveRights() []cluster.Right {
	rights := append(verbs(NamespaceRef(), "get", "delete"), verbs(MembershipRef(), "get", "delete")...)
	for _, o := range append(g.BaseObjects(), g.Bindings()...) {
		rights = append(rights, verbs(o.Ref, "get", "delete")...)
	}
	for _, ref := range BindingRefs() {
		rights = append(rights, verbs(ref, "get", "delete")...)
	}
	if g.Properties {
		for _, name := range []string{v1alpha1.PropertyClusterID, v1alpha1.PropertyClusterSet} {
			rights = append(rights, verbs(PropertyRef(name), "get", "delete")...)
		}
	}
	return unique(rights)
}

func unique(rights []cluster.Right) []cluster.Right {
	seen := map[cluster.Right]bool{}
	out := rights[:0]
	for _, r := range rights {
		if !seen[r] {
			seen[r] = true
			out = append(out, r)
		}
	}
	return out
}
