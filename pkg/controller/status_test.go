package controller

import (
	"encoding/base64"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// good is a member in good standing; a test case states only its fault.
func good(t *testing.T) observed {
	t.Helper()
	m := &v1alpha1.MemberCluster{}
	m.Name, m.UID, m.Generation = "us-east", "uid-1", 3
	m.Labels = map[string]string{v1alpha1.LabelFederation: "prod"}
	m.Spec.Server = "https://us-east.example.com:6443"
	f := &v1alpha1.Federation{}
	f.Name = "prod"
	f.Spec.Acceptance = v1alpha1.AcceptAutomatic
	s := &corev1.Secret{}
	s.Name, s.Namespace = m.Name, v1alpha1.CredentialsNamespace
	s.Labels = map[string]string{v1alpha1.LabelFederation: "prod", v1alpha1.LabelMember: "us-east"}
	s.OwnerReferences = []metav1.OwnerReference{{Kind: "MemberCluster", Name: m.Name, UID: m.UID}}
	o := observed{member: m, federation: f, credential: s, now: now}
	o.store(t, func(*kubeconfig.Access) {})
	return o
}

func token(claims string) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"RS256"}`)) + "." + encode([]byte(claims)) + "." + encode([]byte("signature"))
}

// store puts a credential into the Secret, changed by change.
func (o *observed) store(t *testing.T, change func(*kubeconfig.Access)) {
	t.Helper()
	access := &kubeconfig.Access{Server: o.member.Spec.Server, Token: token(fmt.Sprintf(`{"exp":%d}`, now.Add(time.Hour).Unix()))}
	change(access)
	data, err := access.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	o.credential.Data = map[string][]byte{v1alpha1.CredentialKey: data}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	const (
		renew  = "; renew it: kubectl federate join us-east --federation prod --member-context CONTEXT"
		rotate = "; renew it: kubectl federate rotate us-east --member-context CONTEXT"
	)
	lives := func(before, after time.Duration) func(*observed) {
		return func(o *observed) {
			o.store(t, func(a *kubeconfig.Access) {
				a.Token = token(fmt.Sprintf(`{"iat":%d,"exp":%d}`, now.Add(-before).Unix(), now.Add(after).Unix()))
			})
		}
	}
	for _, tt := range []struct {
		name      string
		fault     func(*observed)
		phase     v1alpha1.Phase
		condition string
		reason    string
		message   string
	}{
		{"ready", func(*observed) {}, v1alpha1.PhaseReady, v1alpha1.ConditionCredentialValid, v1alpha1.ReasonCredentialStored,
			"a credential for the member's endpoint is stored"},
		{"leaving", func(o *observed) { o.member.DeletionTimestamp = &metav1.Time{Time: now} }, v1alpha1.PhaseLeaving,
			v1alpha1.ConditionAccepted, v1alpha1.ReasonAccepted, "the cluster is a member of the federation"},
		{"no credential", func(o *observed) { o.credential = nil }, v1alpha1.PhaseJoining, v1alpha1.ConditionCredentialValid, v1alpha1.ReasonCredentialMissing,
			"the join is not finished; finish it: kubectl federate join us-east --federation prod --member-context CONTEXT"},
		{"no federation", func(o *observed) { o.federation = nil }, v1alpha1.PhasePending, v1alpha1.ConditionAccepted, v1alpha1.ReasonFederationMissing,
			`federation "prod" does not exist`},
		{"not accepted", func(o *observed) { o.federation.Spec.Acceptance = v1alpha1.AcceptManual }, v1alpha1.PhasePending, v1alpha1.ConditionAccepted,
			v1alpha1.ReasonAwaitingApproval, `federation "prod" accepts members by hand: someone with the verb approve on federations/prod sets spec.accepted`},
		{"accepted", func(o *observed) {
			o.federation.Spec.Acceptance = v1alpha1.AcceptManual
			o.member.Spec.Accepted = true
		}, v1alpha1.PhaseReady, v1alpha1.ConditionAccepted, v1alpha1.ReasonAccepted, "the cluster is a member of the federation"},
		{"suspended", func(o *observed) { o.member.Spec.Suspended = true }, v1alpha1.PhaseSuspended, v1alpha1.ConditionAccepted, v1alpha1.ReasonAccepted,
			"the cluster is a member of the federation"},
		{"another federation's", func(o *observed) { o.credential.Labels[v1alpha1.LabelFederation] = "test" }, v1alpha1.PhaseNotReady,
			v1alpha1.ConditionCredentialValid, v1alpha1.ReasonCredentialForeign, `the stored credential was made for federation "test"` + renew},
		{"another object's", func(o *observed) { o.credential.OwnerReferences[0].UID = "uid-0" }, v1alpha1.PhaseNotReady,
			v1alpha1.ConditionCredentialValid, v1alpha1.ReasonCredentialForeign, "the stored credential does not belong to this MemberCluster" + renew},
		{"another server", func(o *observed) { o.member.Spec.Server = "https://elsewhere.example.com" }, v1alpha1.PhaseNotReady,
			v1alpha1.ConditionCredentialValid, v1alpha1.ReasonCredentialMismatch, "the stored credential has another server than the MemberCluster" + renew},
		{"another proxy", func(o *observed) { o.member.Spec.ProxyURL = "http://proxy.example.com" }, v1alpha1.PhaseNotReady,
			v1alpha1.ConditionCredentialValid, v1alpha1.ReasonCredentialMismatch, "the stored credential has another proxy than the MemberCluster" + renew},
		{"no end", func(o *observed) { o.store(t, func(a *kubeconfig.Access) { a.Token = token(`{}`) }) }, v1alpha1.PhaseNotReady,
			v1alpha1.ConditionCredentialValid, v1alpha1.ReasonCredentialEndless, "the stored credential has no end" + renew},
		{"expired", func(o *observed) { o.now = now.Add(time.Hour) }, v1alpha1.PhaseNotReady,
			v1alpha1.ConditionCredentialValid, v1alpha1.ReasonCredentialExpired, "the stored credential ended at 2026-11-23T13:00:00Z" + rotate},
		{"a fifth of its life is left", lives(4*time.Hour, time.Hour), v1alpha1.PhaseReady,
			v1alpha1.ConditionCredentialValid, v1alpha1.ReasonCredentialExpiring, "the stored credential ends at 2026-11-23T13:00:00Z" + rotate},
		{"more than a fifth is left", lives(4*time.Hour-time.Second, time.Hour), v1alpha1.PhaseReady,
			v1alpha1.ConditionCredentialValid, v1alpha1.ReasonCredentialStored, "a credential for the member's endpoint is stored"},
		{"not ours", func(o *observed) { o.credential.Data = nil }, v1alpha1.PhaseNotReady,
			v1alpha1.ConditionCredentialValid, v1alpha1.ReasonCredentialMalformed, "the stored kubeconfig refused: current-context is not set" + renew},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := good(t)
			tt.fault(&o)
			status := o.status()
			if status.Phase != tt.phase {
				t.Errorf("phase %s, want %s", status.Phase, tt.phase)
			}
			c := meta.FindStatusCondition(status.Conditions, tt.condition)
			if c == nil {
				t.Fatalf("no condition %s", tt.condition)
			}
			if c.Reason != tt.reason || c.Message != tt.message {
				t.Errorf("%s: %s", tt.condition, cmp.Diff([]string{tt.reason, tt.message}, []string{c.Reason, c.Message}))
			}
			if status.ObservedGeneration != 3 || c.ObservedGeneration != 3 {
				t.Errorf("observed generations %d and %d, want 3", status.ObservedGeneration, c.ObservedGeneration)
			}
		})
	}
}

// TestNextLook comes back when a fifth of a credential's life is left, again at its end, and then no more.
func TestNextLook(t *testing.T) {
	t.Parallel()
	o := good(t)
	o.store(t, func(a *kubeconfig.Access) {
		a.Token = token(fmt.Sprintf(`{"iat":%d,"exp":%d}`, now.Unix(), now.Add(5*time.Hour).Unix()))
	})
	for _, want := range []time.Time{now.Add(4 * time.Hour), now.Add(5 * time.Hour), {}} {
		got := o.nextLook()
		if !got.Equal(want) {
			t.Errorf("at %s: %s, want %s", o.now, got, want)
		}
		o.now = got
	}
	if o.credential = nil; !o.nextLook().IsZero() {
		t.Error("a look without a credential")
	}
}

func TestStatusKeepsTransitionTimes(t *testing.T) {
	t.Parallel()
	o := good(t)
	o.member.Status = o.status()
	then := metav1.NewTime(now.Add(-time.Hour))
	for i := range o.member.Status.Conditions {
		o.member.Status.Conditions[i].LastTransitionTime = then
	}
	if diff := cmp.Diff(o.member.Status, o.status()); diff != "" {
		t.Errorf("a status that did not change differs:\n%s", diff)
	}
}

func TestCount(t *testing.T) {
	t.Parallel()
	member := func(phase v1alpha1.Phase) (m v1alpha1.MemberCluster) {
		m.Status.Phase = phase
		return m
	}
	f := &v1alpha1.Federation{}
	f.Generation = 2
	got := count(f, []v1alpha1.MemberCluster{member(v1alpha1.PhaseReady), member(v1alpha1.PhasePending), member(v1alpha1.PhaseReady), member("")})
	want := v1alpha1.FederationStatus{ObservedGeneration: 2, Members: 4, Ready: 2, Pending: 1}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestTouchesMembers holds that a new count or new rules of a federation do not make the manager look at its members.
func TestTouchesMembers(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*v1alpha1.Federation)
		want   bool
	}{
		"a count":         {func(f *v1alpha1.Federation) { f.Status.Members++ }, false},
		"rules":           {func(f *v1alpha1.Federation) { f.Generation, f.Spec.KubernetesVersions = 2, ">=1.33" }, false},
		"acceptance":      {func(f *v1alpha1.Federation) { f.Spec.Acceptance = v1alpha1.AcceptManual }, true},
		"insecure TLS":    {func(f *v1alpha1.Federation) { f.Spec.AllowInsecureTLS = true }, true},
		"another of name": {func(f *v1alpha1.Federation) { f.UID = "2" }, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before := &v1alpha1.Federation{}
			after := before.DeepCopy()
			test.change(after)
			if got := touchesMembers(event.UpdateEvent{ObjectOld: before, ObjectNew: after}); got != test.want {
				t.Errorf("%v, want %v", got, test.want)
			}
		})
	}
}
