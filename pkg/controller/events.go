package controller

import (
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/tools/events"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/text"
)

// maxNote is how long the text of an Event may be, in bytes.
const maxNote = 1024

// refusalDelay is how long the Event waits that a member refuses its credential. An unjoin revokes that, has the manager see it, and
// then removes the member: this is no fault of the member.
const refusalDelay = 20 * time.Second

// phaseEvents records changes of phase.
type phaseEvents struct {
	recorder events.EventRecorder

	mu sync.Mutex
	// held are Events that wait, by member.
	held map[string]heldEvent
}

// heldEvent is a change of phase that is recorded when its time comes, or with the next one.
type heldEvent struct {
	member *v1alpha1.MemberCluster
	before v1alpha1.Phase
	at     time.Time
}

// changed records a change of phase from before, if it is one. Where it follows from a refused credential it is held.
func (e *phaseEvents) changed(m *v1alpha1.MemberCluster, before v1alpha1.Phase, now time.Time) {
	if before == m.Status.Phase {
		return
	}
	if h := e.forget(m.Name); h != nil && h.member.UID == m.UID && m.Status.Phase != v1alpha1.PhaseLeaving {
		recordPhase(e.recorder, h.member, h.before)
	}
	valid := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionCredentialValid)
	if m.Status.Phase != v1alpha1.PhaseNotReady || before == "" || valid == nil || valid.Reason != v1alpha1.ReasonCredentialRevoked {
		recordPhase(e.recorder, m, before)
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.held[m.Name] = heldEvent{m.DeepCopy(), before, now.Add(refusalDelay)}
}

// due records the Event of a member that has waited long enough. Wait is how long it still does; 0 is where none waits.
func (e *phaseEvents) due(m *v1alpha1.MemberCluster, now time.Time) (wait time.Duration) {
	e.mu.Lock()
	h, held := e.held[m.Name]
	e.mu.Unlock()
	if !held {
		return 0
	}
	if wait = h.at.Sub(now); wait > 0 && m.UID == h.member.UID && m.DeletionTimestamp == nil {
		return wait
	}
	e.forget(m.Name)
	if m.UID == h.member.UID && m.DeletionTimestamp == nil {
		recordPhase(e.recorder, h.member, h.before)
	}
	return 0
}

// forget drops the Event of a member that waits, and returns it; nil when there is none.
func (e *phaseEvents) forget(name string) *heldEvent {
	e.mu.Lock()
	defer e.mu.Unlock()
	h, held := e.held[name]
	if !held {
		return nil
	}
	delete(e.held, name)
	return &h
}

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
		return strings.TrimSuffix("spec.suspended is set: "+m.SuspensionText(), ": ")
	case v1alpha1.PhasePending:
		explains = v1alpha1.ConditionAccepted
	}
	if c := meta.FindStatusCondition(m.Status.Conditions, explains); c != nil {
		return c.Message
	}
	return ""
}

// noteOf is a text as it fits into an Event.
func noteOf(cause string) string { return text.Cut(cause, maxNote) }
