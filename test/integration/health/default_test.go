//go:build unix && extended

package health

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/test/env"
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
	measure := func(want v1alpha1.Phase, within time.Duration) {
		t.Helper()
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		err := env.Poll(ctx, func(ctx context.Context) error {
			now, err := h.Member(ctx, "usual")
			if err == nil && now.Status.Phase != want {
				err = fmt.Errorf("it is %s", now.Status.Phase)
			}
			return err
		})
		if err != nil {
			t.Fatalf("not %s after %s: %v", want, within, err)
		}
		t.Logf("%s after %s", want, time.Since(began).Round(100*time.Millisecond))
	}
	for range 2 {
		g.silent.Store(true)
		measure(v1alpha1.PhaseOffline, 90*time.Second)
		g.silent.Store(false)
		measure(v1alpha1.PhaseReady, 45*time.Second)
	}
	g.fail.Store(1 << 20)
	measure(v1alpha1.PhaseNotReady, 90*time.Second)
	unjoin(t, h, m, "usual")
}
