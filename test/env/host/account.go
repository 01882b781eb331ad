//go:build unix

package host

import (
	"context"
	"fmt"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/test/env"
)

// DiscoveryAccount is a configuration with a token of the discovery controller's account, which has what it needs on a host and the verbs on
// the federation.
func DiscoveryAccount(ctx context.Context, c *env.Cluster, federation v1alpha1.FederationName, verbs ...string) (*rest.Config, error) {
	client, err := kubernetes.NewForConfig(c.Config())
	if err != nil {
		return nil, err
	}
	accounts := client.CoreV1().ServiceAccounts(v1alpha1.HostNamespace)
	_, err = accounts.Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.DiscoveryAccount}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return nil, err
	}
	federate, core := []string{v1alpha1.GroupVersion.Group}, []string{""}
	for _, g := range []struct {
		name, namespace string
		rules           []rbacv1.PolicyRule
	}{
		{"test:discovery", "", []rbacv1.PolicyRule{
			{APIGroups: federate, Resources: []string{"federations"}, Verbs: []string{"get", "list", "watch"}},
			{APIGroups: federate, Resources: []string{"memberclusters"}, Verbs: []string{"get", "list", "watch", "create", "update", "patch", "delete"}},
			{APIGroups: federate, Resources: []string{"federations/status", "memberclusters/status"}, Verbs: []string{"patch"}},
			{APIGroups: core, Resources: []string{"namespaces"}, ResourceNames: []string{v1alpha1.IdentityNamespace}, Verbs: []string{"get"}},
		}},
		{"test:discovery", v1alpha1.CredentialsNamespace, []rbacv1.PolicyRule{{APIGroups: core, Resources: []string{"secrets"}, Verbs: []string{"create", "update"}}}},
		{"test:discovery", metav1.NamespaceDefault, []rbacv1.PolicyRule{{APIGroups: core, Resources: []string{"events"}, Verbs: []string{"create", "patch"}}}},
		{"test:discovery:" + string(federation), "", []rbacv1.PolicyRule{
			{APIGroups: federate, Resources: []string{"federations"}, ResourceNames: []string{string(federation)}, Verbs: verbs},
		}},
	} {
		if err := give(ctx, client, g.name, g.namespace, g.rules); err != nil && !apierrors.IsAlreadyExists(err) {
			return nil, err
		}
	}
	token, err := accounts.CreateToken(ctx, v1alpha1.DiscoveryAccount, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("a token for discovery: %w", err)
	}
	config := rest.AnonymousClientConfig(c.Config())
	config.BearerToken = token.Status.Token
	return config, nil
}

// give lets the discovery controller's account do what rules say, in a namespace or everywhere.
func give(ctx context.Context, client kubernetes.Interface, name, namespace string, rules []rbacv1.PolicyRule) error {
	meta := metav1.ObjectMeta{Namespace: namespace, Name: name}
	subjects := []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: v1alpha1.HostNamespace, Name: v1alpha1.DiscoveryAccount}}
	if namespace == "" {
		if _, err := client.RbacV1().ClusterRoles().Create(ctx, &rbacv1.ClusterRole{ObjectMeta: meta, Rules: rules}, metav1.CreateOptions{}); err != nil {
			return err
		}
		_, err := client.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{
			ObjectMeta: meta, Subjects: subjects, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
		}, metav1.CreateOptions{})
		return err
	}
	if _, err := client.RbacV1().Roles(namespace).Create(ctx, &rbacv1.Role{ObjectMeta: meta, Rules: rules}, metav1.CreateOptions{}); err != nil {
		return err
	}
	_, err := client.RbacV1().RoleBindings(namespace).Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: meta, Subjects: subjects, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
	}, metav1.CreateOptions{})
	return err
}
