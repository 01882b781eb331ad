package federate

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// TestCeasedOf reads what the manager reports of a credential.
func TestCeasedOf(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, request     string
		credential, ready string
		valid             metav1.ConditionStatus
		want              ceased
		why               string
	}{
		{"not answered yet", "earlier", v1alpha1.ReasonCredentialRevoked, v1alpha1.ReasonUnauthorized, metav1.ConditionFalse, ceasedPending, ""},
		{"refused", "r", v1alpha1.ReasonCredentialRevoked, v1alpha1.ReasonUnauthorized, metav1.ConditionFalse, ceasedYes, ""},
		{"expired", "r", v1alpha1.ReasonCredentialExpired, v1alpha1.ReasonCredentialExpired, metav1.ConditionFalse, ceasedYes, ""},
		{"none was stored", "r", v1alpha1.ReasonCredentialMissing, v1alpha1.ReasonCredentialMissing, metav1.ConditionFalse, ceasedYes, ""},
		{"not tried, since it does not fit the member", "r", v1alpha1.ReasonCredentialMismatch, v1alpha1.ReasonCredentialMismatch, metav1.ConditionFalse, ceasedUnknown, "CredentialMismatch"},
		{"accepted", "r", v1alpha1.ReasonCredentialStored, v1alpha1.ReasonReachable, metav1.ConditionTrue, ceasedNo, ""},
		{"accepted, without all rights", "r", v1alpha1.ReasonCredentialStored, v1alpha1.ReasonForbidden, metav1.ConditionTrue, ceasedNo, ""},
		{"not to be reached", "r", v1alpha1.ReasonCredentialStored, v1alpha1.ReasonTimedOut, metav1.ConditionTrue, ceasedUnknown, "TimedOut"},
		{"another cluster", "r", v1alpha1.ReasonCredentialStored, v1alpha1.ReasonIdentityMismatch, metav1.ConditionTrue, ceasedUnknown, "IdentityMismatch"},
	} {
		m := &v1alpha1.MemberCluster{}
		m.Status.ObservedProbeRequest = tt.request
		m.Status.Conditions = []metav1.Condition{
			{Type: v1alpha1.ConditionCredentialValid, Status: tt.valid, Reason: tt.credential, Message: tt.credential},
			{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: tt.ready, Message: tt.ready},
		}
		if got, why := ceasedOf(m, "r"); got != tt.want || why != tt.why {
			t.Errorf("%s: %d, %q; want %d, %q", tt.name, got, why, tt.want, tt.why)
		}
	}
	m := &v1alpha1.MemberCluster{}
	m.Status.ObservedProbeRequest = "r"
	if got, _ := ceasedOf(m, "r"); got != ceasedUnknown {
		t.Errorf("without conditions: %d", got)
	}
}

// TestSameFault holds which unknown answers are final: those that were the case before anything was revoked.
func TestSameFault(t *testing.T) {
	t.Parallel()
	member := func(status metav1.ConditionStatus, reason string) *v1alpha1.MemberCluster {
		m := &v1alpha1.MemberCluster{}
		if reason != "" {
			m.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: status, Reason: reason}}
		}
		return m
	}
	timedOut, reachable := member(metav1.ConditionFalse, v1alpha1.ReasonTimedOut), member(metav1.ConditionTrue, v1alpha1.ReasonReachable)
	for name, tt := range map[string]struct {
		before, now *v1alpha1.MemberCluster
		want        bool
	}{
		"silent before and now": {timedOut, timedOut, true},
		"silent now":            {reachable, timedOut, false},
		"another fault now":     {timedOut, member(metav1.ConditionFalse, v1alpha1.ReasonServerError), false},
		"never probed before":   {member("", ""), timedOut, false},
		"ready before and now":  {reachable, reachable, false},
	} {
		if got := sameFault(tt.before, tt.now); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
