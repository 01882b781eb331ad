//go:build unix

package bench

import (
	"context"
	"net/http"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/member"
	"github.com/kubefederate/kubectl-federate/test/env"
	"github.com/kubefederate/kubectl-federate/test/krew"
)

// The promises for one cluster, both sides on this machine: how many round trips of a join follow one another, and how
// long the medians of a join and of an unjoin take, from the start of the process to its end.
const (
	maxTrips  = 12
	maxJoin   = 250 * time.Millisecond
	maxUnjoin = 500 * time.Millisecond
	// joinRounds make a median; Kubernetes takes five seconds after each to end the namespace.
	joinRounds = 15
)

// shipped builds the plugin as it is shipped.
func shipped(b *testing.B) string {
	b.Helper()
	plugin := filepath.Join(b.TempDir(), "kubectl-federate")
	release := krew.Release{Source: filepath.Join("..", ".."), Version: "v0.0.0-bench"}
	if err := release.Build(b.Context(), krew.Platform{OS: runtime.GOOS, Arch: runtime.GOARCH}, plugin); err != nil {
		b.Fatal(err)
	}
	return plugin
}

// BenchmarkJoin runs join and unjoin of one real cluster as processes. An unjoin ends when the last grant is gone, which
// is looked at; the namespace, which is finishing, is waited for between the rounds. The round trips are counted where
// every request takes so long that those which overlap were sent at once.
func BenchmarkJoin(b *testing.B) {
	fleet, _ := newHost(b, env.Spec{Name: "member", ControllerManager: true})
	plugin, dir := shipped(b), b.TempDir()
	hostCluster, memberCluster := fleet.Cluster("host"), fleet.Cluster("member")
	m, err := member.Connect(memberCluster.Config())
	if err != nil {
		b.Fatal(err)
	}
	process := func(kubeconfig, line string) time.Duration {
		command := exec.CommandContext(b.Context(), plugin, strings.Fields(line)...)
		command.Env = []string{"HOME=" + dir, "KUBECONFIG=" + kubeconfig}
		began := time.Now()
		if out, err := command.CombinedOutput(); err != nil {
			b.Fatalf("%s: %v\n%s", line, err, out)
		}
		return time.Since(began)
	}
	round := func(kubeconfig string, between func()) (joined, left time.Duration) {
		joined = process(kubeconfig, "join one --federation bench --member-context member")
		between()
		left = process(kubeconfig, "unjoin one --member-context member")
		for _, ref := range []cluster.Ref{member.ManagerAccountRef(), member.MembershipRef()} {
			if o, err := m.Find(b.Context(), ref); err != nil || o != nil {
				b.Fatalf("%s is there after unjoin: %v, %v", ref, o, err)
			}
		}
		err := wait.PollUntilContextTimeout(b.Context(), 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
			o, err := m.Find(ctx, member.NamespaceRef())
			return o == nil && err == nil, err
		})
		if err != nil {
			b.Fatal(err)
		}
		return joined, left
	}

	long := &longWay{}
	slow := filepath.Join(dir, "slow")
	if err := env.WriteKubeconfig(slow, long.front(b, hostCluster), long.front(b, memberCluster)); err != nil {
		b.Fatal(err)
	}
	var joinTrips, leaveTrips int
	round(slow, func() { joinTrips = long.trips() })
	leaveTrips = long.trips()

	direct := filepath.Join(dir, "direct")
	if err := env.WriteKubeconfig(direct, hostCluster.Context(), memberCluster.Context()); err != nil {
		b.Fatal(err)
	}
	var joins, leaves []time.Duration
	for b.Loop() {
		if len(joins) < joinRounds {
			joined, left := round(direct, func() {})
			joins, leaves = append(joins, joined), append(leaves, left)
		}
	}
	join, leave := median(joins), median(leaves)
	b.ReportMetric(0, "ns/op") // most of it is waiting for the namespace
	b.ReportMetric(join.Seconds(), "join-s")
	b.ReportMetric(leave.Seconds(), "unjoin-s")
	b.ReportMetric(float64(joinTrips), "join-trips")
	b.ReportMetric(float64(leaveTrips), "unjoin-trips")
	if joinTrips > maxTrips {
		b.Errorf("a join takes %d round trips one after another, more than %d", joinTrips, maxTrips)
	}
	if len(joins) >= joinRounds && join > maxJoin {
		b.Errorf("a join takes %s, more than %s", join, maxJoin)
	}
	if len(leaves) >= joinRounds && leave > maxUnjoin {
		b.Errorf("an unjoin takes %s until the last grant is gone, more than %s", leave, maxUnjoin)
	}
}

// longWay stands in front of clusters that are far away, and remembers when which request was under way.
type longWay struct {
	mu    sync.Mutex
	spans []span
}

type span struct{ began, ended time.Time }

func (l *longWay) front(b *testing.B, c *env.Cluster) env.Context {
	b.Helper()
	front, err := c.Front(func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
		if !strings.HasPrefix(r.UserAgent(), "kubectl-federate/") {
			pass.ServeHTTP(w, r)
			return
		}
		began := time.Now()
		select {
		case <-r.Context().Done():
		case <-time.After(2 * requestDelay):
		}
		// The client sends its next request before this returns.
		defer func(ended time.Time) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.spans = append(l.spans, span{began, ended})
		}(time.Now())
		pass.ServeHTTP(w, r)
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(front.Close)
	return front.Context
}

// trips is how many requests followed one another since it was last asked: the most of which no two overlap.
func (l *longWay) trips() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	slices.SortFunc(l.spans, func(a, b span) int { return a.ended.Compare(b.ended) })
	n, last := 0, time.Time{}
	for _, s := range l.spans {
		if !s.began.Before(last) {
			n, last = n+1, s.ended
		}
	}
	l.spans = nil
	return n
}
