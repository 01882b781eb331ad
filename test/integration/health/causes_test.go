//go:build unix

package health

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/test/env"
)

// TestCauses deletes, one after another, everything that the manager's way to a member rests on. Each time the status has the cause,
// as far as the manager can know it, and the join that it proposes mends it; and each change of the phase is one Event.
func TestCauses(t *testing.T) {
	east := fleet(t).Cluster("east")
	h, m := connect(t, east)
	hosts, members := clientOf(t, fleet(t).Cluster("host")), clientOf(t, east)
	join(t, h, m, federate.JoinOptions{Name: "east"})
	joined := becomes(t, h, "east", answers)
	const proposal = ": kubectl federate join east --federation prod --member-context CONTEXT"
	gone := health{v1alpha1.PhaseNotReady, "CredentialMissing", "no credential is stored: its Secret was deleted; store another" + proposal}
	refused := health{v1alpha1.PhaseNotReady, "Unauthorized", joined.Spec.Server + " does not accept the stored credential (401): its account or its Secret in namespace " +
		"kubefederate-member, or that namespace, was deleted, or the cluster signs tokens with another key; store another" + proposal}
	forbidden := health{v1alpha1.PhaseNotReady, "Forbidden", "the stored credential may not get namespace kube-system at " + joined.Spec.Server +
		" (403), which ClusterRole kubefederate-member:manager and its binding allow; restore them" + proposal}
	core := members.CoreV1()
	var want []string
	for _, step := range []struct {
		name   string
		remove func(context.Context, metav1.DeleteOptions) error
		// is what the host says then, and valid the reason of CredentialValid.
		is    health
		valid string
	}{
		{"credential", func(ctx context.Context, o metav1.DeleteOptions) error {
			return hosts.CoreV1().Secrets(v1alpha1.CredentialsNamespace).Delete(ctx, "east", o)
		}, gone, "CredentialMissing"},
		{"namespace", func(ctx context.Context, o metav1.DeleteOptions) error {
			return core.Namespaces().Delete(ctx, v1alpha1.MemberNamespace, o)
		}, refused, "CredentialRevoked"},
		{"account", func(ctx context.Context, o metav1.DeleteOptions) error {
			return core.ServiceAccounts(v1alpha1.MemberNamespace).Delete(ctx, v1alpha1.ManagerAccount, o)
		}, refused, "CredentialRevoked"},
		{"binding Secret", func(ctx context.Context, o metav1.DeleteOptions) error {
			return core.Secrets(v1alpha1.MemberNamespace).Delete(ctx, "kubefederate-manager-binding", o)
		}, refused, "CredentialRevoked"},
		{"ClusterRoleBinding", func(ctx context.Context, o metav1.DeleteOptions) error {
			return members.RbacV1().ClusterRoleBindings().Delete(ctx, "kubefederate-member:manager", o)
		}, forbidden, "CredentialRevoked"},
	} {
		if err := step.remove(t.Context(), metav1.DeleteOptions{}); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		became := becomes(t, h, "east", step.is)
		if c := meta.FindStatusCondition(became.Status.Conditions, v1alpha1.ConditionCredentialValid); c == nil || c.Status != metav1.ConditionFalse || c.Reason != step.valid {
			t.Errorf("%s: CredentialValid is %+v, want %s", step.name, c, step.valid)
		}
		// A join waits for nothing: a namespace may still be terminating.
		env.Eventually(t, "the namespace is there, or gone", func(ctx context.Context) error {
			ns, err := core.Namespaces().Get(ctx, v1alpha1.MemberNamespace, metav1.GetOptions{})
			if err == nil && ns.DeletionTimestamp != nil {
				err = errors.New("it is terminating")
			}
			if apierrors.IsNotFound(err) {
				err = nil
			}
			return err
		})
		join(t, h, m, federate.JoinOptions{Name: "east"})
		back := becomes(t, h, "east", answers)
		if c := meta.FindStatusCondition(back.Status.Conditions, v1alpha1.ConditionCredentialValid); c == nil || c.Status != metav1.ConditionTrue {
			t.Errorf("%s: CredentialValid is %+v after the join", step.name, c)
		}
		if back.Spec.Server != joined.Spec.Server || back.UID != joined.UID {
			t.Errorf("%s: the join changed the member (-before +after):\n%s", step.name, cmp.Diff(joined, back))
		}
		want = append(want, "Warning NotReady: "+step.is.Message, "Normal Ready: "+answers.Message)
	}
	// The membership record is not needed to reach it.
	if err := core.ConfigMaps(v1alpha1.MemberNamespace).Delete(t.Context(), v1alpha1.MembershipName, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	request := map[string]any{"metadata": map[string]any{"annotations": map[string]any{v1alpha1.AnnotationProbeRequested: "record"}}}
	if _, err := h.PatchMember(t.Context(), "east", request, cluster.DryRunNone); err != nil {
		t.Fatal(err)
	}
	granted := func(want string) {
		t.Helper()
		env.Eventually(t, "the condition Granted", func(ctx context.Context) error {
			now, err := h.Member(ctx, "east")
			if err != nil {
				return err
			}
			c := meta.FindStatusCondition(now.Status.Conditions, v1alpha1.ConditionGranted)
			if got := fmt.Sprintf("%s: %s %s: %s", now.Status.Phase, c.Status, c.Reason, c.Message); got != want {
				return errors.New(got)
			}
			return nil
		})
	}
	granted("Ready: False MembershipMissing: the membership record of the cluster, ConfigMap kubefederate-member/membership, was deleted, " +
		"so that another host could join the cluster; write it again" + proposal)
	join(t, h, m, federate.JoinOptions{Name: "east"})
	granted("Ready: True Granted: the manager may do on the cluster what it needs to")

	want = append([]string{"Normal Ready: " + answers.Message}, want...)
	events(t, hosts, joined, want)
	unjoin(t, h, m, "east")
	// That it refuses the credential then is no fault.
	events(t, hosts, joined, want)
}

// events waits until those of the manager about a member are want, in their order: type, reason and text.
func events(t *testing.T, hosts *kubernetes.Clientset, m *v1alpha1.MemberCluster, want []string) {
	t.Helper()
	env.Eventually(t, "the Events of member "+m.Name, func(ctx context.Context) error {
		list, err := hosts.EventsV1().Events(metav1.NamespaceDefault).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		slices.SortFunc(list.Items, func(a, b eventsv1.Event) int { return a.EventTime.Compare(b.EventTime.Time) })
		var got []string
		for _, e := range list.Items {
			if e.Regarding.UID == m.UID && e.ReportingController == v1alpha1.ManagerFieldOwner {
				got = append(got, e.Type+" "+e.Reason+": "+e.Note)
				if e.Series != nil {
					got = append(got, fmt.Sprintf("%d times", e.Series.Count))
				}
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			return errors.New("(-want +got)\n" + diff)
		}
		return nil
	})
}
