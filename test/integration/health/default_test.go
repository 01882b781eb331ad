//go:build unix && extended

package health

import (
	"testing"
	"time"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// TestDefaultPace measures how long a member that answers no request any more is Ready still, and how long one that is back is
// Offline, with the interval that managers have by default.
func TestDefaultPace(t *testing.T) {
	east := fleet(t).Cluster("east")
	h, m := connect(t, east)
	newFederation(t, h, "usual", &v1alpha1.Health{Interval: "30s"})
	g := newGateway(t, east)
	o := g.options("usual")
	o.Federation = "usual"
	join(t, h, m, o)
	becomes(t, h, "usual", answers)
	for range 2 {
		g.silent.Store(true)
		within(t, h, "usual", v1alpha1.PhaseOffline, 90*time.Second)
		g.silent.Store(false)
		within(t, h, "usual", v1alpha1.PhaseReady, 45*time.Second)
	}
	g.fail.Store(1 << 20)
	within(t, h, "usual", v1alpha1.PhaseNotReady, 90*time.Second)
	unjoin(t, h, m, "usual")
}
