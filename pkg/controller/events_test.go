package controller

import (
	"strings"
	"testing"
	"time"

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

// TestRefusedCredential holds that the Event of a member that refuses its credential waits: it is recorded when that lasts, or with
// the next change, and not when the member leaves, as in an unjoin.
func TestRefusedCredential(t *testing.T) {
	t.Parallel()
	const ready, notReady = "Normal Ready as Ready", "Warning NotReady as NotReady"
	type step struct {
		after   time.Duration
		phase   v1alpha1.Phase // no change where it is empty
		leaves  bool
		another bool
		want    string
	}
	for _, tt := range []struct {
		name   string
		reason string
		steps  []step
	}{
		{"it lasts", v1alpha1.ReasonCredentialRevoked, []step{{0, v1alpha1.PhaseNotReady, false, false, ""}, {refusalDelay / 2, "", false, false, ""},
			{refusalDelay, "", false, false, notReady}, {2 * refusalDelay, "", false, false, ""}}},
		{"it passes", v1alpha1.ReasonCredentialRevoked, []step{{0, v1alpha1.PhaseNotReady, false, false, ""}, {1, v1alpha1.PhaseReady, false, false, notReady + ready}}},
		{"the member leaves", v1alpha1.ReasonCredentialRevoked, []step{{0, v1alpha1.PhaseNotReady, false, false, ""}, {refusalDelay, "", true, false, ""}}},
		{"it is deleted", v1alpha1.ReasonCredentialRevoked, []step{{0, v1alpha1.PhaseNotReady, false, false, ""},
			{1, v1alpha1.PhaseLeaving, false, false, "Normal Leaving the MemberCluster is being deleted"}}},
		{"another has its name", v1alpha1.ReasonCredentialRevoked, []step{{0, v1alpha1.PhaseNotReady, false, false, ""}, {refusalDelay, "", false, true, ""}}},
		{"another cause", v1alpha1.ReasonCredentialExpired, []step{{0, v1alpha1.PhaseNotReady, false, false, notReady}}},
	} {
		recorder := events.NewFakeRecorder(4)
		e := &phaseEvents{recorder: recorder, held: map[string]heldEvent{}}
		m := &v1alpha1.MemberCluster{}
		m.Name, m.UID, m.Status.Phase = "us-east", "uid-1", v1alpha1.PhaseReady
		for i, s := range tt.steps {
			before := m.Status.Phase
			if s.phase != "" {
				m.Status.Phase = s.phase
				m.Status.Conditions = []metav1.Condition{
					{Type: v1alpha1.ConditionCredentialValid, Reason: tt.reason}, {Type: v1alpha1.ConditionReady, Message: "as " + string(s.phase)},
				}
			}
			if s.leaves {
				m.DeletionTimestamp = &metav1.Time{Time: now}
			}
			if s.another {
				m.UID = "uid-2"
			}
			e.changed(m, before, now.Add(s.after))
			wait := e.due(m, now.Add(s.after))
			got := ""
			for len(recorder.Events) > 0 {
				got += <-recorder.Events
			}
			if got != s.want || (wait > 0) != (i == 0 && s.want == "" || s.after == refusalDelay/2) {
				t.Errorf("%s, step %d: %q, want %q; waits %s", tt.name, i, got, s.want, wait)
			}
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
