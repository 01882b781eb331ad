//go:build unix

package integration

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/member"
	"github.com/kubefederate/kubectl-federate/test/env"
)

// fault is what happens to one request.
type fault string

const (
	faultReset    fault = "reset before it arrives"
	faultLost     fault = "answer lost after it was done"
	faultInternal fault = "answered 500"
)

// faulty fails the k-th request that goes through it, once. With k 0 it only counts.
type faulty struct {
	next http.RoundTripper
	kind fault

	mu    sync.Mutex
	k     int
	count int
	hit   string
}

func (f *faulty) RoundTrip(r *http.Request) (*http.Response, error) {
	f.mu.Lock()
	f.count++
	mine := f.count == f.k
	if mine {
		f.hit = r.Method + " " + r.URL.Path
	}
	f.mu.Unlock()
	if !mine {
		return f.next.RoundTrip(r)
	}
	switch f.kind {
	case faultLost:
		answer, err := f.next.RoundTrip(r)
		if err != nil {
			return nil, err
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		_ = answer.Body.Close()
		return nil, io.ErrUnexpectedEOF
	case faultInternal:
		body := `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"Internal error occurred: injected","reason":"InternalError","code":500}`
		return &http.Response{
			Status: "500 Internal Server Error", StatusCode: http.StatusInternalServerError, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
			Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewBufferString(body)), Request: r,
		}, nil
	}
	return nil, syscall.EPIPE
}

// through sends what config sends through f.
func through(config *rest.Config, f *faulty) *rest.Config {
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		f.next = next
		return f
	})
	return config
}

// sides are connections to a host and a member with a fault on one of them.
func sides(t *testing.T, h, m *env.Cluster, side federate.Side, f *faulty) (*host.Cluster, *member.Cluster) {
	t.Helper()
	hc, mc := h.Config(), m.Config()
	if side == federate.SideHost {
		hc = through(hc, f)
	} else {
		mc = through(mc, f)
	}
	return connectHost(t, hc), connectMember(t, mc)
}

// steps is how far apart the faults are: in the quick tier only a sample of the requests fails.
func steps() int {
	if testing.Short() {
		return 13
	}
	return 1
}

// TestJoinWithFaults fails every request of a join in every way. After each, nothing is left, or the error
// says what is and the join completes when it is run again.
func TestJoinWithFaults(t *testing.T) {
	hostCluster, east := joinHost(t), joinFleet(t).Cluster("east")
	fed := federation(t, hostCluster, "faults", map[string]any{"access": map[string]any{"clusterRole": "view"}})
	options := federate.JoinOptions{Name: "faulty", Federation: fed, MemberContext: "east"}
	left := federate.UnjoinOptions{Name: "faulty", MemberContext: "east"}
	h, m := connectHost(t, hostCluster.Config()), connectMember(t, east.Config())
	hostBefore, memberBefore := snapshot(t, hostCluster), snapshot(t, east)
	cases := map[string]int{}

	for _, side := range []federate.Side{federate.SideHost, federate.SideMember} {
		for _, kind := range []fault{faultReset, faultLost, faultInternal} {
			for k := 1; ; k += steps() {
				f := &faulty{k: k, kind: kind}
				fh, fm := sides(t, hostCluster, east, side, f)
				_, err := join(t, fh, fm, options)
				if f.hit == "" {
					if err != nil {
						t.Fatalf("%s: without a fault: %v", side, err)
					}
					if _, err := unjoin(t, h, m, left); err != nil {
						t.Fatal(err)
					}
					break
				}
				name := fmt.Sprintf("%s: request %d (%s) %s", side, k, f.hit, kind)
				var partial *federate.Partial
				switch {
				case err == nil:
					cases["went on"]++
				case errors.As(err, &partial):
					cases["partial"]++
					if partial.Next == "" {
						t.Errorf("%s: %v\nnames no command that goes on", name, err)
					}
					t.Logf("%s: %v", name, err)
					if _, err := join(t, h, m, options); err != nil {
						t.Fatalf("%s: joining again: %v", name, err)
					}
				default:
					cases["nothing changed or taken back"]++
				}
				if err == nil || partial != nil {
					if _, err := unjoin(t, h, m, left); err != nil {
						t.Fatalf("%s: unjoin: %v", name, err)
					}
				}
				becomes(t, name+": member", memberBefore, east)
				becomes(t, name+": host", hostBefore, hostCluster)
				if t.Failed() {
					t.Log(cases)
					t.Fatalf("%s: %v", name, err)
				}
			}
		}
	}
	t.Log(cases)
}

// TestUnjoinWithFaults fails every request of an unjoin in every way. After each, unjoin completes when it is
// run again.
func TestUnjoinWithFaults(t *testing.T) {
	hostCluster, east := joinHost(t), joinFleet(t).Cluster("east")
	fed := federation(t, hostCluster, "faults", map[string]any{"access": map[string]any{"clusterRole": "view"}})
	options := federate.JoinOptions{Name: "faulty", Federation: fed, MemberContext: "east"}
	left := federate.UnjoinOptions{Name: "faulty", MemberContext: "east"}
	h, m := connectHost(t, hostCluster.Config()), connectMember(t, east.Config())
	hostBefore, memberBefore := snapshot(t, hostCluster), snapshot(t, east)
	cases := map[string]int{}

	for _, side := range []federate.Side{federate.SideHost, federate.SideMember} {
		for _, kind := range []fault{faultReset, faultLost, faultInternal} {
			for k := 1; ; k += steps() {
				if _, err := join(t, h, m, options); err != nil {
					t.Fatal(err)
				}
				f := &faulty{k: k, kind: kind}
				fh, fm := sides(t, hostCluster, east, side, f)
				_, err := unjoin(t, fh, fm, left)
				if f.hit == "" {
					if err != nil {
						t.Fatalf("%s: without a fault: %v", side, err)
					}
					break
				}
				name := fmt.Sprintf("%s: request %d (%s) %s", side, k, f.hit, kind)
				var partial *federate.Partial
				switch {
				case err == nil:
					cases["went on"]++
				case errors.As(err, &partial):
					cases["partial"]++
					if partial.Next == "" {
						t.Errorf("%s: %v\nnames no command that goes on", name, err)
					}
				default:
					cases["nothing changed"]++
				}
				if _, err := unjoin(t, h, m, left); err != nil {
					t.Fatalf("%s: unjoin again: %v", name, err)
				}
				becomes(t, name+": member", memberBefore, east)
				becomes(t, name+": host", hostBefore, hostCluster)
				if t.Failed() {
					t.Log(cases)
					t.Fatalf("%s: %v", name, err)
				}
			}
		}
	}
	t.Log(cases)
}

// slow adds a delay to every request.
type slow struct {
	next  http.RoundTripper
	delay time.Duration
}

func (s slow) RoundTrip(r *http.Request) (*http.Response, error) {
	time.Sleep(s.delay)
	return s.next.RoundTrip(r)
}

// TestJoinRoundTrips measures how many round trips follow one another, by making each of them long.
func TestJoinRoundTrips(t *testing.T) {
	hostCluster, west := joinHost(t), joinFleet(t).Cluster("west")
	fed := federation(t, hostCluster, "trips", map[string]any{"access": map[string]any{"clusterRole": "view"}})
	const delay = 300 * time.Millisecond
	connect := func(delay time.Duration) (*host.Cluster, *member.Cluster) {
		hc, mc := hostCluster.Config(), west.Config()
		for _, c := range []*rest.Config{hc, mc} {
			c.Wrap(func(next http.RoundTripper) http.RoundTripper { return slow{next, delay} })
		}
		return connectHost(t, hc), connectMember(t, mc)
	}
	run := func(delay time.Duration) (joined, left time.Duration) {
		h, m := connect(delay)
		snapshot(t, west)
		start := time.Now()
		if _, err := join(t, h, m, federate.JoinOptions{Name: "trips", Federation: fed}); err != nil {
			t.Fatal(err)
		}
		joined = time.Since(start)
		start = time.Now()
		if _, err := unjoin(t, h, m, federate.UnjoinOptions{Name: "trips"}); err != nil {
			t.Fatal(err)
		}
		return joined, time.Since(start)
	}
	plainJoin, plainLeave := run(0)
	slowJoin, slowLeave := run(delay)
	trips := func(slow, plain time.Duration) int { return int((slow - plain + delay/2) / delay) }
	joinTrips, leaveTrips := trips(slowJoin, plainJoin), trips(slowLeave, plainLeave)
	t.Logf("join: %d round trips one after another, %s; unjoin: %d, %s", joinTrips, plainJoin, leaveTrips, plainLeave)
	if joinTrips > 12 {
		t.Errorf("a join takes %d round trips one after another, want at most 12", joinTrips)
	}
}
