package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/host"
)

// maxEvents is how many Events of an object a description shows, the newest.
const maxEvents = 20

// eventList is the Events of objects, by UID, or why they cannot be shown; nil where they are not to be.
type eventList struct {
	of      map[types.UID][]corev1.Event
	missing string
}

// readEvents reads the Events of objects of a kind. A caller who may not is shown everything else.
func (f *describeFlags) readEvents(ctx context.Context, h *host.Cluster, kind cluster.Resource, objects []types.UID) (*eventList, error) {
	if !f.showEvents || len(objects) == 0 {
		return nil, nil
	}
	of, err := h.Events(ctx, kind, objects)
	if apierrors.IsForbidden(err) {
		return &eventList{missing: "not shown: you are not allowed to list events in namespace " + metav1.NamespaceDefault}, nil
	}
	return &eventList{of: of}, err
}

// describe writes the Events of an object, oldest first.
func (l *eventList) describe(s *output.Sheet, object types.UID, now time.Time) {
	switch {
	case l == nil:
		return
	case l.missing != "":
		s.Line("Events", l.missing)
		return
	}
	events := slices.SortedStableFunc(slices.Values(l.of[object]), func(a, b corev1.Event) int {
		return cmp.Or(lastSeen(a).Compare(lastSeen(b)), cmp.Compare(a.Name, b.Name))
	})
	rows := [][]string{{"TYPE", "REASON", "AGE", "MESSAGE"}}
	for _, e := range events[max(len(events)-maxEvents, 0):] {
		rows = append(rows, []string{e.Type, e.Reason, eventAge(e, now), e.Message})
	}
	s.Table("Events", rows)
}

// eventAge is how long ago an Event was, with how often and since when it was counted.
func eventAge(e corev1.Event, now time.Time) string {
	count := e.Count
	if e.Series != nil {
		count = e.Series.Count
	}
	text := age(metav1.NewTime(lastSeen(e)), now)
	if count > 1 {
		text += fmt.Sprintf(" (x%d over %s)", count, age(metav1.NewTime(firstSeen(e)), now))
	}
	return text
}

// firstSeen reads Events of core/v1 and of events.k8s.io, which set different times.
func firstSeen(e corev1.Event) time.Time { return cmp.Or(e.FirstTimestamp.Time, e.EventTime.Time) }

func lastSeen(e corev1.Event) time.Time {
	if e.Series != nil {
		return e.Series.LastObservedTime.Time
	}
	return cmp.Or(e.LastTimestamp.Time, firstSeen(e))
}
