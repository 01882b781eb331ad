package controller

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// TestDrippingMembers holds that a thousand members that send their nodes a byte a second delay no outcome of others, and their
// facts by less than two minutes. It plays on the test's clock.
func TestDrippingMembers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const dripping, honest = 1000, 20
		var down atomic.Bool
		listener := make(pipes)
		listener.serve(t, func(w http.ResponseWriter, r *http.Request) {
			drips := strings.HasPrefix(r.Header.Get("Authorization"), "Bearer drips")
			switch {
			case r.URL.Path == askID && !drips && down.Load():
				w.WriteHeader(http.StatusServiceUnavailable)
			case r.URL.Path == askID:
				fmt.Fprint(w, `{"metadata":{"uid":"x"}}`)
			case r.URL.Path == askVersion:
				fmt.Fprint(w, `{"gitVersion":"v1.36.3"}`)
			case !drips:
				fmt.Fprint(w, `{"items":[{}]}`)
			default:
				for r.Context().Err() == nil {
					fmt.Fprint(w, " ")
					_ = http.NewResponseController(w).Flush()
					select {
					case <-time.After(time.Second):
					case <-r.Context().Done():
					}
				}
			}
		})
		p := probing(t, 30*time.Second, 10*time.Second)
		for i := range dripping {
			followOver(t, p, fmt.Sprint("drips-", i), listener.dial)
		}
		for i := range honest {
			followOver(t, p, fmt.Sprint("honest-", i), listener.dial)
		}
		// all says how many of the honest ones were observed so.
		all := func(observed func(*observation) bool) (n int) {
			for i := range honest {
				if o := p.found(fmt.Sprint("honest-", i)); o != nil && observed(o) {
					n++
				}
			}
			return n
		}
		began := time.Now()
		wait := func(until time.Duration) { time.Sleep(time.Until(began.Add(until))) } //nolint:forbidigo // on the test's clock
		start(t, p)
		wait(5 * time.Second)
		if n := all(func(o *observation) bool { return o.outcome == reachable }); n < honest {
			t.Errorf("%d of %d members are seen to be reachable after 5 seconds", n, honest)
		}
		down.Store(true)
		wait(5*time.Second + p.pace.interval + p.pace.confirmDelay())
		if n := all(func(o *observation) bool { return o.reason == v1alpha1.ReasonServerError }); n < honest {
			t.Errorf("an outage of %d of %d members is seen an interval later", n, honest)
		}
		down.Store(false)
		wait(2 * time.Minute)
		if n := all(func(o *observation) bool { return o.facts != nil && o.facts.Nodes == 1 }); n < honest {
			t.Errorf("the facts of %d of %d members are known after two minutes", n, honest)
		}
		// What waits is probed, too.
		if o := p.found(fmt.Sprint("drips-", dripping-1)); o == nil || o.outcome != reachable {
			t.Errorf("a member whose nodes wait for their turn: %+v", o)
		}
	})
}
