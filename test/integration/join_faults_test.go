//go:build unix

package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
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
	only func(*http.Request) bool

	mu    sync.Mutex
	k     int
	count int
	hit   string
}

func (f *faulty) RoundTrip(r *http.Request) (*http.Response, error) {
	if f.only != nil && !f.only(r) {
		return f.next.RoundTrip(r)
	}
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
func (d drill) steps() int {
	switch {
	case testing.Short():
		return 13
	case d.sparse:
		return 9
	}
	return 1
}

// drill is a command that runs with a fault at one request, again and again.
type drill struct {
	hostCluster, member *env.Cluster
	// only says which requests count; nil counts all.
	only  func(*http.Request) bool
	sides []federate.Side
	// run is the command; prepare brings the clusters to where it begins, without faults.
	prepare func(*testing.T)
	run     func(*testing.T, *host.Cluster, *member.Cluster) error
	// sparse says that a run takes so long that only a sample of the requests fails in the full tier, too.
	sparse bool
	// again is called after a run that failed halfway, and cleanup after each: then all must be as it was.
	again, cleanup func(*testing.T, error)
}

// exercise fails every request in every way, and prints how the runs ended.
func (d drill) exercise(t *testing.T, before map[*env.Cluster]env.Objects) {
	t.Helper()
	ends := map[string]int{}
	total := 0
	for _, side := range d.sides {
		for _, kind := range []fault{faultReset, faultLost, faultInternal} {
			for k := 1; ; k += d.steps() {
				d.prepare(t)
				f := &faulty{k: k, kind: kind, only: d.only}
				h, m := sides(t, d.hostCluster, d.member, side, f)
				err := d.run(t, h, m)
				if f.hit == "" {
					if err != nil {
						t.Fatalf("%s: without a fault: %v", side, err)
					}
					d.cleanup(t, nil)
					break
				}
				total++
				name := fmt.Sprintf("%s: request %d (%s) %s", side, k, f.hit, kind)
				var partial *federate.Partial
				switch {
				case err == nil:
					ends["went on"]++
				case errors.As(err, &partial):
					ends["partial"]++
					if partial.Next == "" {
						t.Errorf("%s: the error names no command that goes on:\n%v", name, err)
					}
					d.again(t, err)
				default:
					ends["nothing changed, or taken back"]++
				}
				d.cleanup(t, err)
				for c, objects := range before {
					becomes(t, name+": "+c.Name, objects, c)
				}
				if t.Failed() {
					t.Fatalf("%s: %v", name, err)
				}
			}
		}
	}
	t.Logf("%d faults: %v", total, ends)
}

// changes says whether a request can change something.
func changes(r *http.Request) bool {
	if r.Method == http.MethodGet || strings.Contains(r.URL.Path, "selfsubject") || r.URL.Query().Get("dryRun") == "All" {
		return false
	}
	if r.Method != http.MethodDelete || r.Body == nil {
		return true
	}
	// The options of a delete are in its body.
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return true
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	var options metav1.DeleteOptions
	return json.Unmarshal(body, &options) != nil || !slices.Equal(options.DryRun, []string{"All"})
}

// userNamespace makes our namespace on a member as a user would, with something of theirs in it. Kubernetes
// takes five seconds to end a namespace, so most faults are injected where none has to end.
func userNamespace(t *testing.T, c *env.Cluster) {
	t.Helper()
	snapshot(t, c) // no earlier one is ending
	namespace := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": v1alpha1.MemberNamespace}}}
	apply(t, c.Config(), namespace)
	theirs := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "data": map[string]any{"a": "b"},
		"metadata": map[string]any{"name": "theirs", "namespace": v1alpha1.MemberNamespace}}}
	apply(t, c.Config(), theirs)
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		_ = client(t, c.Config(), namespace.GroupVersionKind(), "").Delete(ctx, namespace.GetName(), metav1.DeleteOptions{})
	})
	m := connectMember(t, c.Config())
	eventually(t, "Kubernetes has furnished the namespace", func(ctx context.Context) error {
		for _, ref := range []cluster.Ref{
			{Resource: cluster.ConfigMaps, Namespace: v1alpha1.MemberNamespace, Name: "kube-root-ca.crt"},
			{Resource: cluster.ServiceAccounts, Namespace: v1alpha1.MemberNamespace, Name: "default"},
		} {
			if _, err := m.Get(ctx, ref); err != nil {
				return err
			}
		}
		return nil
	})
}

// faultDrill is what the drills of join and unjoin share.
func faultDrill(t *testing.T, name v1alpha1.MemberName, c *env.Cluster) (d drill, joinAgain, leave func(*testing.T), before map[*env.Cluster]env.Objects) {
	t.Helper()
	hostCluster := joinHost(t)
	fed := federation(t, hostCluster, string(name), map[string]any{"access": map[string]any{"clusterRole": "view"}})
	options := federate.JoinOptions{Name: name, Federation: fed, MemberContext: c.Name}
	left := federate.UnjoinOptions{Name: name, MemberContext: c.Name}
	h, m := connectHost(t, hostCluster.Config()), connectMember(t, c.Config())
	before = map[*env.Cluster]env.Objects{hostCluster: snapshot(t, hostCluster), c: snapshot(t, c)}
	joinAgain = func(t *testing.T) {
		t.Helper()
		if _, err := join(t, h, m, options); err != nil {
			t.Fatalf("join without a fault: %v", err)
		}
	}
	leave = func(t *testing.T) {
		t.Helper()
		if _, err := unjoin(t, h, m, left); err != nil {
			t.Fatalf("unjoin without a fault: %v", err)
		}
	}
	d = drill{hostCluster: hostCluster, member: c, sides: []federate.Side{federate.SideHost, federate.SideMember}}
	return d, joinAgain, leave, before
}

// TestJoinWithFaults fails every request of a join in every way. After each, nothing is left, or the error
// says what is and the join completes when it is run again.
func TestJoinWithFaults(t *testing.T) {
	east := joinFleet(t).Cluster("east")
	userNamespace(t, east)
	d, joinAgain, leave, before := faultDrill(t, "faulty-join", east)
	d.prepare = func(*testing.T) {}
	d.run = func(t *testing.T, h *host.Cluster, m *member.Cluster) error {
		_, err := join(t, h, m, federate.JoinOptions{Name: "faulty-join", Federation: "faulty-join", MemberContext: "east"})
		return err
	}
	d.again = func(t *testing.T, _ error) { joinAgain(t) }
	d.cleanup = func(t *testing.T, err error) {
		var partial *federate.Partial
		if err == nil || errors.As(err, &partial) {
			leave(t)
		}
	}
	d.exercise(t, before)
}

// TestJoinWithFaultsInANewNamespace is TestJoinWithFaults where the namespace has to be made and, when the
// join is taken back, to go again.
func TestJoinWithFaultsInANewNamespace(t *testing.T) {
	west := joinFleet(t).Cluster("west")
	d, joinAgain, leave, before := faultDrill(t, "faulty-new", west)
	d.sides, d.only = []federate.Side{federate.SideMember}, changes
	d.prepare = func(*testing.T) {}
	d.run = func(t *testing.T, h *host.Cluster, m *member.Cluster) error {
		_, err := join(t, h, m, federate.JoinOptions{Name: "faulty-new", Federation: "faulty-new", MemberContext: "west"})
		return err
	}
	d.again = func(t *testing.T, _ error) { joinAgain(t) }
	d.cleanup = func(t *testing.T, err error) {
		var partial *federate.Partial
		if err == nil || errors.As(err, &partial) {
			leave(t)
		}
	}
	d.exercise(t, before)
}

// TestUnjoinWithFaults fails every request of an unjoin in every way. After each, unjoin completes when it is
// run again.
func TestUnjoinWithFaults(t *testing.T) {
	east := joinFleet(t).Cluster("east")
	userNamespace(t, east)
	d, joinAgain, leave, before := faultDrill(t, "faulty-leave", east)
	d.prepare = joinAgain
	d.run = func(t *testing.T, h *host.Cluster, m *member.Cluster) error {
		_, err := unjoin(t, h, m, federate.UnjoinOptions{Name: "faulty-leave", MemberContext: "east"})
		return err
	}
	d.again = func(*testing.T, error) {}
	d.cleanup = func(t *testing.T, _ error) { leave(t) }
	d.exercise(t, before)
}

// slow adds a delay to every request.
type slow struct {
	next  http.RoundTripper
	delay time.Duration
}

func (s slow) RoundTrip(r *http.Request) (*http.Response, error) {
	select {
	case <-r.Context().Done():
	case <-time.After(s.delay):
	}
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
