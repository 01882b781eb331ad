//go:build unix

package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
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
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/member"
	"github.com/kubefederate/kubectl-federate/test/env"
)

// TestMemberRights lists what the accounts on a member may do, as the member's API server judges it, and
// compares it with what docs/security.md promises.
func TestMemberRights(t *testing.T) {
	c := addMember(t, env.Spec{Name: "rights", ControllerManager: true})
	aboutAPI(t, c)
	p := newPairOf(t, joinHost(t), c, "rights", viewAccess)
	result := p.joined(federate.JoinOptions{TokenLifetime: time.Hour})
	access := p.credential()
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
		o, err := p.m.Get(t.Context(), member.PropertyRef(name))
		if err != nil {
			t.Fatal(err)
		}
		if got, _, _ := unstructured.NestedString(o.Object, "spec", "value"); got != value {
			t.Errorf("ClusterProperty %s is %q, want %q", name, got, value)
		}
	}

	p.left("rights")
	// API servers cache what they found out about a token for about ten seconds.
	env.Eventually(t, "the token is refused", func(ctx context.Context) error {
		_, err := manager.CoreV1().Namespaces().Get(ctx, "kube-system", metav1.GetOptions{})
		if apierrors.IsUnauthorized(err) {
			return nil
		}
		return fmt.Errorf("the revoked token got: %w", err)
	})
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
	federation(t, joinHost(t), "foreign", nil)
	p := newPair(t, "team", nil)
	for _, o := range manifests.JoinerBinding("team", rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: "User", Name: "jo"}) {
		apply(t, p.host.Config(), o)
	}
	p.remember()
	p.h = connectHost(t, p.host.User("jo"))
	env.Eventually(t, "the bindings hold", func(ctx context.Context) error {
		_, err := p.h.Federation(ctx, "team")
		return err
	})
	for range 2 { // the second time the credential is there, and is replaced unread
		p.joined(federate.JoinOptions{})
	}
	made, err := p.h.Member(t.Context(), "team")
	if err != nil || !strings.HasPrefix(made.Annotations[v1alpha1.AnnotationJoinedBy], "jo ") {
		t.Errorf("joined by %q, %v", made.Annotations[v1alpha1.AnnotationJoinedBy], err)
	}
	p.refused(federate.JoinOptions{Name: "stranger", Federation: "foreign", Cluster: command.Cluster{Context: "west"}}, `cannot join "stranger" to federation "foreign"; nothing was changed
* host: you are user "jo" (groups "system:authenticated"), and not allowed to do what follows
* host: you are not allowed to join federations.kubefederate.io "foreign": ask an administrator of the host for the role joiner of the federation: kubectl federate grant foreign --joiner user:jo
* member: ConfigMap "kubefederate-member/membership": this cluster is member "team" of federation "team" of this host: unjoin it first: kubectl federate unjoin team --member-context west`)
	p.left("team")
}

// TestMissingRights gets every missing right of both sides at once, each once and with who one is there, and changes nothing.
func TestMissingRights(t *testing.T) {
	p := newPair(t, "visited", nil)
	p.h, p.m = connectHost(t, p.host.User("visitor")), connectMember(t, p.member.User("visitor"))
	_, err := p.planJoin(federate.JoinOptions{Name: "none", Federation: "none"})
	refusal, ok := errors.AsType[*federate.Refusal](err)
	if !ok {
		t.Fatalf("error %T: %v", err, err)
	}
	hosts, members := 0, 0
	for i, f := range refusal.Findings {
		if slices.Contains(refusal.Findings[:i], f) {
			t.Errorf("twice: %s", f)
		}
		switch {
		case f.Cause == `you are user "visitor" (groups "system:authenticated"), and not allowed to do what follows`:
		case f.Side == cluster.Host && strings.HasPrefix(f.Cause, "you are not allowed to "):
			hosts++
		case f.Side == cluster.Member && strings.HasPrefix(f.Cause, "you are not allowed to "):
			members++
		default:
			t.Errorf("finding %s", f)
		}
	}
	if hosts != 8 || members < 20 {
		t.Errorf("%d rights on the host, %d on the member:\n%v", hosts, members, err)
	}
	p.unchanged()
}

// grant gives a user of a cluster rights, until the test ends or calls withdraw.
func grant(t *testing.T, c *env.Cluster, user string, rules ...rbacv1.PolicyRule) (withdraw func()) {
	t.Helper()
	admin, meta := clientset(t, c.Config()).RbacV1(), metav1.ObjectMeta{Name: user}
	if _, err := admin.ClusterRoles().Create(t.Context(), &rbacv1.ClusterRole{ObjectMeta: meta, Rules: rules}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: user},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: user}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	withdraw = sync.OnceFunc(func() {
		ctx := context.WithoutCancel(t.Context())
		if err := errors.Join(admin.ClusterRoleBindings().Delete(ctx, user, metav1.DeleteOptions{}), admin.ClusterRoles().Delete(ctx, user, metav1.DeleteOptions{})); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(withdraw)
	return withdraw
}

// TestKeptNamespace unjoins as a user who may not delete namespaces: all grants are revoked, and what stays is named.
func TestKeptNamespace(t *testing.T) {
	p := newPair(t, "kept", nil)
	p.joined(federate.JoinOptions{})
	credential := p.credential()
	withdraw := grant(t, p.member, "ned",
		rbacv1.PolicyRule{APIGroups: []string{"", "rbac.authorization.k8s.io", "admissionregistration.k8s.io"}, Verbs: []string{"get", "delete"},
			Resources: []string{"secrets", "configmaps", "serviceaccounts", "clusterroles", "clusterrolebindings", "roles", "rolebindings", cluster.AdmissionPolicies.Resource, "validatingadmissionpolicybindings"}},
		rbacv1.PolicyRule{APIGroups: []string{"", "about.k8s.io"}, Resources: []string{"namespaces", "clusterproperties"}, Verbs: []string{"get"}},
	)
	p.m = connectMember(t, p.member.User("ned"))
	env.Eventually(t, "the binding holds", func(ctx context.Context) error { _, err := p.m.ID(ctx); return err })
	wantNote(t, p.unjoined(federate.UnjoinOptions{Cluster: command.Cluster{Context: "west"}}).Notes,
		`member: Namespace "kubefederate-member": stays, since you are not allowed to delete namespaces "kubefederate-member": `+
			`if nothing else is in it, an administrator of the cluster can delete it: kubectl delete namespaces kubefederate-member --context west`)
	p.revoked("after unjoin", credential)
	if err := clientset(t, p.member.Config()).CoreV1().Namespaces().Delete(t.Context(), v1alpha1.MemberNamespace, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	withdraw()
	p.unchanged()
}

// TestEscalation joins as a user who may make roles on the member but does not hold what the
// manager gets: nothing may be left of the try.
func TestEscalation(t *testing.T) {
	p := newPair(t, "escalate", nil)
	grant(t, p.member, "al",
		rbacv1.PolicyRule{APIGroups: []string{"", "rbac.authorization.k8s.io", "about.k8s.io"}, Resources: []string{"namespaces", "secrets", "configmaps", "serviceaccounts", "clusterroles", "clusterrolebindings", "roles", "rolebindings", "clusterproperties"},
			Verbs: []string{"get", "list", "create", "patch", "update", "delete"}},
		rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"nodes"}, Verbs: []string{"list"}},
		rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"serviceaccounts/token"}, ResourceNames: []string{v1alpha1.ManagerAccount}, Verbs: []string{"create"}},
	)
	p.remember()
	p.m = connectMember(t, p.member.User("al"))
	env.Eventually(t, "the binding holds", func(ctx context.Context) error { _, err := p.m.ID(ctx); return err })
	p.refused(federate.JoinOptions{}, `cannot join "escalate" to federation "escalate"; nothing was changed
* member: Role "kubefederate-member/kubefederate-manager": roles.rbac.authorization.k8s.io "kubefederate-manager" is forbidden: user "al" (groups=["system:authenticated"]) is attempting to grant RBAC permissions not currently held: {APIGroups:[""], Resources:["serviceaccounts/token"], ResourceNames:["kubefederate-consumer"], Verbs:["create"]}: Kubernetes does not let you grant rights that you do not hold: join as an administrator of the member`)
	p.unchanged()
}
