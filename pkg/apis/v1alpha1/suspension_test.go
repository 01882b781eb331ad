package v1alpha1

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestSuspension holds when a member is suspended, and what is said of it.
func TestSuspension(t *testing.T) {
	t.Parallel()
	end := time.Date(2026, 12, 1, 18, 0, 0, 0, time.UTC)
	until := &metav1.Time{Time: end}
	for name, tt := range map[string]struct {
		spec          MemberClusterSpec
		before, after bool
		text          string
	}{
		"not suspended":          {MemberClusterSpec{Suspension: &Suspension{Reason: "upgrade"}}, false, false, "upgrade"},
		"for ever":               {MemberClusterSpec{Suspended: true}, true, true, ""},
		"for ever, for a reason": {MemberClusterSpec{Suspended: true, Suspension: &Suspension{Reason: "upgrade"}}, true, true, "upgrade"},
		"until":                  {MemberClusterSpec{Suspended: true, Suspension: &Suspension{Until: until}}, true, false, "until 2026-12-01T18:00:00Z"},
		"both":                   {MemberClusterSpec{Suspended: true, Suspension: &Suspension{Reason: "upgrade", Until: until}}, true, false, "upgrade; until 2026-12-01T18:00:00Z"},
	} {
		m := &MemberCluster{Spec: tt.spec}
		if m.SuspendedAt(end.Add(-time.Second)) != tt.before || m.SuspendedAt(end) != tt.after || m.SuspensionText() != tt.text {
			t.Errorf("%s: before %v, after %v, %q", name, m.SuspendedAt(end.Add(-time.Second)), m.SuspendedAt(end), m.SuspensionText())
		}
	}
}
