package cli

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
)

// TestDescribeEvents holds what a description says of Events: of both APIs, oldest first, the newest of many, and of no other object.
func TestDescribeEvents(t *testing.T) {
	t.Parallel()
	const one = types.UID("1")
	before := func(d time.Duration) metav1.MicroTime { return metav1.NewMicroTime(noon.Add(-d)) }
	kinds := []corev1.Event{
		{
			Type: "Warning", Reason: "Offline", EventTime: before(30 * time.Minute), Message: "Unreachable\nfor long",
			Series: &corev1.EventSeries{Count: 3, LastObservedTime: before(5 * time.Minute)},
		},
		{Type: "Normal", Reason: "Ready", EventTime: before(10 * time.Minute), Message: "it answers"},
		{Type: "Normal", Reason: "Joined", FirstTimestamp: ago(time.Hour), LastTimestamp: ago(time.Hour), Count: 1, Message: "by alice"},
		{Type: "Normal", Reason: "Counted", FirstTimestamp: ago(2 * time.Hour), LastTimestamp: ago(90 * time.Minute), Count: 7, Message: "as the older API does"},
		{Type: "Normal", Reason: "Timeless"},
	}
	var many []corev1.Event
	for i := range 100 {
		many = append(many, corev1.Event{Type: "Normal", Reason: fmt.Sprintf("R%d", i), EventTime: before(time.Duration(i) * time.Second)})
	}
	text := func(l *eventList) string {
		s := &output.Sheet{}
		l.describe(s, one, noon)
		return s.String()
	}
	for _, tt := range []struct {
		name string
		list *eventList
		want string
	}{
		{"of both APIs", &eventList{of: map[types.UID][]corev1.Event{one: kinds}}, `
Events:
  TYPE      REASON     AGE                  MESSAGE
  Normal    Timeless   <unknown>
  Normal    Counted    90m (x7 over 120m)   as the older API does
  Normal    Joined     60m                  by alice
  Normal    Ready      10m                  it answers
  Warning   Offline    5m (x3 over 30m)     Unreachable for long
`},
		{"of another object", &eventList{of: map[types.UID][]corev1.Event{"2": kinds}}, `
Events:        <none>
`},
		{"not to be shown", nil, "\n"},
		{"not read", &eventList{missing: "not shown: you may not"}, `
Events:        not shown: you may not
`},
	} {
		if diff := cmp.Diff(strings.TrimPrefix(tt.want, "\n"), text(tt.list)); diff != "" {
			t.Errorf("%s:\n%s", tt.name, diff)
		}
	}
	shown := text(&eventList{of: map[types.UID][]corev1.Event{one: many}})
	if lines := strings.Count(shown, "\n"); lines != maxEvents+2 || !strings.Contains(shown, " R0 ") || strings.Contains(shown, "R20 ") {
		t.Errorf("of many Events:\n%s", shown)
	}
}
