//go:build unix

package integration

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
	"github.com/kubefederate/kubectl-federate/pkg/member"
	"github.com/kubefederate/kubectl-federate/test/env"
)

func clientset(t *testing.T, config *rest.Config) *kubernetes.Clientset {
	t.Helper()
	c, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// credential reads what the host keeps of a member, as the manager would.
func credential(t *testing.T, h *env.Cluster, name string) *kubeconfig.Access {
	t.Helper()
	secret, err := clientset(t, h.Config()).CoreV1().Secrets(v1alpha1.CredentialsNamespace).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if secret.Type != v1alpha1.CredentialType || len(secret.Data) != 1 || len(secret.OwnerReferences) != 1 {
		t.Errorf("the credential is a Secret of type %s with %d keys and %d owners", secret.Type, len(secret.Data), len(secret.OwnerReferences))
	}
	access, err := kubeconfig.Parse(secret.Data[v1alpha1.CredentialKey], kubeconfig.OneContext)
	if err != nil {
		t.Fatal(err)
	}
	return access
}

// aboutAPI installs the CRD of the About API on a cluster. The type has the fields that KEP-2149 names.
func aboutAPI(t *testing.T, c *env.Cluster) {
	t.Helper()
	crd := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": "clusterproperties.about.k8s.io", "annotations": map[string]any{
			"api-approved.kubernetes.io": "https://github.com/kubernetes/enhancements/pull/3084"}},
		"spec": map[string]any{
			"group": "about.k8s.io", "scope": "Cluster",
			"names": map[string]any{"kind": "ClusterProperty", "plural": "clusterproperties", "singular": "clusterproperty", "listKind": "ClusterPropertyList"},
			"versions": []any{map[string]any{"name": "v1beta1", "served": true, "storage": true, "schema": map[string]any{
				"openAPIV3Schema": map[string]any{"type": "object", "properties": map[string]any{
					"spec": map[string]any{"type": "object", "properties": map[string]any{"value": map[string]any{"type": "string"}}},
				}},
			}}},
		},
	}}
	apply(t, c.Config(), crd)
	m := connectMember(t, c.Config())
	eventually(t, "the About API is served", func(ctx context.Context) error {
		_, err := m.List(ctx, cluster.ClusterProperties, "")
		return err
	})
}

// TestMemberRights lists what the accounts on a member may do, as the member's API server judges it, and
// compares it with DESIGN section 5.
func TestMemberRights(t *testing.T) {
	hostCluster := joinHost(t)
	c, err := joinFleet(t).Add(t.Context(), env.Spec{Name: "rights", ControllerManager: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	aboutAPI(t, c)
	fed := federation(t, hostCluster, "rights", map[string]any{"access": map[string]any{"clusterRole": "view"}})
	h, m := connectHost(t, hostCluster.Config()), connectMember(t, c.Config())
	before := snapshot(t, c)
	result, err := join(t, h, m, federate.JoinOptions{Name: "rights", Federation: fed, TokenLifetime: time.Hour})
	if err != nil {
		t.Fatal(err)
	}

	access := credential(t, hostCluster, "rights")
	if access.Server != result.Member.Spec.Server || !bytes.Equal(access.CABundle, result.Member.Spec.CABundle) {
		t.Error("the credential has another endpoint or CA than the MemberCluster")
	}
	if end, ok := access.Expiry(); !ok || time.Until(end) > time.Hour+time.Minute || !end.Equal(result.Expires) {
		t.Errorf("the token ends %v (known: %v), reported %v", end, ok, result.Expires)
	}
	manager := clientset(t, access.RESTConfig())
	want := map[string][]string{
		v1alpha1.MemberNamespace: {
			"create serviceaccounts/token [kubefederate-consumer kubefederate-manager]",
			"create clusterproperties.about.k8s.io []",
			"delete clusterproperties.about.k8s.io [cluster.clusterset.k8s.io clusterset.k8s.io]",
			"get clusterproperties.about.k8s.io [cluster.clusterset.k8s.io clusterset.k8s.io]",
			"get configmaps [membership]",
			"get namespaces [kube-system]",
			"list nodes []",
			"update clusterproperties.about.k8s.io [cluster.clusterset.k8s.io clusterset.k8s.io]",
		},
		"kube-system": {
			"create clusterproperties.about.k8s.io []",
			"delete clusterproperties.about.k8s.io [cluster.clusterset.k8s.io clusterset.k8s.io]",
			"get clusterproperties.about.k8s.io [cluster.clusterset.k8s.io clusterset.k8s.io]",
			"get namespaces [kube-system]",
			"list nodes []",
			"update clusterproperties.about.k8s.io [cluster.clusterset.k8s.io clusterset.k8s.io]",
		},
	}
	// What Kubernetes gives to every account (system:authenticated and the like) is the same for one that has
	// nothing of its own.
	everybody := rulesOf(t, clientset(t, asAccount(c.Config(), "kube-system", "default")), "kube-system")
	for namespace, want := range want {
		slices.Sort(want)
		got := slices.DeleteFunc(rulesOf(t, manager, namespace), func(r string) bool { return slices.Contains(everybody, r) })
		if !slices.Equal(got, want) {
			t.Errorf("rights in %s:\n%s\nwant:\n%s", namespace, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	consumer := clientset(t, asAccount(c.Config(), v1alpha1.MemberNamespace, v1alpha1.ConsumerAccount))
	view, err := clientset(t, c.Config()).RbacV1().ClusterRoles().Get(t.Context(), "view", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got := slices.DeleteFunc(rulesOf(t, consumer, "default"), func(r string) bool { return slices.Contains(everybody, r) })
	if want := ruleLines(view.Rules); !slices.Equal(got, want) {
		t.Errorf("the consumer's rights:\n%s\nwant those of view:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for name, value := range map[string]string{v1alpha1.PropertyClusterID: c.ID, v1alpha1.PropertyClusterSet: "rights"} {
		o, err := m.Get(t.Context(), member.PropertyRef(name))
		if err != nil {
			t.Fatal(err)
		}
		if got, _, _ := unstructured.NestedString(o.Object, "spec", "value"); got != value {
			t.Errorf("ClusterProperty %s is %q, want %q", name, got, value)
		}
	}

	if _, err := unjoin(t, h, m, federate.UnjoinOptions{Name: "rights"}); err != nil {
		t.Fatal(err)
	}
	// API servers cache what they found out about a token for about ten seconds.
	eventually(t, "the token is refused", func(ctx context.Context) error {
		_, err := manager.CoreV1().Namespaces().Get(ctx, "kube-system", metav1.GetOptions{})
		if apierrors.IsUnauthorized(err) {
			return nil
		}
		return fmt.Errorf("the revoked token got: %w", err)
	})
	becomes(t, "the member after unjoin", before, c)
}

func asAccount(config *rest.Config, namespace, name string) *rest.Config {
	config.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:" + namespace + ":" + name,
		Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated"}}
	return config
}

func rulesOf(t *testing.T, c *kubernetes.Clientset, namespace string) []string {
	t.Helper()
	review, err := c.AuthorizationV1().SelfSubjectRulesReviews().Create(t.Context(), rulesReview(namespace), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var rules []rbacv1.PolicyRule
	for _, r := range review.Status.ResourceRules {
		rules = append(rules, rbacv1.PolicyRule{Verbs: r.Verbs, APIGroups: r.APIGroups, Resources: r.Resources, ResourceNames: r.ResourceNames})
	}
	return ruleLines(rules)
}

// ruleLines are rules with one line per verb and resource.
func ruleLines(rules []rbacv1.PolicyRule) []string {
	var lines []string
	for _, r := range rules {
		names := slices.Sorted(slices.Values(r.ResourceNames))
		for _, verb := range r.Verbs {
			for _, group := range r.APIGroups {
				for _, resource := range r.Resources {
					lines = append(lines, fmt.Sprintf("%s %s %v", verb, strings.TrimSuffix(resource+"."+group, "."), names))
				}
			}
		}
	}
	slices.Sort(lines)
	return slices.Compact(lines)
}

// TestNothingOfTheCallerIsStored searches every object of both sides for the caller's own credential.
func TestNothingOfTheCallerIsStored(t *testing.T) {
	hostCluster, west := joinHost(t), joinFleet(t).Cluster("west")
	fed := federation(t, hostCluster, "caller", map[string]any{})
	config := west.Config()
	secrets := []string{string(config.KeyData), string(config.CertData), base64.StdEncoding.EncodeToString(config.KeyData), base64.StdEncoding.EncodeToString(config.CertData)}
	h, m := connectHost(t, hostCluster.Config()), connectMember(t, config)
	if _, err := join(t, h, m, federate.JoinOptions{Name: "caller", Federation: fed}); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if _, err := unjoin(t, h, m, federate.UnjoinOptions{Name: "caller"}); err != nil {
			t.Error(err)
		}
	}()
	for _, c := range []*env.Cluster{hostCluster, west} {
		everything := dump(t, c)
		if !strings.Contains(everything, v1alpha1.IdentityNamespace) {
			t.Fatalf("%s: the search reads nothing", c.Name)
		}
		for _, secret := range secrets {
			for _, text := range []string{secret, base64.StdEncoding.EncodeToString([]byte(secret))} {
				quoted, _ := json.Marshal(text)
				if strings.Contains(everything, strings.Trim(string(quoted), `"`)) {
					t.Errorf("%s: something of the caller's credential is stored", c.Name)
				}
			}
		}
	}
	// The search finds what is stored: the endpoint's CA is.
	ca := base64.StdEncoding.EncodeToString(config.CAData)
	if !strings.Contains(dump(t, hostCluster), ca) {
		t.Error("the search did not find the CA, which is stored")
	}
}

// dump is every object of a cluster as JSON, with the contents of Secrets decoded as well.
func dump(t *testing.T, c *env.Cluster) string {
	t.Helper()
	var b strings.Builder
	lists, err := clientset(t, c.Config()).Discovery().ServerPreferredResources()
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range lists {
		for _, r := range list.APIResources {
			if !slices.Contains(r.Verbs, "list") || strings.Contains(r.Name, "/") {
				continue
			}
			path := "/apis/" + list.GroupVersion + "/" + r.Name
			if list.GroupVersion == "v1" {
				path = "/api/v1/" + r.Name
			}
			raw, err := clientset(t, c.Config()).RESTClient().Get().AbsPath(path).Do(t.Context()).Raw()
			if err != nil {
				t.Fatal(err)
			}
			b.Write(raw)
		}
	}
	secrets, err := clientset(t, c.Config()).CoreV1().Secrets("").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range secrets.Items {
		for _, data := range secrets.Items[i].Data {
			b.Write(data)
		}
	}
	return b.String()
}

// TestCallerWithExecPlugin joins with a kubeconfig whose credential comes from a command. That command is the
// caller's own; what is stored has none.
func TestCallerWithExecPlugin(t *testing.T) {
	hostCluster, west := joinHost(t), joinFleet(t).Cluster("west")
	fed := federation(t, hostCluster, "exec", map[string]any{})
	admin := west.Config()
	credentials, err := json.Marshal(map[string]any{
		"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
		"status": map[string]any{"clientCertificateData": string(admin.CertData), "clientKeyData": string(admin.KeyData)},
	})
	if err != nil {
		t.Fatal(err)
	}
	config := &rest.Config{Host: admin.Host, TLSClientConfig: rest.TLSClientConfig{CAData: admin.CAData}}
	config.ExecProvider = &clientcmdapi.ExecConfig{
		APIVersion: "client.authentication.k8s.io/v1", Command: "/bin/echo", Args: []string{string(credentials)},
		InteractiveMode: clientcmdapi.NeverExecInteractiveMode,
	}
	h, m := connectHost(t, hostCluster.Config()), connectMember(t, config)
	if _, err := join(t, h, m, federate.JoinOptions{Name: "exec", Federation: fed}); err != nil {
		t.Fatal(err)
	}
	if access := credential(t, hostCluster, "exec"); access.Token == "" || len(access.CertData) > 0 {
		t.Errorf("stored: %v", access)
	}
	if _, err := unjoin(t, h, m, federate.UnjoinOptions{Name: "exec"}); err != nil {
		t.Fatal(err)
	}
}

// TestHostJoinsItself joins the host to its own federation and lets it leave; both times everything else works on.
func TestHostJoinsItself(t *testing.T) {
	hostCluster := joinHost(t)
	fed := federation(t, hostCluster, "self", map[string]any{"access": map[string]any{"clusterRole": "view"}})
	before := snapshot(t, hostCluster)
	h, m := connectHost(t, hostCluster.Config()), connectMember(t, hostCluster.Config())
	plan, err := federate.PlanJoin(t.Context(), h, m, federate.JoinOptions{Name: "self", Federation: fed})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := plan.Notes[len(plan.Notes)-1].String(), "member: host and member are one and the same cluster"; got != want {
		t.Errorf("note %q, want %q", got, want)
	}
	if _, err := plan.Apply(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := unjoin(t, h, m, federate.UnjoinOptions{Name: "self"}); err != nil {
		t.Fatal(err)
	}
	if err := h.Enforcing(t.Context()); err != nil {
		t.Error(err)
	}
	becomes(t, "the host", before, hostCluster)
}

// TestUserObjectsSurvive puts a user's object into the namespace that join made: unjoin leaves both.
func TestUserObjectsSurvive(t *testing.T) {
	hostCluster, west := joinHost(t), joinFleet(t).Cluster("west")
	snapshot(t, west) // no namespace is ending
	fed := federation(t, hostCluster, "survive", map[string]any{})
	h, m := connectHost(t, hostCluster.Config()), connectMember(t, west.Config())
	if _, err := join(t, h, m, federate.JoinOptions{Name: "survive", Federation: fed}); err != nil {
		t.Fatal(err)
	}
	theirs := clientset(t, west.Config()).CoreV1().ConfigMaps(v1alpha1.MemberNamespace)
	if _, err := theirs.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "theirs"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	result, err := unjoin(t, h, m, federate.UnjoinOptions{Name: "survive"})
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Notes) != 1 || result.Notes[0].String() != `member: Namespace "kubefederate-member": stays, since it holds what is not ours: configmaps/theirs` {
		t.Errorf("notes %v", result.Notes)
	}
	if _, err := theirs.Get(t.Context(), "theirs", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
	if err := theirs.Delete(t.Context(), "theirs", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	// The namespace is ours: the next unjoin takes it.
	if _, err := join(t, h, m, federate.JoinOptions{Name: "survive", Federation: fed}); err != nil {
		t.Fatal(err)
	}
	if result, err = unjoin(t, h, m, federate.UnjoinOptions{Name: "survive"}); err != nil || !result.Finishing {
		t.Errorf("%+v, %v", result, err)
	}
}

// TestUnjoinWaitsForFinalizers keeps a binding on the member with a finalizer: as long as it gives its right, the
// cluster has not left.
func TestUnjoinWaitsForFinalizers(t *testing.T) {
	hostCluster, west := joinHost(t), joinFleet(t).Cluster("west")
	userNamespace(t, west)
	fed := federation(t, hostCluster, "final", map[string]any{})
	before, hostBefore := snapshot(t, west), snapshot(t, hostCluster)
	h, m := connectHost(t, hostCluster.Config()), connectMember(t, west.Config())
	if _, err := join(t, h, m, federate.JoinOptions{Name: "final", Federation: fed}); err != nil {
		t.Fatal(err)
	}
	finalizers := func(conn *cluster.Conn, ref cluster.Ref, names ...any) {
		t.Helper()
		if _, err := conn.MergePatch(t.Context(), ref, map[string]any{"metadata": map[string]any{"finalizers": names}}, cluster.Write{}); err != nil {
			t.Fatal(err)
		}
	}
	binding := cluster.Ref{Resource: cluster.ClusterRoleBindings, Name: member.ManagerRole}
	finalizers(m.Conn, binding, "example.com/theirs")
	_, err := unjoin(t, h, m, federate.UnjoinOptions{Name: "final", MemberContext: "west"})
	partial, ok := errors.AsType[*federate.Partial](err)
	if !ok {
		t.Fatalf("error %T: %v", err, err)
	}
	const want = `member: ClusterRoleBinding "kubefederate-member:manager": is deleted, and stays until its finalizers are done: example.com/theirs`
	if partial.Err.Error() != want || partial.Next != "kubectl federate unjoin final --member-context west" {
		t.Errorf("%v\nwant:\n%s", partial, want)
	}
	if k, err := m.Membership(t.Context()); err != nil || k == nil {
		t.Errorf("membership record %v, %v: the cluster could be taken by another", k, err)
	}
	finalizers(m.Conn, binding)
	finalizers(h.Conn, host.MemberRef("final"), "example.com/theirs")
	result, err := unjoin(t, h, m, federate.UnjoinOptions{Name: "final"})
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Notes) != 1 || result.Notes[0].String() != `host: MemberCluster "final": is deleted, and stays until its finalizers are done: example.com/theirs` {
		t.Errorf("notes %v", result.Notes)
	}
	finalizers(h.Conn, host.MemberRef("final"))
	becomes(t, "the member", before, west)
	becomes(t, "the host", hostBefore, hostCluster)
}

// TestJoinRequestStaysBehind shows what unjoin does with a federation label: it stays, with a word that the cluster left, until
// it is dropped or made anew.
func TestJoinRequestStaysBehind(t *testing.T) {
	hostCluster, west := joinHost(t), joinFleet(t).Cluster("west")
	before := snapshot(t, west)
	fed := federation(t, hostCluster, "requests", map[string]any{})
	h, m := connectHost(t, hostCluster.Config()), connectMember(t, west.Config())
	if _, err := m.SetJoinRequest(t.Context(), fed, false); err != nil {
		t.Fatal(err)
	}
	leave := func(drop bool) {
		t.Helper()
		if _, err := join(t, h, m, federate.JoinOptions{Name: "requests", Federation: fed}); err != nil {
			t.Fatal(err)
		}
		if _, err := unjoin(t, h, m, federate.UnjoinOptions{Name: "requests", DropLabel: drop}); err != nil {
			t.Fatal(err)
		}
	}
	request := func() member.JoinRequest {
		t.Helper()
		w, err := m.JoinRequest(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	leave(false)
	if got, want := request(), (member.JoinRequest{Federation: fed, Namespace: "kube-system", Left: fed}); got != want {
		t.Errorf("federation label %+v, want %+v", got, want)
	}
	if got, err := m.SetJoinRequest(t.Context(), fed, false); err != nil || got.Left != "" {
		t.Errorf("a new federation label is %+v, %v", got, err)
	}
	leave(true)
	if got := request(); got != (member.JoinRequest{}) {
		t.Errorf("federation label %+v after it was dropped", got)
	}
	becomes(t, "the member", before, west)
}

// TestJoinRequestWhereKubeSystemIsForbidden writes the federation label where the caller may: on a namespace that is made for it and
// goes with it.
func TestJoinRequestWhereKubeSystemIsForbidden(t *testing.T) {
	west := joinFleet(t).Cluster("west")
	before := snapshot(t, west)
	rbac := clientset(t, west.Config()).RbacV1()
	name := "wisher"
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"namespaces"}, Verbs: []string{"get", "create"}},
		{APIGroups: []string{""}, Resources: []string{"namespaces"}, ResourceNames: []string{v1alpha1.MemberNamespace}, Verbs: []string{"patch", "delete"}},
		{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"list"}},
	}}
	if _, err := rbac.ClusterRoles().Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	binding := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: name}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: name}}}
	if _, err := rbac.ClusterRoleBindings().Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	m := connectMember(t, west.User(name))
	eventually(t, "the binding holds", func(ctx context.Context) error { _, err := m.JoinRequest(ctx); return err })
	want := member.JoinRequest{Federation: "prod", Namespace: v1alpha1.MemberNamespace}
	if got, err := m.SetJoinRequest(t.Context(), "prod", false); err != nil || got != want {
		t.Errorf("set %+v, %v, want %+v", got, err, want)
	}
	if got, err := m.JoinRequest(t.Context()); err != nil || got != want {
		t.Errorf("read %+v, %v, want %+v", got, err, want)
	}
	if got, err := m.RemoveJoinRequest(t.Context(), false); err != nil || got != want {
		t.Errorf("removed %+v, %v, want %+v", got, err, want)
	}
	if err := rbac.ClusterRoleBindings().Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Error(err)
	}
	if err := rbac.ClusterRoles().Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Error(err)
	}
	becomes(t, "the cluster", before, west)
	stranger := connectMember(t, west.User("stranger"))
	_, err := stranger.SetJoinRequest(t.Context(), "prod", false)
	if want := `member: patch Namespace "kube-system": namespaces "kube-system" is forbidden: User "stranger" cannot patch resource "namespaces" in API group "" in the namespace "kube-system"`; err == nil || err.Error() != want {
		t.Errorf("a stranger: %v, want %s", err, want)
	}
}

// TestAdoption completes a MemberCluster that was written by hand.
func TestAdoption(t *testing.T) {
	hostCluster, west := joinHost(t), joinFleet(t).Cluster("west")
	snapshot(t, west)
	fed := federation(t, hostCluster, "adopt", map[string]any{})
	h, m := connectHost(t, hostCluster.Config()), connectMember(t, west.Config())
	byHand := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{
		"clusterID": west.ID, "server": m.Server(), "caBundle": base64.StdEncoding.EncodeToString(west.Config().CAData)}}}
	byHand.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("MemberCluster"))
	byHand.SetName("adopt")
	byHand.SetLabels(map[string]string{v1alpha1.LabelFederation: "adopt"})
	apply(t, hostCluster.Config(), byHand)
	made, err := h.Member(t.Context(), "adopt")
	if err != nil {
		t.Fatal(err)
	}
	result, err := join(t, h, m, federate.JoinOptions{Name: "adopt", Federation: fed})
	if err != nil {
		t.Fatal(err)
	}
	if result.Member.UID != made.UID || result.Member.Annotations[v1alpha1.AnnotationAttempt] != "" || result.Member.Annotations[v1alpha1.AnnotationJoinedBy] == "" {
		t.Errorf("adopted: %v, annotations %v", result.Member.UID == made.UID, result.Member.Annotations)
	}
	credential(t, hostCluster, "adopt")
	if _, err := unjoin(t, h, m, federate.UnjoinOptions{Name: "adopt"}); err != nil {
		t.Fatal(err)
	}
}

// TestForceAndLateCleanup lets a member go without reaching it, and then removes from it what had stayed.
func TestForceAndLateCleanup(t *testing.T) {
	hostCluster, west := joinHost(t), joinFleet(t).Cluster("west")
	before := snapshot(t, west)
	fed := federation(t, hostCluster, "force", map[string]any{})
	h, m := connectHost(t, hostCluster.Config()), connectMember(t, west.Config())
	if _, err := join(t, h, m, federate.JoinOptions{Name: "force", Federation: fed}); err != nil {
		t.Fatal(err)
	}
	if _, err := unjoin(t, h, nil, federate.UnjoinOptions{Name: "force", Force: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Member(t.Context(), "force"); !apierrors.IsNotFound(err) {
		t.Errorf("the member is still there: %v", err)
	}
	// Under another name it is told what the cluster still carries.
	_, err := federate.PlanJoin(t.Context(), h, m, federate.JoinOptions{Name: "other", Federation: fed, MemberContext: "west"})
	wantRefusal(t, err, `cannot join "other" to federation "force"; nothing was changed
* member: ConfigMap "kubefederate-member/membership": this cluster is member "force" of federation "force" of this host: let it leave first: kubectl federate unjoin force --member-context west`)
	if _, err := unjoin(t, h, m, federate.UnjoinOptions{Name: "force"}); err != nil {
		t.Fatal(err)
	}
	becomes(t, "the member", before, west)
	plan, err := federate.PlanUnjoin(t.Context(), h, m, federate.UnjoinOptions{Name: "force"})
	if err != nil || !plan.Already() {
		t.Errorf("unjoining once more: %v, %v", plan, err)
	}
}

func wantRefusal(t *testing.T, err error, want string) {
	t.Helper()
	if _, ok := errors.AsType[*federate.Refusal](err); !ok {
		t.Fatalf("error %T: %v", err, err)
	}
	if got := err.Error(); got != want {
		t.Errorf("refusal:\n%s\nwant:\n%s", got, want)
	}
}

// TestJoinAsJoiner joins and unjoins as a user who may do that in one federation and read no credential.
func TestJoinAsJoiner(t *testing.T) {
	hostCluster, west := joinHost(t), joinFleet(t).Cluster("west")
	before := snapshot(t, west)
	fed := federation(t, hostCluster, "team", map[string]any{})
	federation(t, hostCluster, "foreign", map[string]any{})
	for _, o := range manifests.JoinerBinding(fed, rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: "User", Name: "jo"}) {
		apply(t, hostCluster.Config(), o)
	}
	hostBefore := snapshot(t, hostCluster)
	h, m := connectHost(t, hostCluster.User("jo")), connectMember(t, west.Config())
	eventually(t, "the bindings hold", func(ctx context.Context) error {
		_, err := h.Federation(ctx, fed)
		return err
	})
	for range 2 { // the second time the credential is there, and is replaced unread
		if _, err := join(t, h, m, federate.JoinOptions{Name: "team", Federation: fed}); err != nil {
			t.Fatal(err)
		}
	}
	made, err := h.Member(t.Context(), "team")
	if err != nil || !strings.HasPrefix(made.Annotations[v1alpha1.AnnotationJoinedBy], "jo ") {
		t.Errorf("joined by %q, %v", made.Annotations[v1alpha1.AnnotationJoinedBy], err)
	}
	_, err = federate.PlanJoin(t.Context(), h, m, federate.JoinOptions{Name: "stranger", Federation: "foreign", MemberContext: "west"})
	wantRefusal(t, err, `cannot join "stranger" to federation "foreign"; nothing was changed
* host: you have no right to join federations.kubefederate.io "foreign": an administrator of the federation gives it
* member: ConfigMap "kubefederate-member/membership": this cluster is member "team" of federation "team" of this host: let it leave first: kubectl federate unjoin team --member-context west`)
	if _, err := unjoin(t, h, m, federate.UnjoinOptions{Name: "team"}); err != nil {
		t.Fatal(err)
	}
	becomes(t, "the member", before, west)
	becomes(t, "the host", hostBefore, hostCluster)
}

// TestUserWithoutRights gets every missing right of both sides at once, and changes nothing.
func TestUserWithoutRights(t *testing.T) {
	hostCluster, west := joinHost(t), joinFleet(t).Cluster("west")
	before, hostBefore := snapshot(t, west), snapshot(t, hostCluster)
	h, m := connectHost(t, hostCluster.User("nobody")), connectMember(t, west.User("nobody"))
	_, err := federate.PlanJoin(t.Context(), h, m, federate.JoinOptions{Name: "none", Federation: "none"})
	var refusal *federate.Refusal
	if !errors.As(err, &refusal) {
		t.Fatalf("error %T: %v", err, err)
	}
	hosts, members := 0, 0
	for _, f := range refusal.Findings {
		switch {
		case f.Side == federate.SideHost && strings.HasPrefix(f.Cause, "you have no right to "):
			hosts++
		case f.Side == federate.SideMember && strings.HasPrefix(f.Cause, "you have no right to "):
			members++
		default:
			t.Errorf("finding %s", f)
		}
	}
	if hosts != 8 || members < 20 {
		t.Errorf("%d rights on the host, %d on the member:\n%v", hosts, members, err)
	}
	becomes(t, "the member", before, west)
	becomes(t, "the host", hostBefore, hostCluster)
}

// TestRightsThatCannotBeGiven joins as a user who may make roles on the member but does not hold what the
// manager gets: nothing may be left of the try.
func TestRightsThatCannotBeGiven(t *testing.T) {
	hostCluster, west := joinHost(t), joinFleet(t).Cluster("west")
	fed := federation(t, hostCluster, "escalate", map[string]any{})
	admin := clientset(t, west.Config()).RbacV1()
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "almost"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{"", "rbac.authorization.k8s.io", "about.k8s.io"}, Resources: []string{"namespaces", "secrets", "configmaps", "serviceaccounts", "clusterroles", "clusterrolebindings", "roles", "rolebindings", "clusterproperties"},
			Verbs: []string{"get", "list", "create", "patch", "update", "delete"}},
		{APIGroups: []string{""}, Resources: []string{"nodes"}, Verbs: []string{"list"}},
		{APIGroups: []string{""}, Resources: []string{"serviceaccounts/token"}, ResourceNames: []string{v1alpha1.ManagerAccount}, Verbs: []string{"create"}},
	}}
	if _, err := admin.ClusterRoles().Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	binding := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "almost"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "almost"},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: "al"}}}
	if _, err := admin.ClusterRoleBindings().Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		_ = admin.ClusterRoleBindings().Delete(ctx, "almost", metav1.DeleteOptions{})
		_ = admin.ClusterRoles().Delete(ctx, "almost", metav1.DeleteOptions{})
	})
	before, hostBefore := snapshot(t, west), snapshot(t, hostCluster)
	h, m := connectHost(t, hostCluster.Config()), connectMember(t, west.User("al"))
	eventually(t, "the binding holds", func(ctx context.Context) error { _, err := m.ID(ctx); return err })
	_, err := federate.PlanJoin(t.Context(), h, m, federate.JoinOptions{Name: "escalate", Federation: fed})
	wantRefusal(t, err, `cannot join "escalate" to federation "escalate"; nothing was changed
* member: ClusterRole "kubefederate-member:manager": clusterroles.rbac.authorization.k8s.io "kubefederate-member:manager" is forbidden: user "al" (groups=["system:authenticated"]) is attempting to grant RBAC permissions not currently held: {APIGroups:[""], Resources:["serviceaccounts/token"], ResourceNames:["kubefederate-consumer"], Verbs:["create"]}: Kubernetes lets nobody give rights that they do not hold: join as an administrator of the member`)
	becomes(t, "the member", before, west)
	becomes(t, "the host", hostBefore, hostCluster)
}

// TestNotInitialised tells that a cluster is no host.
func TestNotInitialised(t *testing.T) {
	west := joinFleet(t).Cluster("west")
	joinHost(t)
	h, m := connectHost(t, west.Config()), connectMember(t, west.Config())
	_, err := federate.PlanJoin(t.Context(), h, m, federate.JoinOptions{Name: "x", Federation: "prod"})
	const want = "host: this cluster is not a host yet: it does not serve kubefederate.io: install it: kubectl federate init, or choose another --context"
	if !errors.Is(err, host.ErrNotInitialised) || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	_, err = federate.PlanUnjoin(t.Context(), h, m, federate.UnjoinOptions{Name: "x"})
	if !errors.Is(err, host.ErrNotInitialised) || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

// TestUnreachable names the side that does not answer, the endpoint, and what to do; both sides when neither does.
func TestUnreachable(t *testing.T) {
	hostCluster := joinHost(t)
	nowhere := &rest.Config{Host: "https://127.0.0.1:1"}
	h, m := connectHost(t, hostCluster.Config()), connectMember(t, nowhere)
	text := func(side string) string {
		return side + `: no answer from https://127.0.0.1:1: dial tcp 127.0.0.1:1: connect: connection refused: check the endpoint of the context and that this machine can reach it`
	}
	_, err := federate.PlanJoin(t.Context(), h, m, federate.JoinOptions{Name: "x", Federation: "prod"})
	if want := text("member"); err == nil || err.Error() != want {
		t.Errorf("join: %v, want %s", err, want)
	}
	_, err = federate.PlanJoin(t.Context(), connectHost(t, nowhere), m, federate.JoinOptions{Name: "x", Federation: "prod"})
	if want := text("host") + "\n" + text("member"); err == nil || err.Error() != want {
		t.Errorf("join: %v, want %s", err, want)
	}
	_, err = federate.PlanUnjoin(t.Context(), h, m, federate.UnjoinOptions{Name: "x"})
	if want := text("member") + "; if the cluster is gone for good, let it go with: kubectl federate unjoin x --force"; err == nil || err.Error() != want {
		t.Errorf("unjoin: %v, want %s", err, want)
	}
	stale := hostCluster.Config()
	stale.CertData, stale.KeyData, stale.BearerToken = nil, nil, "very-secret"
	_, err = federate.PlanJoin(t.Context(), connectHost(t, stale), m, federate.JoinOptions{Name: "x", Federation: "prod"})
	if want := "host: " + h.Server() + " does not accept the credential of the context (401): log in again or choose another context\n" +
		text("member"); err == nil || err.Error() != want {
		t.Errorf("join: %v, want %s", err, want)
	}
}

// TestWebhookDown tells in our words what the API server says when it cannot ask the webhook, and that there
// is none.
func TestWebhookDown(t *testing.T) {
	joinFleet(t)
	c, err := joinFleet(t).Add(t.Context(), env.Spec{Name: "unguarded", ControllerManager: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	west := joinFleet(t).Cluster("west")
	manager := install(t, c)
	fed := federation(t, c, "down", map[string]any{})
	manager.Close()
	h, m := connectHost(t, c.Config()), connectMember(t, west.Config())
	_, err = federate.PlanJoin(t.Context(), h, m, federate.JoinOptions{Name: "down", Federation: fed})
	if !errors.Is(err, host.ErrWebhookDown) {
		t.Fatalf("error %v", err)
	}
	got := strings.ReplaceAll(err.Error(), strings.TrimPrefix(manager.URL, "https://"), "ADDRESS")
	const want = `host: the webhook that judges members does not answer, so the API server refuses every change of a federation or a member ` +
		`("memberclusters.kubefederate.io": failed to call webhook: Post "https://ADDRESS/validate/memberclusters?timeout=5s": dial tcp ADDRESS: connect: connection refused): ` +
		`see that its pods run: kubectl get pods --namespace kubefederate-system`
	if got != want {
		t.Errorf("error:\n%s\nwant:\n%s", got, want)
	}
	if err := clientset(t, c.Config()).AdmissionregistrationV1().ValidatingWebhookConfigurations().Delete(t.Context(), manifests.WebhookConfiguration, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the API server asks no webhook", func(ctx context.Context) error {
		if err := h.Enforcing(ctx); !errors.Is(err, host.ErrNotEnforcing) {
			return fmt.Errorf("guarded: %w", err)
		}
		return nil
	})
	_, err = federate.PlanJoin(t.Context(), h, m, federate.JoinOptions{Name: "down", Federation: fed})
	if want := "host: the webhook is not asked about members, so the rules of federations would not hold: install it again: kubectl federate init"; err == nil || err.Error() != want || !errors.Is(err, host.ErrNotEnforcing) {
		t.Errorf("error %v, want %s", err, want)
	}
}

// TestRefusedByRules is told by the host and the member together, before anything is written.
func TestRefusedByRules(t *testing.T) {
	hostCluster, west := joinHost(t), joinFleet(t).Cluster("west")
	snapshot(t, west)
	fed := federation(t, hostCluster, "ruled", map[string]any{
		"labels": []any{
			map[string]any{"key": "example.com/team", "required": true, "message": "name the owning team"},
			map[string]any{"key": "example.com/tier", "values": []any{"gold"}},
		},
		"kubernetesVersions": ">=1.90",
	})
	before, hostBefore := snapshot(t, west), snapshot(t, hostCluster)
	h, m := connectHost(t, hostCluster.Config()), connectMember(t, west.Config())
	_, err := federate.PlanJoin(t.Context(), h, m, federate.JoinOptions{Name: "ruled", Federation: fed, Labels: map[string]string{"example.com/tier": "tin"}, TokenLifetime: time.Minute})
	wantRefusal(t, err, `cannot join "ruled" to federation "ruled"; nothing was changed
* member: token: a lifetime of 1m is shorter than API servers give: ask for at least 10m with --token-lifetime
* host: MemberCluster "ruled": metadata.labels[example.com/team]: Required value: federation "ruled" asks for it; name the owning team
* host: MemberCluster "ruled": metadata.labels[example.com/tier]: Unsupported value: "tin": supported values: "gold"
* host: MemberCluster "ruled": spec.joinedWith.kubernetesVersion: Invalid value: "v1.36.3": federation "ruled" takes >=1.90`)
	_, err = federate.PlanJoin(t.Context(), h, m, federate.JoinOptions{Name: "ruled", Federation: "rulde"})
	wantRefusal(t, err, `cannot join "ruled" to federation "rulde"; nothing was changed
* host: MemberCluster "ruled": metadata.labels[kubefederate.io/federation]: Not found: "rulde": no federation has this name; did you mean "ruled"?`)
	_, err = federate.PlanJoin(t.Context(), h, m, federate.JoinOptions{Name: "ruled", Federation: "rulde", DryRun: federate.DryRunClient})
	wantRefusal(t, err, `cannot join "ruled" to federation "rulde"; nothing was changed
* host: Federation "rulde": not found: choose one of kubectl federate get federations, or make it: kubectl federate create federation rulde`)
	_, err = federate.PlanJoin(t.Context(), h, m, federate.JoinOptions{Name: "Ru/led", Federation: "ruled"})
	wantRefusal(t, err, `cannot join "Ru/led" to federation "ruled"; nothing was changed
* host: MemberCluster "Ru/led": the name must be a DNS-1123 label: at most 63 lower-case letters, digits and '-', starting and ending with a letter or digit`)
	becomes(t, "the member", before, west)
	becomes(t, "the host", hostBefore, hostCluster)
}

// TestOneClusterUnderTwoNames joins one cluster under two names at once: one wins, the other is told who holds
// the cluster, and nothing of it is left.
func TestOneClusterUnderTwoNames(t *testing.T) {
	hostCluster, west := joinHost(t), joinFleet(t).Cluster("west")
	userNamespace(t, west)
	fed := federation(t, hostCluster, "names", map[string]any{})
	before, hostBefore := snapshot(t, west), snapshot(t, hostCluster)
	names := []v1alpha1.MemberName{"one", "two"}
	for range rounds(10) {
		errs := atOnce(len(names), func(i int) error {
			_, err := join(t, connectHost(t, hostCluster.Config()), connectMember(t, west.Config()), federate.JoinOptions{Name: names[i], Federation: fed})
			return err
		})
		winner := slices.Index(errs, nil)
		if winner < 0 {
			t.Fatalf("neither joined: %v", errs)
		}
		if text := errs[1-winner].Error(); !slices.Contains(isHeld(fed, west, names[1-winner], names[winner]), text) {
			t.Errorf("the other join: %s", text)
		}
		h, m := connectHost(t, hostCluster.Config()), connectMember(t, west.Config())
		if members, err := h.Members(t.Context(), host.MemberQuery{Federation: fed}); err != nil || len(members) != 1 {
			t.Errorf("%d members, %v", len(members), err)
		}
		if _, err := unjoin(t, h, m, federate.UnjoinOptions{Name: names[winner]}); err != nil {
			t.Fatal(err)
		}
		becomes(t, "the member", before, west)
		becomes(t, "the host", hostBefore, hostCluster)
	}
}

// isHeld are the whole texts with which a join under a name is told that its cluster is a member under another. The
// webhook says it; where it saw both at the same moment, the membership record does.
func isHeld(fed v1alpha1.FederationName, c *env.Cluster, loser, holder v1alpha1.MemberName) []string {
	return []string{
		fmt.Sprintf(`cannot join %q to federation %q; what was begun was rolled back
* member: ConfigMap "kubefederate-member/membership": this cluster is member %q of federation %q of this host: let it leave first: kubectl federate unjoin %s --member-context CONTEXT`,
			loser, fed, holder, fed, holder),
		fmt.Sprintf(`cannot join %q to federation %q; nothing was changed
* host: MemberCluster %q: spec.clusterID: Duplicate value: %q: this cluster is already member %q of federation %q; let it leave first: kubectl federate unjoin %s`,
			loser, fed, loser, c.ID, holder, fed, holder),
	}
}

// TestManyJoinsAtOnce joins two clusters under four names each, all at once: of each cluster one member comes out, the
// others are told who holds it, and nothing of them is left.
func TestManyJoinsAtOnce(t *testing.T) {
	hostCluster := joinHost(t)
	members := []*env.Cluster{joinFleet(t).Cluster("east"), joinFleet(t).Cluster("west")}
	fed := federation(t, hostCluster, "crowd", map[string]any{"access": map[string]any{"clusterRole": "view"}})
	for _, c := range members {
		userNamespace(t, c)
	}
	before := map[*env.Cluster]env.Objects{}
	for _, c := range append(members, hostCluster) {
		before[c] = snapshot(t, c)
	}
	const names = 4
	name := func(i int) v1alpha1.MemberName {
		return v1alpha1.MemberName(fmt.Sprintf("%s-%d", members[i/names].Name, i%names))
	}
	for range rounds(5) {
		errs := atOnce(names*len(members), func(i int) error {
			_, err := join(t, connectHost(t, hostCluster.Config()), connectMember(t, members[i/names].Config()), federate.JoinOptions{Name: name(i), Federation: fed})
			return err
		})
		h := connectHost(t, hostCluster.Config())
		if all, err := h.Members(t.Context(), host.MemberQuery{Federation: fed}); err != nil || len(all) != len(members) {
			t.Errorf("%d members, %v: %v", len(all), err, errs)
		}
		for c, m := range members {
			winner := -1
			for i := c * names; i < (c+1)*names; i++ {
				if errs[i] == nil {
					if winner >= 0 {
						t.Errorf("%s joined under two names", m.Name)
					}
					winner = i
				}
			}
			if winner < 0 {
				t.Fatalf("%s joined under no name: %v", m.Name, errs)
			}
			for i := c * names; i < (c+1)*names; i++ {
				if i != winner && !slices.Contains(isHeld(fed, m, name(i), name(winner)), errs[i].Error()) {
					t.Errorf("%s: %v", name(i), errs[i])
				}
			}
			if err := works(t, credential(t, hostCluster, string(name(winner)))); err != nil {
				t.Errorf("the stored credential of %s does not work: %v", name(winner), err)
			}
			if _, err := unjoin(t, h, connectMember(t, m.Config()), federate.UnjoinOptions{Name: name(winner)}); err != nil {
				t.Fatal(err)
			}
		}
		for c, objects := range before {
			becomes(t, c.Name, objects, c)
		}
	}
}

// TestTwoJoinsOfOneName joins one cluster twice at once under one name: both report joined, or one says why
// not, and one member comes out.
func TestTwoJoinsOfOneName(t *testing.T) {
	hostCluster, west := joinHost(t), joinFleet(t).Cluster("west")
	userNamespace(t, west)
	fed := federation(t, hostCluster, "twice", map[string]any{})
	before, hostBefore := snapshot(t, west), snapshot(t, hostCluster)
	for range rounds(5) {
		errs := atOnce(2, func(int) error {
			_, err := join(t, connectHost(t, hostCluster.Config()), connectMember(t, west.Config()), federate.JoinOptions{Name: "twice", Federation: fed})
			return err
		})
		for _, err := range errs {
			if err != nil {
				t.Error(err)
			}
		}
		h, m := connectHost(t, hostCluster.Config()), connectMember(t, west.Config())
		access := credential(t, hostCluster, "twice")
		if _, err := clientset(t, access.RESTConfig()).CoreV1().Namespaces().Get(t.Context(), "kube-system", metav1.GetOptions{}); err != nil {
			t.Errorf("the stored credential does not work: %v", err)
		}
		if made, err := h.Member(t.Context(), "twice"); err != nil || made.Annotations[v1alpha1.AnnotationAttempt] != "" {
			t.Errorf("an attempt stays on the member: %v, %v", made.Annotations, err)
		}
		if _, err := unjoin(t, h, m, federate.UnjoinOptions{Name: "twice"}); err != nil {
			t.Fatal(err)
		}
		becomes(t, "the member", before, west)
		becomes(t, "the host", hostBefore, hostCluster)
	}
}

// rounds is how often a race is run: n times, and in the quick tier a few times.
func rounds(n int) int {
	if testing.Short() {
		return max(2, n/4)
	}
	return n
}

func atOnce(n int, f func(int) error) []error {
	errs := make([]error, n)
	var wait sync.WaitGroup
	for i := range n {
		wait.Go(func() { errs[i] = f(i) })
	}
	wait.Wait()
	return errs
}

// TestTwoHosts lets two hosts join one cluster at once: its etcd decides, the other host is told who holds it,
// and nothing of it is left.
func TestTwoHosts(t *testing.T) {
	first, west := joinHost(t), joinFleet(t).Cluster("west")
	second, err := joinFleet(t).Add(t.Context(), env.Spec{Name: "other-host", ControllerManager: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(second.Stop)
	install(t, second)
	userNamespace(t, west)
	hosts := []*env.Cluster{first, second}
	before := map[*env.Cluster]env.Objects{}
	for _, h := range hosts {
		federation(t, h, "shared", map[string]any{})
		before[h] = snapshot(t, h)
	}
	before[west] = snapshot(t, west)
	won := map[string]int{}
	for range rounds(10) {
		errs := atOnce(len(hosts), func(i int) error {
			_, err := join(t, connectHost(t, hosts[i].Config()), connectMember(t, west.Config()), federate.JoinOptions{Name: "shared", Federation: "shared", MemberContext: "west"})
			return err
		})
		winner := slices.Index(errs, nil)
		if winner < 0 {
			t.Fatalf("neither joined: %v", errs)
		}
		loser := 1 - winner
		won[hosts[winner].Name]++
		if want := heldByOther(hosts[winner], hosts[loser]); !isRefusal(errs[loser], want) {
			t.Errorf("the other host: %v\nwant:\n%s", errs[loser], want)
		}
		becomes(t, "the host that came second", before[hosts[loser]], hosts[loser])
		access := credential(t, hosts[winner], "shared")
		if _, err := clientset(t, access.RESTConfig()).CoreV1().Namespaces().Get(t.Context(), "kube-system", metav1.GetOptions{}); err != nil {
			t.Errorf("the winner's credential does not work: %v", err)
		}
		if _, err := unjoin(t, connectHost(t, hosts[winner].Config()), connectMember(t, west.Config()), federate.UnjoinOptions{Name: "shared"}); err != nil {
			t.Fatal(err)
		}
		becomes(t, "the host that came first", before[hosts[winner]], hosts[winner])
		becomes(t, "the member", before[west], west)
	}
	t.Log(won)
	t.Run("join against unjoin", func(t *testing.T) { leaveAndJoin(t, second, first, west, before) })
}

// leaveAndJoin lets a cluster leave one host while another joins it. The join begins at each request of the unjoin in turn,
// which goes on beside it or waits for its end. The cluster leaves in any case, and the other host is told who holds it, or
// has it, with nothing taken away that the unjoin came across.
func leaveAndJoin(t *testing.T, from, to, west *env.Cluster, before map[*env.Cluster]env.Objects) {
	t.Helper()
	options := federate.JoinOptions{Name: "shared", Federation: "shared", MemberContext: "west"}
	connect := func(h *env.Cluster) (*host.Cluster, *member.Cluster) {
		return connectHost(t, h.Config()), connectMember(t, west.Config())
	}
	ends := map[string]int{}
	round := func(side federate.Side, k int) bool {
		h, m := connect(from)
		if _, err := join(t, h, m, options); err != nil {
			t.Fatal(err)
		}
		end := make(chan error, 1)
		p := &proxy{kind: faultMeanwhile, side: side, k: k, meanwhile: func() {
			done := make(chan struct{})
			go func() {
				defer close(done)
				h, m := connect(to)
				plan, err := federate.PlanJoin(t.Context(), h, m, options)
				if err == nil {
					_, err = plan.Apply(t.Context(), nil)
				}
				end <- err
			}()
			if k%2 == 0 {
				<-done
			}
		}}
		h, m = connectHost(t, p.through(from.Config(), federate.SideHost)), connectMember(t, p.through(west.Config(), federate.SideMember))
		if _, err := unjoin(t, h, m, federate.UnjoinOptions{Name: "shared"}); err != nil {
			t.Fatalf("unjoin: %v", err)
		}
		becomes(t, "the host that it left", before[from], from)
		if p.hit == "" {
			becomes(t, "the member", before[west], west)
			return false
		}
		err := <-end
		h, m = connect(to)
		if err == nil {
			ends["joined"]++
		} else {
			if undone, ok := errors.AsType[*federate.Undone](err); ok && goneMeanwhile.MatchString(undone.Error()) {
				ends["rolled back"]++
			} else if want := heldByOther(from, to); isRefusal(err, want) {
				ends["refused"]++
			} else {
				t.Errorf("%s %d (%s): join: %v\nwant:\n%s", side, k, p.hit, err, want)
			}
			becomes(t, "the host that did not get it", before[to], to)
			if _, err := join(t, h, m, options); err != nil {
				t.Fatalf("join afterwards: %v", err)
			}
		}
		if err := works(t, credential(t, to, "shared")); err != nil {
			t.Errorf("the stored credential does not work: %v", err)
		}
		if _, err := unjoin(t, h, m, federate.UnjoinOptions{Name: "shared"}); err != nil {
			t.Fatal(err)
		}
		becomes(t, "the host that it joined", before[to], to)
		becomes(t, "the member", before[west], west)
		return true
	}
	step := map[federate.Side]int{federate.SideHost: 1, federate.SideMember: 1}
	if testing.Short() {
		step = map[federate.Side]int{federate.SideHost: 9, federate.SideMember: 19}
	}
	for _, side := range []federate.Side{federate.SideHost, federate.SideMember} {
		for k := 1; round(side, k); k += step[side] {
		}
	}
	t.Logf("the joins: %v", ends)
	if !testing.Short() && (ends["joined"] == 0 || ends["refused"] == 0) {
		t.Errorf("the joins: %v; want some that joined, and some that were refused", ends)
	}
}

// goneMeanwhile is what a join says that saw a cluster which was just leaving.
var goneMeanwhile = regexp.MustCompile(`^cannot join "shared" to federation "shared"; what was begun was rolled back
\* member: [A-Z][A-Za-z]+ "[a-z:/-]+": was removed by somebody else while this join ran: run join again$`)

// heldByOther is the finding with which a host is told that another one has the cluster.
func heldByOther(holder, loser *env.Cluster) string {
	return `member: ConfigMap "kubefederate-member/membership": this cluster is member "shared" of federation "shared" of another host (cluster ID ` + holder.ID +
		`, this one has ` + loser.ID + `): let it leave there first: kubectl federate unjoin shared --member-context west --context OTHER-HOST; ` +
		`or, if that host is gone for good: kubectl federate join shared --federation shared --member-context west --take-over`
}

// isRefusal says whether err is a refusal with one finding.
func isRefusal(err error, finding string) bool {
	refusal, ok := errors.AsType[*federate.Refusal](err)
	return ok && len(refusal.Findings) == 1 && refusal.Findings[0].String() == finding
}

// TestJoinAgainstUnjoin runs both at once. Whoever wins, running the loser again brings the cluster where it
// wants it.
func TestJoinAgainstUnjoin(t *testing.T) {
	hostCluster, west := joinHost(t), joinFleet(t).Cluster("west")
	userNamespace(t, west)
	fed := federation(t, hostCluster, "tug", map[string]any{})
	before, hostBefore := snapshot(t, west), snapshot(t, hostCluster)
	h, m := connectHost(t, hostCluster.Config()), connectMember(t, west.Config())
	options, left := federate.JoinOptions{Name: "tug", Federation: fed}, federate.UnjoinOptions{Name: "tug"}
	for i := range rounds(12) {
		if i%2 == 0 {
			if _, err := join(t, h, m, options); err != nil {
				t.Fatal(err)
			}
		}
		errs := atOnce(2, func(i int) error {
			if i == 0 {
				_, err := join(t, connectHost(t, hostCluster.Config()), connectMember(t, west.Config()), options)
				return err
			}
			_, err := unjoin(t, connectHost(t, hostCluster.Config()), connectMember(t, west.Config()), left)
			return err
		})
		t.Logf("join: %v; unjoin: %v", errs[0], errs[1])
		if _, err := join(t, h, m, options); err != nil {
			t.Fatalf("join afterwards: %v", err)
		}
		if _, err := unjoin(t, h, m, left); err != nil {
			t.Fatalf("unjoin afterwards: %v", err)
		}
		becomes(t, "the member", before, west)
		becomes(t, "the host", hostBefore, hostCluster)
	}
}

// TestInterrupted ends the context in the middle of a join: what was begun is rolled back all the same.
func TestInterrupted(t *testing.T) {
	hostCluster, west := joinHost(t), joinFleet(t).Cluster("west")
	userNamespace(t, west)
	fed := federation(t, hostCluster, "interrupt", map[string]any{})
	before, hostBefore := snapshot(t, west), snapshot(t, hostCluster)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	plan, err := federate.PlanJoin(ctx, connectHost(t, hostCluster.Config()), connectMember(t, west.Config()), federate.JoinOptions{Name: "interrupt", Federation: fed})
	if err != nil {
		t.Fatal(err)
	}
	var undone []string
	_, err = plan.Apply(ctx, func(s federate.Step) {
		switch {
		case s.Verb == federate.VerbRequest:
			cancel()
		case s.Verb == federate.VerbUndo:
			undone = append(undone, s.String())
		}
	})
	var u *federate.Undone
	if !errors.As(err, &u) || !errors.Is(err, context.Canceled) {
		t.Errorf("error %T: %v", err, err)
	}
	if len(undone) < 5 || undone[len(undone)-1] != `host   undo      MemberCluster "interrupt"` {
		t.Errorf("undone:\n%s", strings.Join(undone, "\n"))
	}
	becomes(t, "the member", before, west)
	becomes(t, "the host", hostBefore, hostCluster)
}

// TestInsecureMember joins a cluster whose certificate the caller does not verify: refused, unless the federation
// allows it.
func TestInsecureMember(t *testing.T) {
	hostCluster, west := joinHost(t), joinFleet(t).Cluster("west")
	snapshot(t, west)
	strict := federation(t, hostCluster, "strict", map[string]any{})
	lax := federation(t, hostCluster, "lax", map[string]any{"allowInsecureTLS": true})
	config := west.Config()
	config.CAData, config.Insecure = nil, true
	h, m := connectHost(t, hostCluster.Config()), connectMember(t, config)
	_, err := federate.PlanJoin(t.Context(), h, m, federate.JoinOptions{Name: "insecure", Federation: strict})
	wantRefusal(t, err, `cannot join "insecure" to federation "strict"; nothing was changed
* member: endpoint "`+m.Server()+`": the context skips the verification of the certificate (insecure-skip-tls-verify), which the federation does not allow: give the CA with --member-certificate-authority, or let an administrator set spec.allowInsecureTLS`)
	// With the CA given, the stored endpoint is verified, whatever the caller's kubeconfig says.
	plan, err := federate.PlanJoin(t.Context(), h, m, federate.JoinOptions{Name: "insecure", Federation: strict, CABundle: west.Config().CAData})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := plan.Apply(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := unjoin(t, h, m, federate.UnjoinOptions{Name: "insecure"}); err != nil {
		t.Fatal(err)
	}
	// A CA that did not sign it does not help.
	_, err = federate.PlanJoin(t.Context(), h, m, federate.JoinOptions{Name: "insecure", Federation: strict, CABundle: hostCluster.Config().CAData})
	wantRefusal(t, err, `cannot join "insecure" to federation "strict"; nothing was changed
* member: endpoint "`+m.Server()+`": the certificate does not verify: tls: failed to verify certificate: x509: certificate signed by unknown authority: give the CA with --member-certificate-authority, or a URL whose name is in the certificate with --member-server`)
	result, err := join(t, h, m, federate.JoinOptions{Name: "insecure", Federation: lax})
	if err != nil {
		t.Fatal(err)
	}
	if !result.Member.Spec.InsecureSkipTLSVerify {
		t.Error("the member does not say that its certificate is not verified")
	}
	if _, err := unjoin(t, h, m, federate.UnjoinOptions{Name: "insecure"}); err != nil {
		t.Fatal(err)
	}
}

// TestWrongEndpoint gives an endpoint that leads to another cluster: the join is rolled back.
func TestWrongEndpoint(t *testing.T) {
	hostCluster, west, east := joinHost(t), joinFleet(t).Cluster("west"), joinFleet(t).Cluster("east")
	userNamespace(t, west)
	fed := federation(t, hostCluster, "wrong", map[string]any{})
	before, hostBefore := snapshot(t, west), snapshot(t, hostCluster)
	h, m := connectHost(t, hostCluster.Config()), connectMember(t, west.Config())
	elsewhere := connectMember(t, east.Config()).Server()
	_, err := join(t, h, m, federate.JoinOptions{Name: "wrong", Federation: fed, Server: elsewhere, CABundle: east.Config().CAData})
	wantRefusal(t, err, `cannot join "wrong" to federation "wrong"; what was begun was rolled back
* member: endpoint "`+elsewhere+`": does not take the new credential: Unauthorized: see that the endpoint is this member's own and hands tokens on to its API server`)
	becomes(t, "the member", before, west)
	becomes(t, "the host", hostBefore, hostCluster)
}

func rulesReview(namespace string) *authorizationv1.SelfSubjectRulesReview {
	return &authorizationv1.SelfSubjectRulesReview{Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: namespace}}
}
