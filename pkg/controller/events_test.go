package controller

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// TestRecordPhase holds the Event for each change of phase.
func TestRecordPhase(t *testing.T) {
	t.Parallel()
	conditions := []metav1.Condition{
		{Type: v1alpha1.ConditionAccepted, Message: "accepted"}, {Type: v1alpha1.ConditionReady, Message: "100 % ready"},
	}
	for _, tt := range []struct {
		before, now v1alpha1.Phase
		want        string
	}{
		{"", v1alpha1.PhaseJoining, ""},
		{v1alpha1.PhaseReady, v1alpha1.PhaseReady, ""},
		{v1alpha1.PhaseJoining, v1alpha1.PhaseReady, "Normal Ready 100 % ready"},
		{v1alpha1.PhaseReady, v1alpha1.PhaseOffline, "Warning Offline 100 % ready"},
		{v1alpha1.PhaseOffline, v1alpha1.PhaseNotReady, "Warning NotReady 100 % ready"},
		{v1alpha1.PhaseReady, v1alpha1.PhaseJoining, "Normal Joining 100 % ready"},
		{v1alpha1.PhaseJoining, v1alpha1.PhasePending, "Normal Pending accepted"},
		{v1alpha1.PhaseReady, v1alpha1.PhaseSuspended, "Normal Suspended spec.suspended is set"},
		{v1alpha1.PhaseReady, v1alpha1.PhaseLeaving, "Normal Leaving the MemberCluster is being deleted"},
	} {
		recorder := events.NewFakeRecorder(2)
		m := &v1alpha1.MemberCluster{}
		m.Status.Phase, m.Status.Conditions = tt.now, conditions
		recordPhase(recorder, m, tt.before)
		close(recorder.Events)
		got := ""
		for event := range recorder.Events {
			got += event
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("from %q to %s (-want +got):\n%s", tt.before, tt.now, diff)
		}
	}
}

// TestNote holds that API servers take the text of an Event.
func TestNote(t *testing.T) {
	t.Parallel()
	if got := noteOf(strings.Repeat("x", maxNote)); len(got) != maxNote || strings.Contains(got, "…") {
		t.Errorf("%d bytes: %s", len(got), got)
	}
	got := noteOf(strings.Repeat("é", maxNote))
	if len(got) > maxNote || len(got) < maxNote-4 || !strings.HasSuffix(got, "é…") {
		t.Errorf("%d bytes: %q", len(got), got)
	}
}
