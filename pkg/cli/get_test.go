package cli

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// TestCredentialColumn shows what get tells of a credential by what the manager wrote.
func TestCredentialColumn(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name          string
		reason        string
		valid         metav1.ConditionStatus
		ends          time.Duration
		column, cause string
	}{
		{"good", v1alpha1.ReasonCredentialStored, metav1.ConditionTrue, 90 * 24 * time.Hour, "90d", "<none>"},
		{"near its end", v1alpha1.ReasonCredentialExpiring, metav1.ConditionTrue, 18 * 24 * time.Hour, "18d (rotate)", "CredentialExpiring: do this"},
		{"past its end", v1alpha1.ReasonCredentialExpired, metav1.ConditionFalse, -3 * time.Hour, "expired 3h ago", "CredentialExpired: do this"},
		{"past its end, and the manager has not looked", v1alpha1.ReasonCredentialStored, metav1.ConditionTrue, -time.Hour, "expired 60m ago", "<none>"},
		{"missing", v1alpha1.ReasonCredentialMissing, metav1.ConditionFalse, 0, "CredentialMissing", "CredentialMissing: do this"},
	} {
		m := &v1alpha1.MemberCluster{}
		m.Status.Phase = v1alpha1.PhaseReady
		m.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionCredentialValid, Status: tt.valid, Reason: tt.reason, Message: "do this"}}
		if tt.ends != 0 {
			m.Status.CredentialExpiry = &metav1.Time{Time: now.Add(tt.ends)}
		}
		if got := credential(m, now); got != tt.column {
			t.Errorf("%s: column %q, want %q", tt.name, got, tt.column)
		}
		if got := cause(m); got != tt.cause {
			t.Errorf("%s: cause %q, want %q", tt.name, got, tt.cause)
		}
	}
}
