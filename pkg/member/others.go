package member

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

// Other is an object of others in kubefederate-member by which they have, or can get, tokens of a membership's accounts. Who may make
// namespaces can make this one before a join, and keeps what rights they have in it.
type Other struct {
	Ref cluster.Ref
	// Does says what it does: "lets Group "team-x" create tokens of its accounts".
	Does string
}

// Others are the RoleBindings of others that reach tokens or Secrets of kubefederate-member, and the Secrets that hold a token of one
// of its accounts. What a role that cannot be read gives is not known, which is said.
func (c *Cluster) Others(ctx context.Context) ([]Other, error) {
	var bindings, roles, tokens []unstructured.Unstructured
	inNamespace := cluster.ListOptions{Namespace: v1alpha1.MemberNamespace}
	secrets := inNamespace
	secrets.Fields = "type=" + string(corev1.SecretTypeServiceAccountToken)
	if err := cmp.Or(cluster.Together(
		func() (err error) { bindings, err = c.List(ctx, cluster.RoleBindings, inNamespace); return err },
		func() (err error) { roles, err = c.List(ctx, cluster.Roles, inNamespace); return err },
		func() (err error) { tokens, err = c.List(ctx, cluster.Secrets, secrets); return err },
	)...); err != nil {
		return nil, err
	}
	given := map[rbacv1.RoleRef][]rbacv1.PolicyRule{}
	for i := range roles {
		given[rbacv1.RoleRef{Kind: cluster.Roles.Kind, Name: roles[i].GetName()}] = rulesOf(&roles[i])
	}
	var others []Other
	for i := range bindings {
		var b rbacv1.RoleBinding
		if runtime.DefaultUnstructuredConverter.FromUnstructured(bindings[i].Object, &b) != nil || b.Name == v1alpha1.ManagerAccount {
			continue // join makes that one what it is to be
		}
		ref := rbacv1.RoleRef{Kind: b.RoleRef.Kind, Name: b.RoleRef.Name}
		does := ""
		if _, read := given[ref]; !read && ref.Kind == cluster.ClusterRoles.Kind {
			role, err := c.Get(ctx, cluster.Ref{Resource: cluster.ClusterRoles, Name: ref.Name})
			switch {
			case err == nil:
				given[ref] = rulesOf(role)
			case !apierrors.IsNotFound(err): // a role that does not exist gives nothing
				does = fmt.Sprintf("gives ClusterRole %s, which you may not read, to %s", cluster.Quoted(ref.Name), subjects(b.Subjects))
			}
		}
		if reach := reachOf(given[ref]); reach != "" {
			does = "lets " + subjects(b.Subjects) + " " + reach
		}
		if does != "" && len(b.Subjects) > 0 {
			others = append(others, Other{cluster.RoleBindings.Of(&bindings[i]), does})
		}
	}
	for i := range tokens {
		if account := tokens[i].GetAnnotations()[corev1.ServiceAccountNameKey]; slices.Contains(accounts, account) {
			others = append(others, Other{cluster.Secrets.Of(&tokens[i]), "holds a token of ServiceAccount " + cluster.Quoted(account) + " that does not expire"})
		}
	}
	return others, nil
}

// accounts are those of a membership.
var accounts = []string{v1alpha1.ManagerAccount, v1alpha1.ConsumerAccount}

func rulesOf(role *unstructured.Unstructured) []rbacv1.PolicyRule {
	var r rbacv1.Role
	if runtime.DefaultUnstructuredConverter.FromUnstructured(map[string]any{"rules": role.Object["rules"]}, &r) != nil {
		return nil
	}
	return r.Rules
}

// reaches are the rights in a namespace by which one has tokens of its accounts, or what one can do with them.
var reaches = []struct {
	does, group string
	resources   []string
	verbs       []string
	// harmless are the names of objects that give nothing.
	harmless []string
}{
	{"create tokens of its accounts", "", []string{"serviceaccounts/token"}, []string{"create"}, nil},
	{"act as its accounts", "", []string{"serviceaccounts"}, []string{"impersonate"}, nil},
	// The answer to a patch is the whole Secret.
	{"read its Secrets", "", []string{"secrets"}, []string{"get", "list", "watch", "patch"}, []string{BindingRefs()[0].Name, BindingRefs()[1].Name}},
	{runsPods, "", []string{"pods", "replicationcontrollers"}, []string{"create"}, nil},
	{runsPods, "apps", []string{"daemonsets", "deployments", "replicasets", "statefulsets"}, []string{"create", "update", "patch"}, nil},
	{runsPods, "batch", []string{"cronjobs", "jobs"}, []string{"create", "update", "patch"}, nil},
	{givesRights, rbacv1.GroupName, []string{"rolebindings"}, []string{"create", "update", "patch"}, []string{v1alpha1.ManagerAccount}},
	{givesRights, rbacv1.GroupName, []string{"roles"}, []string{"bind", "escalate"}, nil},
}

const runsPods, givesRights = "run pods as its accounts", "give rights in it"

// reachOf says which of reaches rules give; empty is none.
func reachOf(rules []rbacv1.PolicyRule) string {
	has := func(all []string, wanted ...string) bool {
		return slices.ContainsFunc(append(wanted, "*"), func(s string) bool { return slices.Contains(all, s) })
	}
	var does []string
	for _, r := range reaches {
		resources := r.resources
		if _, sub, isSub := strings.Cut(resources[0], "/"); isSub {
			resources = append(slices.Clone(resources), "*/"+sub)
		}
		if slices.ContainsFunc(rules, func(rule rbacv1.PolicyRule) bool {
			names := slices.DeleteFunc(slices.Clone(rule.ResourceNames), func(name string) bool { return slices.Contains(r.harmless, name) })
			return has(rule.APIGroups, r.group) && has(rule.Resources, resources...) && has(rule.Verbs, r.verbs...) && (len(rule.ResourceNames) == 0 || len(names) > 0)
		}) {
			does = append(does, r.does)
		}
	}
	return strings.Join(slices.Compact(does), ", ")
}

// subjects names the first of a binding's subjects.
func subjects(all []rbacv1.Subject) string {
	var names []string
	for _, s := range all {
		names = append(names, s.Kind+" "+cluster.Quoted(strings.TrimPrefix(s.Namespace+"/"+s.Name, "/")))
	}
	return sample(names)
}
