//go:build unix

package discovery

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/test/env"
)

// fate is what becomes of a controller at a write.
type fate string

const (
	killedBefore fate = "killed before"
	killedAfter  fate = "killed after"
	failed       fate = "failed"
)

// executioner ends the controller at a write, on the host or on the member, of which the controller does not get the answer, or fails
// that write.
type executioner struct {
	mu sync.Mutex
	// at is the write at which it ends, counted from 1, and seen how many there were.
	at, seen int
	fate     fate
	end      func()
	ended    chan struct{}
	last     string
}

// next prepares a run that ends at a write.
func (e *executioner) next(at int, f fate) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.at, e.seen, e.fate, e.ended = at, 0, f, make(chan struct{})
}

func (e *executioner) handle(w http.ResponseWriter, r *http.Request, pass http.Handler) {
	if r.Method == http.MethodGet || strings.Contains(r.URL.Path, "reviews") || strings.HasSuffix(r.URL.Path, "/status") || strings.Contains(r.URL.RawQuery, "dryRun") || strings.HasSuffix(r.URL.Path, "/events") {
		pass.ServeHTTP(w, r)
		return
	}
	e.mu.Lock()
	e.seen++
	now := e.seen == e.at
	if now {
		e.last = r.Method + " " + r.URL.Path
		if e.fate != failed {
			e.end()
		}
		close(e.ended)
	}
	f := e.fate
	e.mu.Unlock()
	switch {
	case !now || f == killedAfter:
		pass.ServeHTTP(w, r)
	case f == failed:
		internalError(w)
	default:
		panic(http.ErrAbortHandler)
	}
}

// TestKilled has the controller die at each write of a join, with the write done or not, and start again. In the end the cluster has
// joined once, and nothing is left over.
func TestKilled(t *testing.T) {
	l := start(t)
	const fed, ns = "killed", "team-killed"
	l.make(t, namespace(ns))
	l.federation(t, fed, v1alpha1.Discovery{Sources: []v1alpha1.DiscoverySource{{Kind: v1alpha1.SourceClusterAPI, Namespaces: []string{ns}}}})
	e := &executioner{end: l.controller.Kill}
	l.through(t, e.handle)
	l.controller.Kill()
	data := kubeconfigAt(t, front(t, add(t, env.Spec{Name: "killed"}), e.handle))
	l.grant(t, discovers(fed), manifests.DiscoverySecretBinding(ns, "victim-kubeconfig"))
	l.make(t, object("cluster.x-k8s.io/v1beta2", "Cluster", ns, "victim", asks(fed), nil), secret(ns, "victim-kubeconfig", nil, map[string]string{"value": data}))

	const joined = "victim by ClusterAPI team-killed/victim"
	var at []string
	for n, f := 1, killedAfter; ; n += env.InTier(1, 1, 3) {
		e.next(n, f)
		if err := l.controller.Start(); err != nil {
			t.Fatal(err)
		}
		if !killed(t, l, e, fed, joined) {
			break
		}
		at = append(at, e.last)
		got, err := l.members(t.Context(), fed)
		if err != nil || len(got) > 1 || len(got) == 1 && !strings.HasPrefix(got[0], joined) {
			t.Fatalf("killed at %s: %q %v", e.last, got, err)
		}
		f = map[fate]fate{killedAfter: killedBefore, killedBefore: killedAfter}[f]
	}
	l.becomes(t, fed, joined+": Pending")
	l.reports(t, fed, "1 1 0")
	if len(at) < env.InTier(5, 5, 2) || !slices.ContainsFunc(at, func(w string) bool { return strings.Contains(w, "memberclusters") }) {
		t.Errorf("it was killed at %d writes only", len(at))
	}
	t.Logf("killed at:\n%s", strings.Join(at, "\n"))
}

// killed waits until the controller was killed, and says false where the cluster has joined and that does not happen any more.
func killed(t *testing.T, l *lab, e *executioner, fed, joined string) bool {
	t.Helper()
	deadline := time.After(2 * time.Minute)
	complete := 0
	for {
		select {
		case <-e.ended:
			return true
		case <-deadline:
			t.Fatal("the controller neither died nor joined the cluster")
		case <-time.After(time.Second):
		}
		got, err := l.members(t.Context(), fed)
		if err == nil && len(got) == 1 && strings.HasPrefix(got[0], joined+":") {
			if complete++; complete == 5 {
				return false
			}
		}
	}
}
