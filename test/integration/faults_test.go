//go:build unix

package integration

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
	"github.com/kubefederate/kubectl-federate/pkg/member"
	"github.com/kubefederate/kubectl-federate/test/env"
)

// viewAccess is the spec of a federation whose clients get the rights of view.
var viewAccess = map[string]any{"access": map[string]any{"clusterRole": "view"}}

// scenarios are those of TestFaults, those first that wait most.
var scenarios = []scenario{
	{name: "scenario-rotate-member", quick: true, waits: true, shards: 4, run: func(l *shard) { l.rotate(cluster.Member) }},
	{name: "scenario-rotate-trial", shards: 2, run: (*shard).rotateTrial},
	{name: "scenario-rotate-host", shards: 2, run: func(l *shard) { l.rotate(cluster.Host) }},
	{name: "scenario-unjoin-bare", bare: true, shards: 2, run: (*shard).unjoinBare},
	{name: "scenario-join-bare", bare: true, shards: 1, run: (*shard).joinBare},
	{name: "scenario-overtaken", quick: true, shards: 1, spec: viewAccess, run: (*shard).overtaken},
	{name: "scenario-join-trial", quick: true, shards: 1, run: (*shard).joinTrial},
	{name: "scenario-take-over", shards: 2, run: (*shard).takeOver},
	{name: "scenario-move", shards: 2, spec: viewAccess, run: (*shard).move},
	{name: "scenario-join", quick: true, shards: 1, spec: viewAccess, run: (*shard).join},
	{name: "scenario-unjoin", quick: true, shards: 1, spec: viewAccess, run: (*shard).unjoin},
}

// TestFaults fails the requests of join, unjoin, rotate, move and join --take-over in every way, each request in turn, and lets
// the cluster leave at each request of a join. After each either nothing has changed, or all was rolled back, or the error
// names the command that goes on; that command completes, and unjoin leaves every object on both sides as it was.
func TestFaults(t *testing.T) {
	t.Parallel()
	runScenarios(t, scenarios)
}

// faultRun is one command whose requests fail.
type faultRun struct {
	side cluster.Side
	// kinds are the faults; nil are all that a server or a network has.
	kinds []fault
	// meanwhile is what happens before a request with faultMeanwhile.
	meanwhile func()
	// only gives a run's choice of the requests that fail; nil are all.
	only func() func(*http.Request) bool
	// prepare brings the clusters to where the command begins.
	prepare func()
	// command is what runs, over connections that fail; it is run again without, to go on.
	command func(context.Context, *host.Cluster, *member.Cluster) error
	// next is the command line that goes on, or with back goes back, where that is another.
	next, back string
	// after looks at what a run left that changed something, and brings the clusters back to as they were.
	after func(what string, err error, partial bool)
}

// faultRun fails the requests: each in every way in the extended tier. In the full one each loses its answer, which leaves most
// to find out, and fails in two of the other ways; in the quick tier a sample fails.
func (l *shard) faultRun(s faultRun) {
	l.Helper()
	kinds := s.kinds
	if kinds == nil {
		kinds = faults
	}
	if testing.Short() && l.scenario.waits {
		kinds = []fault{faultLost}
	}
	end := 0
	for i, kind := range kinds {
		step := env.InTier(1, 4, 13)
		if (kind == faultLost || kind == faultMeanwhile) && !testing.Short() {
			step = 1
		}
		// The samples of the kinds are not the same requests.
		for k := 1 + i*5%step; end == 0 || k < end; k += step {
			if l.mine(i, k/step) && !l.try(s, kind, k) {
				end = k
			}
		}
	}
	if l.ready && s.prepare != nil {
		l.try(s, kinds[0], end) // no request fails, and what was prepared goes
	}
}

// try runs a command whose k-th request fails, and says whether there was one.
func (l *shard) try(s faultRun, kind fault, k int) bool {
	l.Helper()
	if !l.ready && s.prepare != nil {
		s.prepare()
	}
	l.ready = true
	ctx, over := newDeadline(l.Context())
	defer over()
	p := &proxy{kind: kind, side: s.side, k: k, over: over, meanwhile: s.meanwhile}
	if s.only != nil {
		p.only = s.only()
	}
	h := connectHost(l.T, p.through(l.host.Config(), cluster.Host))
	m := connectMember(l.T, p.through(l.way(), cluster.Member))
	l.trial.fail(p)
	err := s.command(ctx, h, m)
	l.trial.fail(nil)
	what := fmt.Sprintf("%s: request %d (%s) %s", s.side, k, p.hit, kind)
	if p.hit == "" {
		if err != nil {
			l.Fatalf("%s: without a fault: %v", s.side, err)
		}
	} else {
		l.cases++
	}
	if kind == faultBusy && err != nil && !strings.Contains(err.Error(), "timed out") {
		l.Errorf("%s: is not tried again: %v", what, err)
	}
	if err != nil {
		l.keepMessage(string(kind), err.Error(), p.tokens)
	}
	var partial *federate.Partial
	switch {
	case p.hit == "":
	case err == nil:
		l.ends["went on"]++
	case errors.As(err, &partial):
		l.ends["partial"]++
		if partial.Next != s.next && (s.back == "" || partial.Next != s.back) {
			l.Errorf("%s: to continue, run: %q, want %q\n%v", what, partial.Next, s.next, err)
		}
	case p.wrote:
		l.ends["rolled back"]++
	default:
		l.ends["nothing changed"]++
	}
	// What sent nothing that could change anything has changed nothing: TestDryRuns shows that changes sees all of it.
	if p.wrote {
		l.ready = false
		if s.after != nil {
			s.after(what, err, partial != nil)
		}
		l.unchanged(what)
	}
	if l.Failed() {
		l.Fatalf("%s: %v", what, err)
	}
	return p.hit != ""
}

// sideTrial are the requests with a new credential, which a command sends over a connection of its own.
const sideTrial cluster.Side = "trial"

// trial is a front that fails them.
type trial struct {
	front *env.Front
	p     atomic.Pointer[proxy]
}

// tried lets the shard reach its member through a front from now on, so that a credential is tried through it as well.
func (l *shard) tried() {
	l.Helper()
	l.trial = &trial{}
	front, err := l.member.Front(func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
		p := l.trial.p.Load()
		if p == nil || r.Header.Get("Authorization") == "Bearer "+l.trial.front.Config.BearerToken || strings.HasPrefix(r.UserAgent(), "kubefederate-manager/") {
			pass.ServeHTTP(w, r)
			return
		}
		p.serve(w, r, sideTrial, pass)
	})
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(front.Close)
	l.trial.front = front
	l.m = connectMember(l.T, l.way())
}

// fail lets p fail them from now on; nil lets them through.
func (t *trial) fail(p *proxy) {
	if t != nil {
		t.p.Store(p)
	}
}

// both fault runs over both sides.
func (l *shard) both(s faultRun) {
	l.Helper()
	for _, s.side = range []cluster.Side{cluster.Host, cluster.Member} {
		l.faultRun(s)
	}
	l.unchanged("at the end")
}

// joins is a fault run over a join. What went on or could not be rolled back leaves; every other time the join that was cut
// off is completed first.
func (l *shard) joins() faultRun {
	return faultRun{
		command: l.doJoin,
		next:    "kubectl federate join " + l.name + " --federation " + l.name + " --member-context east",
		after: func(what string, err error, partial bool) {
			if partial && l.cases%2 == 0 {
				l.again(what, l.doJoin)
			}
			if err == nil || partial {
				l.again(what, l.doUnjoin)
			}
		},
	}
}

func (l *shard) unjoins() faultRun {
	return faultRun{
		prepare: func() { l.again("join", l.doJoin) },
		command: l.doUnjoin,
		next:    "kubectl federate unjoin " + l.name + " --member-context east",
		after:   func(what string, _ error, _ bool) { l.again(what, l.doUnjoin) },
	}
}

func (l *shard) join() { l.both(l.joins()) }

func (l *shard) joinTrial() {
	l.tried()
	s := l.joins()
	s.side = sideTrial
	l.faultRun(s)
}

func (l *shard) rotateTrial() {
	l.tried()
	l.rotate(sideTrial)
}

// joinBare fails what follows on the member when the namespace is being made: until then all is as in join.
func (l *shard) joinBare() {
	s := l.joins()
	s.side, s.only = cluster.Member, since(func(r *http.Request) bool {
		return r.Method == http.MethodPost && r.URL.Path == "/api/v1/namespaces" && changes(r)
	})
	l.faultRun(s)
}

// unjoinBare fails what follows the end of the membership record on the member: all of it is about the namespace.
func (l *shard) unjoinBare() {
	s := l.unjoins()
	s.side, s.only = cluster.Member, since(func(r *http.Request) bool {
		return r.Method == http.MethodDelete && strings.HasSuffix(r.URL.Path, "/configmaps/membership") && changes(r)
	})
	l.faultRun(s)
}

// since chooses a request of a run and all that follow.
func since(first func(*http.Request) bool) func() func(*http.Request) bool {
	return func() func(*http.Request) bool {
		begun := false
		return func(r *http.Request) bool {
			begun = begun || first(r)
			return begun
		}
	}
}

// overtaken lets the cluster leave while a join is at one of its requests: a join that makes a member, and one that renews
// its credential. Either the cluster is a member in the end, or all is as it was and the join says what happened.
func (l *shard) overtaken() {
	var left error
	s := l.joins()
	s.kinds = []fault{faultMeanwhile}
	s.meanwhile = func() {
		if left = l.doUnjoin(l.Context(), l.h, l.m); left != nil {
			l.keepMessage("the unjoin", left.Error(), nil)
		}
	}
	s.after = func(what string, err error, partial bool) {
		record, readErr := l.h.FindMember(l.Context(), v1alpha1.MemberName(l.name))
		switch {
		case readErr != nil:
			l.Fatalf("%s: %v", what, readErr)
		case left != nil || partial:
			// The command of the message is run next.
		case err == nil && record != nil:
			if err := works(l.T, l.credential()); err != nil {
				l.Errorf("%s: the stored credential does not work: %v", what, err)
			}
		default:
			l.unchanged(what + ": and the cluster left")
		}
		if partial && l.cases%2 == 0 {
			l.again(what, s.command)
		}
		l.again(what, l.doUnjoin)
		left = nil
	}
	l.both(s)
	s.prepare = func() { l.again("join", s.command) }
	l.both(s)
}

func (l *shard) unjoin() { l.both(l.unjoins()) }

// orphaned is the credential of a host that is gone: a token that was never used, so that no API server remembers it.
func (l *shard) orphaned() *kubeconfig.Access {
	l.Helper()
	access := l.orphan(v1alpha1.MemberName("lost-" + l.name))
	binding, err := l.m.Get(l.Context(), member.BindingRefs()[0])
	if err != nil {
		l.Fatal(err)
	}
	token, err := l.m.ManagerToken(l.Context(), time.Hour, member.Binding{Ref: member.BindingRefs()[0], UID: binding.GetUID()})
	if err != nil {
		l.Fatal(err)
	}
	access.Token = token.Value
	return access
}

// takeOver: until the membership record is taken nothing has changed; from then on the take-over goes
// on, and when it is done the other host's credential is worth nothing.
func (l *shard) takeOver() {
	var theirs *kubeconfig.Access
	command := func(ctx context.Context, h *host.Cluster, m *member.Cluster) error {
		_, err := join(ctx, h, m, l.options(federate.JoinOptions{Cluster: command.Cluster{Context: "east"}, TakeOver: true}))
		return err
	}
	s := faultRun{
		prepare: func() { theirs = l.orphaned() },
		command: command,
		next:    "kubectl federate join " + l.name + " --federation " + l.name + " --member-context east --take-over",
		after: func(what string, err error, partial bool) {
			if err != nil && !partial {
				k, readErr := l.m.Membership(l.Context())
				if readErr != nil || k == nil || k.HostID != goneHost {
					l.Errorf("%s: nothing was to be changed, and the membership record is %+v, %v: %v", what, k, readErr, err)
				}
			}
			if err != nil {
				l.again(what, command)
			}
			l.worthless(what, theirs)
			l.again(what, l.doUnjoin)
		},
	}
	l.both(s)
}

// move: after each fault the cluster is a member of one of the two federations, with its labels and a credential that works and
// has the lifetime that was asked for, or the error names the command that goes on, or back.
func (l *shard) move() {
	to := v1alpha1.FederationName(l.name + "-to")
	federation(l.T, l.host, string(to), nil)
	from := l.options(federate.JoinOptions{
		Cluster: command.Cluster{Context: "east"}, Labels: map[string]string{"example.com/team": "web"}, TokenLifetime: 48 * time.Hour,
	})
	back := func(ctx context.Context, h *host.Cluster, m *member.Cluster) error {
		_, err := join(ctx, h, m, from)
		return err
	}
	on := func(ctx context.Context, h *host.Cluster, m *member.Cluster) error {
		_, err := move(ctx, h, m, federate.JoinOptions{Name: from.Name, Federation: to, Cluster: from.Cluster})
		return err
	}
	s := faultRun{
		prepare: func() { l.again("join", back) },
		command: on,
		next:    "kubectl federate move " + l.name + " --to " + string(to) + " --member-context east",
		back:    "kubectl federate join " + l.name + " --federation " + l.name + " --member-context east --labels example.com/team=web --token-lifetime 2d",
	}
	s.after = func(what string, err error, partial bool) {
		failed, _ := errors.AsType[*federate.Partial](err)
		switch {
		case err == nil:
			l.isMember(what, to)
		case !partial:
			l.isMember(what, from.Federation)
		case l.cases%2 == 1:
			// It leaves as it is.
		case failed.Next == s.next:
			l.again(what, on)
			l.isMember(what+", again", to)
		default:
			l.again(what, back)
			l.isMember(what+", and back", from.Federation)
		}
		l.again(what, l.doUnjoin)
	}
	l.both(s)
}

// isMember holds that the cluster is a member of the federation, as move knows it.
func (l *shard) isMember(what string, federation v1alpha1.FederationName) {
	l.Helper()
	m, err := l.h.Member(l.Context(), v1alpha1.MemberName(l.name))
	if err != nil {
		l.Fatalf("%s: %v", what, err)
	}
	k, err := l.m.Membership(l.Context())
	if err != nil || k == nil {
		l.Fatalf("%s: membership record %v, %v", what, k, err)
	}
	if m.Federation() != federation || m.Labels["example.com/team"] != "web" || m.Annotations[v1alpha1.AnnotationAttempt] != "" {
		l.Errorf("%s: want a member of %s: %+v", what, federation, m.ObjectMeta)
	}
	if k.Federation != federation || k.MemberUID != m.UID || k.TakenFrom != "" {
		l.Errorf("%s: want the membership record of %s: %+v", what, federation, k)
	}
	lifetime := 48 * time.Hour
	if strings.Contains(what, "/"+cluster.AdmissionPolicies.Resource+"/"+member.PolicyRefs()[1].Name+") answered 403") {
		lifetime = federate.DefaultTokenLifetime // what was asked for stands in the policy, and a note says that it was not read
	}
	secret, err := l.h.Get(l.Context(), host.CredentialRef(v1alpha1.MemberName(l.name)))
	if err != nil || secret.GetAnnotations()[v1alpha1.AnnotationTokenLifetime] != lifetime.String() || secret.GetLabels()[v1alpha1.LabelFederation] != string(federation) {
		l.Errorf("%s: the credential is not that of %s: %v", what, federation, err)
	}
	if err := works(l.T, l.credential()); err != nil {
		l.Errorf("%s: the stored credential does not work: %v", what, err)
	}
}

// rotate: after each fault the host keeps a credential that works, or a rotation or a join that is run next stores one. A
// rotation leaves one Secret and no earlier credential.
func (l *shard) rotate(side cluster.Side) {
	command := func(ctx context.Context, h *host.Cluster, m *member.Cluster) error {
		_, err := rotate(ctx, h, m, federate.RotateOptions{Name: v1alpha1.MemberName(l.name), Cluster: command.Cluster{Context: "east"}})
		return err
	}
	var old *kubeconfig.Access
	s := faultRun{
		side: side, command: command,
		prepare: func() {
			l.again("join", l.doJoin)
			old = l.credential()
		},
		next: "kubectl federate rotate " + l.name + " --member-context east",
		after: func(what string, err error, partial bool) {
			halfway := l.credential()
			switch {
			case err == nil:
				l.rotated(what, old)
			case partial && l.cases%2 == 0:
				l.again(what, command)
				l.rotated(what+", again", old, halfway)
			case partial:
				l.again(what, l.doJoin)
				if err := works(l.T, l.credential()); err != nil {
					l.Fatalf("%s, then join: the stored credential does not work: %v", what, err)
				}
			default:
				if err := works(l.T, halfway); err != nil || halfway.Token != old.Token {
					l.Errorf("%s: the credential changed or does not work: %v", what, err)
				}
				if got := bindings(l.T, l.member); len(got) != 1 {
					l.Errorf("%s: Secrets %v are left, want one, after %v", what, got, err)
				}
			}
			l.again(what, l.doUnjoin)
		},
	}
	switch {
	case side == sideTrial:
		// The endpoint is tried, and the new credential, and then the token of the old account, again and again until it is refused.
		s.only = func() func(*http.Request) bool {
			n := 0
			return func(*http.Request) bool { n++; return n <= 3 }
		}
	case testing.Short():
		s.only = func() func(*http.Request) bool { return changes }
	}
	l.faultRun(s)
}
