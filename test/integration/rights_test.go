//go:build unix

package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/member"
	"github.com/kubefederate/kubectl-federate/test/env"
)

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
	env.Eventually(t, "the token is refused", func(ctx context.Context) error {
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

func rulesReview(namespace string) *authorizationv1.SelfSubjectRulesReview {
	return &authorizationv1.SelfSubjectRulesReview{Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: namespace}}
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

// TestJoinerRights joins and unjoins as a user who may do that in one federation and read no credential.
func TestJoinerRights(t *testing.T) {
	hostCluster, west := joinHost(t), joinFleet(t).Cluster("west")
	before := snapshot(t, west)
	fed := federation(t, hostCluster, "team", map[string]any{})
	federation(t, hostCluster, "foreign", map[string]any{})
	for _, o := range manifests.JoinerBinding(fed, rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: "User", Name: "jo"}) {
		apply(t, hostCluster.Config(), o)
	}
	hostBefore := snapshot(t, hostCluster)
	h, m := connectHost(t, hostCluster.User("jo")), connectMember(t, west.Config())
	env.Eventually(t, "the bindings hold", func(ctx context.Context) error {
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
	_, err = federate.PlanJoin(t.Context(), h, m, federate.JoinOptions{Name: "stranger", Federation: "foreign", Cluster: command.Cluster{Context: "west"}})
	wantRefusal(t, err, `cannot join "stranger" to federation "foreign"; nothing was changed
* host: you are not allowed to join federations.kubefederate.io "foreign": an administrator of the federation can grant it
* member: ConfigMap "kubefederate-member/membership": this cluster is member "team" of federation "team" of this host: unjoin it first: kubectl federate unjoin team --member-context west`)
	if _, err := unjoin(t, h, m, federate.UnjoinOptions{Name: "team"}); err != nil {
		t.Fatal(err)
	}
	becomes(t, "the member", before, west)
	becomes(t, "the host", hostBefore, hostCluster)
}

// TestMissingRights gets every missing right of both sides at once, and changes nothing.
func TestMissingRights(t *testing.T) {
	hostCluster, west := joinHost(t), joinFleet(t).Cluster("west")
	before, hostBefore := snapshot(t, west), snapshot(t, hostCluster)
	h, m := connectHost(t, hostCluster.User("visitor")), connectMember(t, west.User("visitor"))
	_, err := federate.PlanJoin(t.Context(), h, m, federate.JoinOptions{Name: "none", Federation: "none"})
	var refusal *federate.Refusal
	if !errors.As(err, &refusal) {
		t.Fatalf("error %T: %v", err, err)
	}
	hosts, members := 0, 0
	for _, f := range refusal.Findings {
		switch {
		case f.Side == federate.SideHost && strings.HasPrefix(f.Cause, "you are not allowed to "):
			hosts++
		case f.Side == federate.SideMember && strings.HasPrefix(f.Cause, "you are not allowed to "):
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

// TestEscalation joins as a user who may make roles on the member but does not hold what the
// manager gets: nothing may be left of the try.
func TestEscalation(t *testing.T) {
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
	env.Eventually(t, "the binding holds", func(ctx context.Context) error { _, err := m.ID(ctx); return err })
	_, err := federate.PlanJoin(t.Context(), h, m, federate.JoinOptions{Name: "escalate", Federation: fed})
	wantRefusal(t, err, `cannot join "escalate" to federation "escalate"; nothing was changed
* member: ClusterRole "kubefederate-member:manager": clusterroles.rbac.authorization.k8s.io "kubefederate-member:manager" is forbidden: user "al" (groups=["system:authenticated"]) is attempting to grant RBAC permissions not currently held: {APIGroups:[""], Resources:["serviceaccounts/token"], ResourceNames:["kubefederate-consumer"], Verbs:["create"]}: Kubernetes does not let you grant rights that you do not hold: join as an administrator of the member`)
	becomes(t, "the member", before, west)
	becomes(t, "the host", hostBefore, hostCluster)
}
