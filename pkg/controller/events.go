package controller

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/tools/events"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// maxNote is how long the text of an Event may be, in bytes.
const maxNote = 1024

// recordPhase records an Event when the phase of a member is another than before. Its reason is the phase, and its text the cause
// as the conditions have it. The first phase of all is no change.
func recordPhase(recorder events.EventRecorder, m *v1alpha1.MemberCluster, before v1alpha1.Phase) {
	phase := m.Status.Phase
	if before == "" || before == phase {
		return
	}
	kind := corev1.EventTypeNormal
	if phase == v1alpha1.PhaseNotReady || phase == v1alpha1.PhaseOffline {
		kind = corev1.EventTypeWarning
	}
	recorder.Eventf(m, nil, kind, string(phase), "ChangePhase", "%s", noteOf(phaseCause(m)))
}

// phaseCause is why a member is in its phase.
func phaseCause(m *v1alpha1.MemberCluster) string {
	explains := v1alpha1.ConditionReady
	switch m.Status.Phase {
	case v1alpha1.PhaseLeaving:
		return "the MemberCluster is being deleted"
	case v1alpha1.PhaseSuspended:
		return "spec.suspended is set"
	case v1alpha1.PhasePending:
		explains = v1alpha1.ConditionAccepted
	}
	if c := meta.FindStatusCondition(m.Status.Conditions, explains); c != nil {
		return c.Message
	}
	return ""
}

// noteOf is a text as it fits into an Event.
func noteOf(text string) string { return cut(text, maxNote) }

// cut is a text of at most so many bytes.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	const more = "…"
	return strings.ToValidUTF8(text[:most-len(more)], "") + more
}
