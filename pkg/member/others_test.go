package member

import (
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
)

// TestReach is which rights in the namespace of a membership reach the tokens of its accounts.
func TestReach(t *testing.T) {
	t.Parallel()
	rule := func(group, resource, verb string, names ...string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{"configmaps", resource}, Verbs: []string{"watchlist", verb}, ResourceNames: names}
	}
	for _, tt := range []struct {
		rule rbacv1.PolicyRule
		want string
	}{
		{rule("", "serviceaccounts/token", "create"), "create tokens of its accounts"},
		{rule("", "serviceaccounts/token", "create", "kubefederate-consumer"), "create tokens of its accounts"},
		{rule("", "*/token", "create"), "create tokens of its accounts"},
		{rule("", "serviceaccounts/token", "get"), ""},
		{rule("apps", "serviceaccounts/token", "create"), ""},
		{rule("", "serviceaccounts", "create"), ""},
		{rule("", "serviceaccounts", "impersonate"), "act as its accounts"},
		{rule("", "secrets", "list"), "read its Secrets"},
		{rule("", "secrets", "get", "kubefederate-manager-binding", "kubefederate-manager-binding-2"), ""},
		{rule("", "secrets", "get", "kubefederate-manager-binding", "another"), "read its Secrets"},
		{rule("", "pods", "create"), "run pods as its accounts"},
		{rule("", "pods", "get"), ""},
		{rule("apps", "deployments", "create"), "run pods as its accounts"},
		{rule("apps", "statefulsets", "patch", "any"), "run pods as its accounts"},
		{rule("batch", "jobs", "*"), "run pods as its accounts"},
		{rule("", "secrets", "patch"), "read its Secrets"},
		{rule("rbac.authorization.k8s.io", "roles", "escalate"), "give rights in it"},
		{rule("rbac.authorization.k8s.io", "roles", "update"), ""},
		{rule("rbac.authorization.k8s.io", "rolebindings", "create"), "give rights in it"},
		{rule("rbac.authorization.k8s.io", "rolebindings", "patch", "kubefederate-manager"), ""},
		{rule("*", "*", "*"), "create tokens of its accounts, act as its accounts, read its Secrets, run pods as its accounts, give rights in it"},
		{rbacv1.PolicyRule{NonResourceURLs: []string{"*"}, Verbs: []string{"*"}}, ""},
	} {
		if got := reachOf([]rbacv1.PolicyRule{{}, tt.rule}); got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.rule, got, tt.want)
		}
	}
}
