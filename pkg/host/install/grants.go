package install

import (
	"cmp"
	"context"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/host"
)

// Namespace names a namespace of the host.
func Namespace(name string) cluster.Ref { return cluster.Ref{Resource: cluster.Namespaces, Name: name} }

// Lack is a right that a caller does not have and that applying objects takes.
type Lack struct {
	cluster.Right
	// Given is a right that one of the objects gives: one can give only rights that one has.
	Given bool
}

// Lacking are the rights that the caller lacks to apply objects: to write each, and of roles and bindings what they give, unless the
// caller may escalate and bind. It only asks.
func Lacking(ctx context.Context, h *host.Cluster, objects []*unstructured.Unstructured) ([]Lack, error) {
	if all, err := h.HasAllRights(ctx); all || err != nil {
		return nil, err
	}
	type need struct {
		Lack
		// instead is the verb on the role that RBAC takes in place of a right that is given.
		instead cluster.Right
	}
	var needs []need
	var ask []cluster.Right
	for _, object := range objects {
		ref := refOf(object)
		for _, right := range ref.Rights("get", "create", "patch") {
			needs, ask = append(needs, need{Lack: Lack{Right: right}}), append(ask, right)
		}
		gives, err := rightsOf(object)
		if err != nil {
			return nil, err
		}
		for _, right := range gives {
			for _, instead := range ref.Rights("escalate", "bind") {
				needs, ask = append(needs, need{Lack{right, true}, instead}), append(ask, right, instead)
			}
		}
	}
	missing, err := h.LackingOf(ctx, ask)
	if err != nil {
		return nil, err
	}
	var lacks []Lack
	for _, n := range needs {
		may := !slices.Contains(missing, n.Right) || n.Given && !slices.Contains(missing, n.instead)
		if !may && !slices.Contains(lacks, n.Lack) {
			lacks = append(lacks, n.Lack)
		}
	}
	return lacks, nil
}

// rightsOf are the rights that a Role or a ClusterRole gives; none of another kind.
func rightsOf(object *unstructured.Unstructured) (rights []cluster.Right, err error) {
	if kind := object.GetKind(); kind != cluster.Roles.Kind && kind != cluster.ClusterRoles.Kind {
		return nil, nil
	}
	var role rbacv1.ClusterRole // a Role has the same fields
	if err := cluster.FromUnstructured(object, &role); err != nil {
		return nil, err
	}
	for _, rule := range role.Rules {
		names := rule.ResourceNames
		if len(names) == 0 {
			names = []string{""}
		}
		for _, group := range rule.APIGroups {
			for _, r := range rule.Resources {
				resource, subresource, _ := strings.Cut(r, "/")
				for _, name := range names {
					for _, verb := range rule.Verbs {
						rights = append(rights, cluster.Right{
							Verb: verb, Resource: cluster.Resource{GroupVersionResource: schema.GroupVersionResource{Group: group, Resource: resource}},
							Subresource: subresource, Namespace: object.GetNamespace(), Name: name,
						})
					}
				}
			}
		}
	}
	return rights, nil
}

// ConsumerBindings are those that let ServiceAccounts get the Secrets of a namespace.
func ConsumerBindings(ctx context.Context, h *host.Cluster, namespace string) (bindings []*unstructured.Unstructured, err error) {
	list, err := h.List(ctx, cluster.RoleBindings, cluster.ListOptions{Namespace: namespace})
	if err != nil {
		return nil, err
	}
	for i := range list {
		if role, _, _ := unstructured.NestedString(list[i].Object, "roleRef", "name"); role == manifests.RoleConsumer {
			bindings = append(bindings, &list[i])
		}
	}
	return bindings, nil
}

// Unlabel removes labels of a namespace that have these values, and says whether there were any. One that does not exist has none.
func Unlabel(ctx context.Context, h *host.Cluster, name string, labels map[string]string, dryRun cluster.DryRun) (bool, error) {
	namespace, err := h.Find(ctx, Namespace(name))
	if err != nil || namespace == nil {
		return false, err
	}
	gone := map[string]any{}
	for key, value := range labels {
		if namespace.GetLabels()[key] == value {
			gone[key] = nil
		}
	}
	if len(gone) == 0 {
		return false, nil
	}
	patch := map[string]any{"metadata": map[string]any{"labels": gone, "uid": string(namespace.GetUID())}}
	_, err = h.MergePatch(ctx, Namespace(name), patch, dryRun)
	return err == nil, err
}

// Grants are what grant has made on a host.
type Grants struct {
	// Namespaces are those that a label lets a federation use.
	Namespaces []GrantedNamespace
	// Objects are Roles, ClusterRoles and their bindings: every role before what binds it.
	Objects []*unstructured.Unstructured
}

// GrantedNamespace is a namespace with one of the labels of an inventory, and the federation that the label names.
type GrantedNamespace struct {
	Name, Label string
	Federation  v1alpha1.FederationName
}

// ReadGrants reads what grant has made.
func ReadGrants(ctx context.Context, h *host.Cluster) (*Grants, error) {
	labels := []string{v1alpha1.LabelInventory, v1alpha1.LabelInventoryCredentials}
	kinds := []cluster.Resource{cluster.Roles, cluster.ClusterRoles, cluster.RoleBindings, cluster.ClusterRoleBindings}
	namespaces, objects := make([][]GrantedNamespace, len(labels)), make([][]unstructured.Unstructured, len(kinds))
	errs := cluster.ForEach(len(labels)+len(kinds), func(i int) (err error) {
		if i < len(labels) {
			found := &namespaces[i]
			return cluster.EachMetadata(ctx, h.Conn, cluster.Namespaces, cluster.ListOptions{Labels: labels[i]}, func() { *found = nil },
				func(n *metav1.PartialObjectMetadata) {
					*found = append(*found, GrantedNamespace{n.Name, labels[i], v1alpha1.FederationName(n.Labels[labels[i]])})
				})
		}
		i -= len(labels)
		objects[i], err = h.List(ctx, kinds[i], cluster.ListOptions{Labels: manifests.LabelName + "=" + manifests.Name})
		return err
	})
	if err := cmp.Or(errs...); err != nil {
		return nil, err
	}
	g := &Grants{Namespaces: slices.Concat(namespaces...)}
	for _, list := range objects {
		for i := range list {
			if manifests.IsGrant(&list[i]) {
				g.Objects = append(g.Objects, &list[i])
			}
		}
	}
	return g, nil
}
