//go:build unix

package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/test/env"
)

// policy applies a policy of testdata/policies and its binding to a cluster. The end takes both away again, and waits until
// they are in force no more: until probe, a dry run that they refuse, is let through.
func policy(t *testing.T, c *env.Cluster, name string, probe func(context.Context) error) (end func()) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "policies", name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	admin := connectMember(t, c.Config())
	var refs []cluster.Ref
	decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	for range 2 {
		o := &unstructured.Unstructured{}
		if err := decoder.Decode(o); err != nil {
			t.Fatal(err)
		}
		kind := cluster.AdmissionPolicies
		if o.GetKind() != kind.Kind {
			kind = cluster.AdmissionPolicyBindings
		}
		apply(t, c.Config(), o)
		refs = append(refs, kind.Of(o))
	}
	end = func() {
		ctx := context.WithoutCancel(t.Context())
		for _, ref := range refs {
			if err := admin.Delete(ctx, ref, cluster.Preconditions{}, cluster.DryRunNone); err != nil {
				t.Error(err)
			}
		}
		env.Eventually(t, name+" is not in force any more", func(context.Context) error { return probe(ctx) })
	}
	env.Eventually(t, name+" is in force", func(ctx context.Context) error {
		if err := probe(ctx); !apierrors.IsInvalid(err) && !apierrors.IsForbidden(err) {
			return fmt.Errorf("the answer is %w", cmpErr(err))
		}
		return nil
	})
	return end
}

func cmpErr(err error) error {
	if err == nil {
		return errors.New("that it is allowed")
	}
	return err
}

// TestPoliciesOfMembers joins clusters with admission policies that refuse what a join makes. A dry run by the servers and a join
// refuse it in the policy's words, before anything is written.
func TestPoliciesOfMembers(t *testing.T) {
	const account = `member: ServiceAccount "kubefederate-member/kubefederate-manager": `
	for _, tt := range []struct {
		policy string
		// prepared says that our namespace exists: in one that does not, no API server judges anything.
		prepared bool
		want     string
	}{
		{"ns-team", false, `member: Namespace "kubefederate-member": ValidatingAdmissionPolicy 'ns-team' with binding 'ns-team' denied request: every namespace needs the label team`},
		{"no-crb", false, `member: ClusterRoleBinding "kubefederate-member:manager": ValidatingAdmissionPolicy 'no-crb' with binding 'no-crb' denied request: cluster role bindings are made by the platform team`},
		{"no-token", false, account + `ValidatingAdmissionPolicy 'no-token' with binding 'no-token' denied request: tokens are issued by Vault`},
		{"secret-owner", false, `member: Secret "kubefederate-member/kubefederate-manager-binding": ValidatingAdmissionPolicy 'secret-owner' with binding 'secret-owner' denied request: every Secret needs the label owner`},
		{"sa-team", true, account + `ValidatingAdmissionPolicy 'sa-team' with binding 'sa-team' denied request: set automountServiceAccountToken`},
	} {
		t.Run(tt.policy, func(t *testing.T) {
			name := "policy-" + tt.policy
			p := newPair(t, name, nil)
			if tt.prepared {
				p.furnished()
			}
			admin := clientset(t, p.member.Config()).CoreV1()
			dry := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}
			probes := map[string]func(context.Context) error{
				"ns-team": func(ctx context.Context) error {
					_, err := admin.Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "probe"}}, dry)
					return err
				},
				"no-crb": func(ctx context.Context) error {
					_, err := p.m.Create(ctx, cluster.ClusterRoleBindings, probeBinding(), cluster.DryRunServer)
					return err
				},
				"no-token": func(ctx context.Context) error {
					_, err := p.m.TrialToken(ctx)
					return err
				},
				"secret-owner": func(ctx context.Context) error {
					_, err := admin.Secrets("default").Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "probe"}}, dry)
					return err
				},
				"sa-team": func(ctx context.Context) error {
					_, err := admin.ServiceAccounts(v1alpha1.MemberNamespace).Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "probe"}}, dry)
					return err
				},
			}
			end := policy(t, p.member, tt.policy, probes[tt.policy])
			defer end()
			o := federate.JoinOptions{Cluster: command.Cluster{Context: "west"}}
			want := fmt.Sprintf("cannot join %q to federation %q; nothing was changed\n* %s", name, name, tt.want)
			_, err := p.join(o)
			wantRefusal(t, err, want)
			o.DryRun = cluster.DryRunServer
			p.refused(o, want)
		})
	}
}

func probeBinding() *unstructured.Unstructured {
	o := cluster.ClusterRoleBindings.New("", "probe")
	o.Object["roleRef"] = map[string]any{"apiGroup": cluster.ClusterRoles.Group, "kind": cluster.ClusterRoles.Kind, "name": "view"}
	return o
}

// TestPolicyOfAnotherNamespace joins where a policy refuses objects of our namespace alone, which does not exist yet: no API server
// can judge that before. The join is refused in the policy's words, and rolled back.
func TestPolicyOfAnotherNamespace(t *testing.T) {
	env.Full(t, "another policy refuses in TestPolicyOfDefault")
	p := newPair(t, "policy-late", nil)
	admin := clientset(t, p.member.Config()).CoreV1()
	userNamespace(t, p.member) // to see when the policy is in force
	end := policy(t, p.member, "sa-team", func(ctx context.Context) error {
		_, err := admin.ServiceAccounts(v1alpha1.MemberNamespace).Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "probe"}},
			metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return err
	})
	if err := admin.Namespaces().Delete(t.Context(), v1alpha1.MemberNamespace, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	settle(t, p.member)
	_, err := p.join(federate.JoinOptions{Cluster: command.Cluster{Context: "west"}})
	if refusal, ok := errors.AsType[*federate.Refusal](err); !ok || !refusal.Undone ||
		!strings.HasSuffix(err.Error(), "denied request: set automountServiceAccountToken") {
		t.Errorf("error %v, want the policy's refusal, and that all was rolled back", err)
	}
	end()
	p.unchanged()
}

// TestPolicyOfDefault joins where a policy, or a quota, refuses in namespace default what the join makes in a namespace of its own.
// The join goes on; a dry run says what no server could judge.
func TestPolicyOfDefault(t *testing.T) {
	west := command.Cluster{Context: "west"}
	const (
		refused    = `": cannot be judged yet; in namespace "default" it is refused: `
		byPolicy   = `ValidatingAdmissionPolicy 'default-only' with binding 'default-only' denied request: nothing is put into namespace default`
		account    = `member: ServiceAccount "kubefederate-member/kubefederate-manager`
		membership = `member: ConfigMap "kubefederate-member/membership`
		binding    = `member: Secret "kubefederate-member/kubefederate-manager-binding`
	)
	// goesOn wants notes of a dry run alone, and a join that succeeds.
	goesOn := func(t *testing.T, p *pair, want ...string) {
		t.Helper()
		for _, dryRun := range []cluster.DryRun{cluster.DryRunServer, cluster.DryRunNone} {
			plan, err := p.planJoin(federate.JoinOptions{Cluster: west, DryRun: dryRun})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range plan.Notes() {
				if strings.HasPrefix(f.Cause, "cannot be judged") {
					got = append(got, f.String())
				}
			}
			if dryRun == cluster.DryRunNone {
				want = nil
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("notes with dry run %v: %s", dryRun, diff)
			}
		}
		p.joined(federate.JoinOptions{Cluster: west})
	}
	secret := func(name string) *corev1.Secret { return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}} }
	dry := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}

	t.Run("policy", func(t *testing.T) {
		p := newPair(t, "default-policy", nil)
		admin := clientset(t, p.member.Config()).CoreV1()
		end := policy(t, p.member, "default-only", func(ctx context.Context) error {
			_, err := admin.Secrets("default").Create(ctx, secret("probe"), dry)
			return err
		})
		goesOn(t, p, membership+refused+byPolicy, account+refused+byPolicy, binding+refused+byPolicy)
		p.unjoined(federate.UnjoinOptions{Cluster: west})
		end()
		p.unchanged()
	})
	t.Run("quota", func(t *testing.T) {
		p := newPair(t, "default-quota", nil)
		admin := clientset(t, p.member.Config()).CoreV1()
		quota := &corev1.ResourceQuota{
			ObjectMeta: metav1.ObjectMeta{Name: "nothing"},
			Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{corev1.ResourceSecrets: resource.MustParse("0")}},
		}
		made, err := admin.ResourceQuotas("default").Create(t.Context(), quota, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		// As the controller of quotas would, which does not run here.
		made.Status = corev1.ResourceQuotaStatus{Hard: quota.Spec.Hard, Used: quota.Spec.Hard}
		if _, err := admin.ResourceQuotas("default").UpdateStatus(t.Context(), made, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		end := func() {
			if err := admin.ResourceQuotas("default").Delete(context.WithoutCancel(t.Context()), quota.Name, metav1.DeleteOptions{}); err != nil {
				t.Error(err)
			}
		}
		const exceeded = "exceeded quota: nothing, requested: secrets=1, used: secrets=0, limited: secrets=0"
		env.Eventually(t, "the quota is in force", func(ctx context.Context) error {
			if _, err := admin.Secrets("default").Create(ctx, secret("probe"), dry); err == nil || !strings.Contains(err.Error(), exceeded) {
				return fmt.Errorf("the answer is %w", cmpErr(err))
			}
			return nil
		})
		goesOn(t, p, binding+refused+`secrets "kubefederate-manager-binding" is forbidden: `+exceeded)
		end()
		p.left(p.name)
	})
	// A joiner who may ask in the namespaces default and kubefederate-member, and in no other.
	t.Run("rights", func(t *testing.T) {
		p := newPair(t, "default-rights", nil)
		defer prepare(t, p.member)()
		admin := clientset(t, p.member.Config())
		role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "trial"}, Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"serviceaccounts/token"}, ResourceNames: []string{"default"}, Verbs: []string{"create"}},
		}}
		bind := &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "trial"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "trial"},
			Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: "cluster-joiners"}},
		}
		_, roleErr := admin.RbacV1().Roles("default").Create(t.Context(), role, metav1.CreateOptions{})
		_, err := admin.RbacV1().RoleBindings("default").Create(t.Context(), bind, metav1.CreateOptions{})
		if err := errors.Join(roleErr, err); err != nil {
			t.Fatal(err)
		}
		defer func() {
			ctx := context.WithoutCancel(t.Context())
			if err := errors.Join(admin.RbacV1().RoleBindings("default").Delete(ctx, "trial", metav1.DeleteOptions{}), admin.RbacV1().Roles("default").Delete(ctx, "trial", metav1.DeleteOptions{})); err != nil {
				t.Error(err)
			}
		}()
		p.remember()
		p.m = connectMember(t, p.member.User("nina", "cluster-joiners"))
		end := policy(t, p.member, "default-only", func(ctx context.Context) error {
			_, err := p.m.TrialToken(ctx)
			return err
		})
		env.Eventually(t, "the policy answers, and not RBAC", func(ctx context.Context) error {
			if _, err := p.m.TrialToken(ctx); err == nil || !strings.Contains(err.Error(), byPolicy) {
				return fmt.Errorf("the answer is %w", cmpErr(err))
			}
			return nil
		})
		goesOn(t, p, account+refused+byPolicy)
		p.unjoined(federate.UnjoinOptions{Cluster: west})
		end()
		p.unchanged()
	})
}
