//go:build unix

package integration

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
	"github.com/kubefederate/kubectl-federate/pkg/member"
	"github.com/kubefederate/kubectl-federate/test/env"
)

// killRun is a command line whose process is ended, again and again.
type killRun struct {
	line string
	side cluster.Side
	// only gives a run's choice of the requests at which it ends; nil are all.
	only func() func(*http.Request) bool
	// every is how many requests lie between two at which it ends; 0 is 1.
	every    int
	killings []killing
	prepare  func()
	// ended looks at what a run left that changed something; nil looks at nothing.
	ended func(what string, code int)
	// works looks at what the command leaves when it has done its work, or is run again.
	works func(what string)
	// clean brings the clusters back to as they were.
	clean func(what string)
}

// hang ends the process at each request: in each way in the extended tier, in a third of them in the full one, and in the quick
// tier at a sample of the requests.
func (s *killShard) hang(h killRun) {
	s.Helper()
	every := max(h.every, 1)
	step := every * env.InTier(1, 3, max(5, 29/every))
	end := 0
	for i, kind := range h.killings {
		// The samples of the kinds are not the same requests.
		for k := 1 + i*5%step; end == 0 || k < end; k += step {
			if s.mine(i, k/step) && !s.try(h, kind, k) {
				end = k
			}
		}
	}
	if s.ready && h.prepare != nil {
		s.try(h, h.killings[0], end) // it runs to its end, and what was prepared goes
	}
}

// both hangs at the requests to both sides.
func (s *killShard) both(h killRun) {
	s.Helper()
	for _, h.side = range []cluster.Side{cluster.Host, cluster.Member} {
		s.hang(h)
	}
}

var (
	toContinue = regexp.MustCompile(`(?m)^to continue, run: kubectl federate (.*)$`)
	// timely are lines that come or not, earlier or later, as long as the machine takes: what is waited for, too.
	timely   = regexp.MustCompile(`(?m)^((host|member) +wait .*|reading the host and member .*|replacing the credential of member .*|Warning: spec.server: 127.0.0.1 is a loopback address: only this machine reaches it)\n`)
	exitName = map[int]string{-1: "a signal", 0: "exit code 0", 1: "exit code 1", 2: "exit code 2", 3: "exit code 3"}
)

// try ends the process at the k-th request, and says whether there was one.
func (s *killShard) try(h killRun, kind killing, k int) bool {
	s.Helper()
	if !s.ready && h.prepare != nil {
		h.prepare()
	}
	s.ready = true
	g := &killProxy{killing: kind, side: h.side, k: k}
	if h.only != nil {
		g.only = h.only()
	}
	code, out, errOut := s.run(g, h.line)
	what := fmt.Sprintf("%s: %s (request %d, %s)", h.side, kind.name, k, g.hit)
	if g.hit == "" {
		if code != 0 {
			s.Fatalf("%s: %s: exit code %d\n%s%s", h.side, h.line, code, out, errOut)
		}
	} else {
		s.cases++
		s.ends[exitName[code]]++
	}
	next := toContinue.FindStringSubmatch(errOut)
	switch {
	case g.hit == "":
	case kind.signal == syscall.SIGKILL || kind.again && g.ended:
		if code != -1 {
			s.Errorf("%s: exit code %d", what, code)
		}
	case (code == 3) != (next != nil), code < 0, code == 2:
		s.Errorf("%s: %s\n%s", what, exitName[code], errOut)
	case next != nil && next[1] != h.line:
		s.Errorf("%s: to continue, run: %q, want %q", what, next[1], h.line)
	}
	if g.hit != "" && code >= 0 {
		s.keepMessage(exitName[code], timely.ReplaceAllString(out+errOut, ""), g.tokens)
	}
	if g.wrote {
		s.ready = false
		if h.ended != nil {
			h.ended(what, code)
		}
		// What says so has rolled back what it began, and every other time the command is not run again.
		halfway := code == -1 || code == 3
		if halfway && s.cases%2 == 0 {
			s.completes(what, h.line)
			h.works(what)
		} else if code == 0 {
			h.works(what)
		}
		if halfway || code == 0 || h.prepare != nil {
			h.clean(what)
		}
	}
	if g.wrote || h.prepare == nil {
		s.unchanged(what)
	}
	if s.Failed() {
		s.FailNow()
	}
	return g.hit != ""
}

// TestKills ends the process of join, unjoin and rotate at each of its requests, to either side, before the request is
// carried out or after. What is left each time, the same command completes and unjoin removes: every object on both sides
// is then as it was. A process that is asked to end does so, and says how things stand.
func TestKills(t *testing.T) {
	t.Parallel()
	runScenarios(t, killScenarios)
}

func onKillShard(run func(*killShard)) func(*shard) { return func(l *shard) { run(newKillShard(l)) } }

// killScenarios are those of TestKills.
var killScenarios = []scenario{
	{name: "scenario-kill-rotate", shards: 3, run: onKillShard((*killShard).rotate)},
	{name: "scenario-kill-join", quick: true, spec: viewAccess, shards: 1, run: onKillShard((*killShard).join)},
	{name: "scenario-kill-unjoin", spec: viewAccess, shards: 1, run: onKillShard((*killShard).unjoin)},
}

func (s *killShard) joinLine() string {
	return "join " + s.name + " --federation " + s.name + " --member-context east"
}

func (s *killShard) unjoinLine() string { return "unjoin " + s.name + " --member-context east" }

// doUnjoin is for the connection past the interceptor, whose endpoint a killed command may have stored.
func (s *killShard) doUnjoin(ctx context.Context, h *host.Cluster, m *member.Cluster) error {
	_, err := unjoin(ctx, h, m, federate.UnjoinOptions{
		Name: v1alpha1.MemberName(s.name), Cluster: command.Cluster{Context: "east"}, Way: federate.Way{TrustContext: true},
	})
	return err
}

// proven waits until the manager has seen a key of the member, which then proves every way to it.
func (s *killShard) proven() {
	env.Eventually(s.T, "a signing key of "+s.name, func(ctx context.Context) error {
		m, err := s.h.FindMember(ctx, v1alpha1.MemberName(s.name))
		if err == nil && (m == nil || len(m.Status.SigningKeys) == 0) {
			err = errors.New("none is seen")
		}
		return err
	})
}

func (s *killShard) join() {
	h := killRun{
		line: s.joinLine(), killings: killings,
		works: func(what string) {
			if err := works(s.T, s.credential()); err != nil {
				s.Errorf("%s: the stored credential does not work: %v", what, err)
			}
		},
		clean: func(what string) { s.again(what, s.doUnjoin) },
	}
	s.both(h)
	h.side, h.killings, h.every = cluster.Member, []killing{duplicates}, 3
	h.only = func() func(*http.Request) bool { return changes }
	s.hang(h)
	// A later command waits until the one that was rolling back when it ended is given up.
	h.killings, h.every = []killing{twice}, 6
	s.hang(h)
}

func (s *killShard) unjoin() {
	h := killRun{
		line: s.unjoinLine(), killings: killings,
		prepare: func() { s.again("join", s.doJoin); s.proven() },
		works:   func(string) {},
		clean:   func(what string) { s.completes(what, s.unjoinLine()) },
	}
	s.both(h)
}

// rotate ends a rotation. The host keeps a credential that works, or the rotation that is run next stores one. It waits ten seconds for the
// member to refuse the old one, and asks again and again: of these requests it is ended at the first.
func (s *killShard) rotate() {
	var earlier []*kubeconfig.Access
	h := killRun{
		line: "rotate " + s.name + " --member-context east", killings: killings,
		only: func() func(*http.Request) bool {
			revoked, asked := false, false
			return func(r *http.Request) bool {
				asks := r.URL.Path == "/api/v1/namespaces/"+v1alpha1.IdentityNamespace
				counts := !(revoked && asked && asks)
				asked = revoked && (asked || asks)
				revoked = revoked || r.Method == http.MethodDelete && changes(r) && strings.Contains(r.URL.Path, "/secrets/")
				return counts
			}
		},
		prepare: func() {
			// Through the front, which then stands at the endpoint where credentials are tried, too.
			m := connectMember(s.T, rest.CopyConfig(s.east))
			if err := s.doJoin(s.Context(), s.h, m); err != nil {
				s.Fatal(err)
			}
			earlier = []*kubeconfig.Access{s.credential()}
		},
		ended: func(what string, code int) {
			now := s.credential()
			if err := works(s.T, now); err != nil && code != -1 && code != 3 {
				s.Fatalf("%s: the stored credential does not work: %v", what, err)
			}
			switch code {
			case -1:
				s.expire()
				fallthrough
			case 3:
				earlier = append(earlier, now)
			case 1:
				if now.Token != earlier[0].Token {
					s.Errorf("%s: another credential is stored", what)
				}
				if got := bindings(s.T, s.member); len(got) != 1 {
					s.Errorf("%s: Secrets %v are left, want one", what, got)
				}
			}
		},
		works: func(what string) { s.rotated(what, earlier...) },
		clean: func(what string) { s.again(what, s.doUnjoin) },
	}
	s.both(h)
}

// expire makes a rotation that died a minute old: until then another one waits for it.
func (s *killShard) expire() {
	s.Helper()
	for _, ref := range member.BindingRefs() {
		o, err := s.m.Find(s.Context(), ref)
		if err != nil {
			s.Fatal(err)
		}
		if o == nil || o.GetAnnotations()[v1alpha1.AnnotationAttempt] == "" {
			continue
		}
		id, _, _ := strings.Cut(o.GetAnnotations()[v1alpha1.AnnotationAttempt], " ")
		stamp := id + " " + time.Now().Add(-2*time.Minute).UTC().Format(time.RFC3339)
		if _, err := s.m.MergePatch(s.Context(), ref, map[string]any{"metadata": map[string]any{
			"annotations": map[string]any{v1alpha1.AnnotationAttempt: stamp}}}, cluster.DryRunNone); err != nil {
			s.Fatal(err)
		}
	}
}
