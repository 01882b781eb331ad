//go:build unix

package integration

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
	"github.com/kubefederate/kubectl-federate/pkg/member"
	"github.com/kubefederate/kubectl-federate/test/env"
)

// scenario is a command that runs with a fault at one request, again and again. Drills run beside each other, each with
// members and federations of its own on one host.
type scenario struct {
	name string
	// spec is the federation's.
	spec map[string]any
	// bare leaves it to the command to make our namespace on the member, and to take it off again, for which Kubernetes
	// needs five seconds. In the full tier the member is one where the test does that instead of Kubernetes, at once. Most
	// faults are tried where a user has made the namespace, with something of theirs in it.
	bare bool
	// waits says that a run may wait for seconds: in the quick tier one kind of fault is tried.
	waits bool
	// shards is how many run beside each other in the full tier, each with a part of the faults.
	shards int
	run    func(*shard)
}

// scenarios are all of them, those first that wait most.
var scenarios = []scenario{
	{name: "scenario-rotate-member", waits: true, shards: 4, run: func(l *shard) { l.rotate(federate.SideMember) }},
	{name: "scenario-rotate-trial", waits: true, shards: 2, run: (*shard).rotateTrial},
	{name: "scenario-rotate-host", waits: true, shards: 2, run: func(l *shard) { l.rotate(federate.SideHost) }},
	{name: "scenario-unjoin-bare", bare: true, waits: true, shards: 2, run: (*shard).unjoinBare},
	{name: "scenario-join-bare", bare: true, waits: true, shards: 1, run: (*shard).joinBare},
	{name: "scenario-overtaken", shards: 1, spec: map[string]any{"access": map[string]any{"clusterRole": "view"}}, run: (*shard).overtaken},
	{name: "scenario-join-trial", shards: 1, run: (*shard).joinTrial},
	{name: "scenario-take-over", shards: 2, run: (*shard).takeOver},
	{name: "scenario-join", shards: 1, spec: map[string]any{"access": map[string]any{"clusterRole": "view"}}, run: (*shard).join},
	{name: "scenario-unjoin", shards: 1, spec: map[string]any{"access": map[string]any{"clusterRole": "view"}}, run: (*shard).unjoin},
}

// shard is a scenario at work, or a part of it.
type shard struct {
	*testing.T
	scenario
	// name is its member's and its federation's: the scenario's, with a letter where it has several shards.
	name string
	// part of parts says which faults are this shard's.
	part, parts  int
	host, member *env.Cluster
	h            *host.Cluster
	m            *member.Cluster
	// trial stands before the member where the trial of a credential is to fail; else it is nil.
	trial  *trial
	before map[*env.Cluster]env.Objects
	// ready says that the clusters are where the command begins.
	ready bool
	cases int
	ends  map[string]int
	// said is what all shards of the scenario say.
	said    *messages
	secrets []string
}

// mine says whether the i-th kind of fault at the k-th request is this shard's.
func (l *shard) mine(i, k int) bool { return (i+k)%l.parts == l.part }

// TestFaults fails the requests of join, unjoin, rotate and join --take-over in every way, each request in turn, and lets
// the cluster leave at each request of a join. After each either nothing has changed, or all was rolled back, or the error
// names the command that goes on; that command completes, and unjoin leaves every object on both sides as it was. In the
// quick tier a sample of the requests fails.
func TestFaults(t *testing.T) {
	joinHost(t)
	members := []*env.Cluster{joinFleet(t).Cluster("east"), joinFleet(t).Cluster("west")}
	runScenarios(t, scenarios, scenarioMembers(t, members, 6))
}

// scenarioMembers are members that wait for a shard; in the full tier there are more of them.
func scenarioMembers(t *testing.T, members []*env.Cluster, more int) chan *env.Cluster {
	t.Helper()
	free := make(chan *env.Cluster, len(members)+more)
	for _, c := range members {
		free <- c
	}
	if testing.Short() {
		return free
	}
	var wait sync.WaitGroup
	for i := range more {
		wait.Go(func() {
			if c := addMember(t, env.Spec{Name: fmt.Sprintf("%s-%d", strings.ToLower(t.Name()), i), ControllerManager: true}); c != nil {
				free <- c
			}
		})
	}
	wait.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return free
}

// addMember starts a cluster, which stops with the test; nil when it did not start.
func addMember(t *testing.T, spec env.Spec) *env.Cluster {
	t.Helper()
	c, err := joinFleet(t).Add(t.Context(), spec)
	if err != nil {
		t.Error(err)
		return nil
	}
	t.Cleanup(c.Stop)
	return c
}

// runScenarios runs all shards of scenarios, as many at once as there are members, and then looks at what they said.
func runScenarios(t *testing.T, scenarios []scenario, free chan *env.Cluster) {
	t.Helper()
	hostCluster := joinFleet(t).Cluster("host")
	said := make([]messages, len(scenarios))
	var wait sync.WaitGroup
	for i, d := range scenarios {
		parts := d.shards
		if testing.Short() {
			parts = 1
		}
		for part := range parts {
			l := &shard{scenario: d, name: d.name, part: part, parts: parts, host: hostCluster, said: &said[i]}
			if shared := testing.Short() || !d.bare; shared {
				l.member = <-free
			}
			name := strings.TrimPrefix(strings.TrimPrefix(d.name, "scenario-"), "kill-")
			if parts > 1 {
				suffix := "-" + string(rune('a'+part))
				l.name, name = l.name+suffix, name+suffix
			}
			wait.Go(func() {
				if l.member != nil {
					defer func(c *env.Cluster) { free <- c }(l.member)
				}
				t.Run(name, func(t *testing.T) {
					l.T = t
					if l.member == nil {
						l.member = addMember(t, env.Spec{Name: l.name})
					}
					if t.Failed() {
						return
					}
					l.work()
				})
			})
		}
	}
	wait.Wait()
	for i, d := range scenarios {
		said[i].check(t, d.name)
	}
}

// work lays the shard out and runs it.
func (l *shard) work() {
	began := time.Now()
	l.ends = map[string]int{}
	spec := l.spec
	if spec == nil {
		spec = map[string]any{}
	}
	federation(l.T, l.host, l.name, spec)
	settle(l.T, l.member)
	if !l.bare {
		userNamespace(l.T, l.member)
	}
	l.h, l.m = connectHost(l.T, l.host.Config()), connectMember(l.T, l.member.Config())
	l.before = map[*env.Cluster]env.Objects{}
	for _, c := range []*env.Cluster{l.host, l.member} {
		o, err := c.Snapshot(l.Context())
		if err != nil {
			l.Fatal(err)
		}
		// The journal numbers what was admitted, and numbers do not go back.
		l.before[c] = o.Without("configmaps " + v1alpha1.HostNamespace + "/" + manifests.Journal)
	}
	l.secrets = []string{string(l.m.Config().KeyData), string(l.h.Config().KeyData)}
	l.run(l)
	l.Logf("%d faults in %.0f s: %v", l.cases, time.Since(began).Seconds(), l.ends)
}

// told keeps what a command said, and how it came to that.
func (l *shard) told(how, text string, tokens []string) {
	l.Helper()
	for _, secret := range slices.Concat(l.secrets, tokens) {
		if strings.Contains(text, secret) {
			l.Errorf("a token or a key is told:\n%s", text)
		}
	}
	// All shards of a scenario say the same.
	l.said.keep(how, strings.ReplaceAll(text, l.name, l.scenario.name))
}

// unchanged waits until both clusters are as they were, but for what other scenarios do on the host meanwhile: garbage
// collection, the end of a namespace and the manager's counting take their time.
func (l *shard) unchanged(what string) {
	l.Helper()
	for c, before := range l.before {
		deadline := time.Now().Add(60 * time.Second)
		for {
			lines, err := c.Changes(l.Context(), before)
			if err != nil {
				l.Fatal(err)
			}
			lines = slices.DeleteFunc(lines, l.others)
			if len(lines) == 0 {
				break
			}
			if c == l.member && !c.ControllerManager {
				l.finalize()
			}
			if time.Now().After(deadline) {
				l.Fatalf("%s: what changed on %s:\n%s", what, c.Name, strings.Join(lines, "\n"))
			}
			select {
			case <-l.Context().Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
}

// finalize ends our namespace on the member when it is being deleted, as a controller manager would five seconds later.
func (l *shard) finalize() {
	l.Helper()
	c := clientset(l.T, l.member.Config())
	o, err := c.CoreV1().Namespaces().Get(l.Context(), v1alpha1.MemberNamespace, metav1.GetOptions{})
	if err != nil || o.DeletionTimestamp == nil {
		return
	}
	for _, empty := range []func(context.Context, metav1.DeleteOptions, metav1.ListOptions) error{
		c.CoreV1().ConfigMaps(v1alpha1.MemberNamespace).DeleteCollection,
		c.CoreV1().ServiceAccounts(v1alpha1.MemberNamespace).DeleteCollection,
		c.CoreV1().Secrets(v1alpha1.MemberNamespace).DeleteCollection,
		c.RbacV1().Roles(v1alpha1.MemberNamespace).DeleteCollection,
		c.RbacV1().RoleBindings(v1alpha1.MemberNamespace).DeleteCollection,
	} {
		if err := empty(l.Context(), metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
			l.Fatal(err)
		}
	}
	o.Spec.Finalizers = nil
	if _, err := c.CoreV1().Namespaces().Finalize(l.Context(), o, metav1.UpdateOptions{}); err != nil {
		l.Fatal(err)
	}
}

var scenarioName = regexp.MustCompile(`scenario-[a-z-]+`)

// others says whether a line of a comparison is another scenario's.
func (l *shard) others(line string) bool {
	name := scenarioName.FindString(line)
	return name != "" && name != l.name
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
	// next is the command line that goes on.
	next string
	// after looks at what a run left that changed something, and brings the clusters back to as they were.
	after func(what string, err error, partial bool)
}

// faultRun fails the requests, each in every way; in the quick tier a sample of them.
func (l *shard) faultRun(s faultRun) {
	l.Helper()
	kinds, step := s.kinds, 1
	if kinds == nil {
		kinds = faults
	}
	if testing.Short() {
		step = 13
		if l.waits {
			kinds = []fault{faultLost}
		}
	}
	end := 0
	for i, kind := range kinds {
		// The samples of the kinds are not the same requests.
		for k := 1 + i*3%step; end == 0 || k < end; k += step {
			if l.mine(i, k) && !l.try(s, kind, k) {
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
	if kind == faultBusy && err != nil {
		l.Errorf("%s: is not tried again: %v", what, err)
	}
	if err != nil {
		l.told(string(kind), err.Error(), p.tokens)
	}
	var partial *federate.Partial
	switch {
	case p.hit == "":
	case err == nil:
		l.ends["went on"]++
	case errors.As(err, &partial):
		l.ends["partial"]++
		if partial.Next != s.next {
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

// way is how the shard reaches its member.
func (l *shard) way() *rest.Config {
	if l.trial == nil {
		return l.member.Config()
	}
	return rest.CopyConfig(l.trial.front.Config)
}

// sideTrial are the requests with a new credential, which a command sends over a connection of its own.
const sideTrial federate.Side = "trial"

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
	for _, s.side = range []federate.Side{federate.SideHost, federate.SideMember} {
		l.faultRun(s)
	}
	l.unchanged("at the end")
}

func (l *shard) joinOptions() federate.JoinOptions {
	return federate.JoinOptions{Name: v1alpha1.MemberName(l.name), Federation: v1alpha1.FederationName(l.name), MemberContext: "east"}
}

func (l *shard) doJoin(ctx context.Context, h *host.Cluster, m *member.Cluster, o federate.JoinOptions) error {
	plan, err := federate.PlanJoin(ctx, h, m, o)
	if err == nil {
		_, err = plan.Apply(ctx, nil)
	}
	return err
}

func (l *shard) doUnjoin(ctx context.Context, h *host.Cluster, m *member.Cluster) error {
	plan, err := federate.PlanUnjoin(ctx, h, m, federate.UnjoinOptions{Name: v1alpha1.MemberName(l.name), MemberContext: "east"})
	if err == nil {
		_, err = plan.Apply(ctx, nil)
	}
	return err
}

// again runs a command without a fault.
func (l *shard) again(what string, command func(context.Context, *host.Cluster, *member.Cluster) error) {
	l.Helper()
	if err := command(l.Context(), l.h, l.m); err != nil {
		l.Fatalf("%s: then without a fault: %v", what, err)
	}
}

// joins is a fault run over a join. What went on or could not be rolled back leaves; every other time the join that was cut
// off is completed first.
func (l *shard) joins() faultRun {
	command := func(ctx context.Context, h *host.Cluster, m *member.Cluster) error {
		return l.doJoin(ctx, h, m, l.joinOptions())
	}
	return faultRun{
		command: command,
		next:    "kubectl federate join " + l.name + " --federation " + l.name + " --member-context east",
		after: func(what string, err error, partial bool) {
			if partial && l.cases%2 == 0 {
				l.again(what, command)
			}
			if err == nil || partial {
				l.again(what, l.doUnjoin)
			}
		},
	}
}

func (l *shard) unjoins() faultRun {
	return faultRun{
		prepare: func() {
			l.again("join", func(ctx context.Context, h *host.Cluster, m *member.Cluster) error {
				return l.doJoin(ctx, h, m, l.joinOptions())
			})
		},
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
	s.side, s.only = federate.SideMember, since(func(r *http.Request) bool {
		return r.Method == http.MethodPost && r.URL.Path == "/api/v1/namespaces" && changes(r)
	})
	l.faultRun(s)
}

// unjoinBare fails what follows the end of the membership record on the member: all of it is about the namespace.
func (l *shard) unjoinBare() {
	s := l.unjoins()
	s.side, s.only = federate.SideMember, since(func(r *http.Request) bool {
		return r.Method == http.MethodDelete && strings.HasSuffix(r.URL.Path, "/configmaps/membership")
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
			l.told("the unjoin", left.Error(), nil)
		}
	}
	s.after = func(what string, err error, partial bool) {
		record, readErr := l.h.FindMember(l.Context(), v1alpha1.MemberName(l.name))
		switch {
		case readErr != nil:
			l.Fatalf("%s: %v", what, readErr)
		case left != nil || partial:
			// Whoever is told to go on, goes on.
		case err == nil && record != nil:
			if err := works(l.T, credential(l.T, l.host, l.name)); err != nil {
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

// orphaned is the credential of a host that is gone: a token that nobody has used, so that no API server remembers it.
func (l *shard) orphaned() *kubeconfig.Access {
	l.Helper()
	access := orphan(l.T, l.host, l.member, v1alpha1.MemberName("lost-"+l.name), v1alpha1.FederationName(l.name))
	binding, err := l.m.Get(l.Context(), member.BindingRefs()[0])
	if err != nil {
		l.Fatal(err)
	}
	token, err := l.m.RequestToken(l.Context(), time.Hour, member.Binding{Ref: member.BindingRefs()[0], UID: binding.GetUID()})
	if err != nil {
		l.Fatal(err)
	}
	access.Token = token.Value
	return access
}

// takeOver: until the membership record is taken nothing has changed; from then on the take-over goes
// on, and when it is done the other host's credential is worth nothing.
func (l *shard) takeOver() {
	options := l.joinOptions()
	options.TakeOver = true
	var theirs *kubeconfig.Access
	command := func(ctx context.Context, h *host.Cluster, m *member.Cluster) error {
		return l.doJoin(ctx, h, m, options)
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
			eventually(l.T, what+": the other host's credential is worth nothing", func(context.Context) error {
				if !apierrors.IsUnauthorized(works(l.T, theirs)) {
					return errors.New("it still works")
				}
				return nil
			})
			l.again(what, l.doUnjoin)
		},
	}
	l.both(s)
}

// rotate: after each fault the host keeps a credential that works. Every other time a rotation that was cut off is
// completed, which leaves one Secret and no earlier credential.
func (l *shard) rotate(side federate.Side) {
	options := federate.RotateOptions{Name: v1alpha1.MemberName(l.name), MemberContext: "east"}
	command := func(ctx context.Context, h *host.Cluster, m *member.Cluster) error {
		plan, err := federate.PlanRotate(ctx, h, m, options)
		if err == nil {
			_, err = plan.Apply(ctx, nil)
		}
		return err
	}
	var old *kubeconfig.Access
	s := faultRun{
		side: side, command: command,
		prepare: func() {
			l.again("join", func(ctx context.Context, h *host.Cluster, m *member.Cluster) error {
				return l.doJoin(ctx, h, m, l.joinOptions())
			})
			old = credential(l.T, l.host, l.name)
		},
		next: "kubectl federate rotate " + l.name + " --member-context east",
		after: func(what string, err error, partial bool) {
			halfway := credential(l.T, l.host, l.name)
			if err := works(l.T, halfway); err != nil {
				l.Fatalf("%s: the stored credential does not work: %v", what, err)
			}
			switch {
			case err == nil:
				rotated(l.T, what, l.host, l.member, l.name, old)
			case partial && l.cases%2 == 0:
				l.again(what, command)
				rotated(l.T, what+", again", l.host, l.member, l.name, old, halfway)
			case !partial:
				if halfway.Token != old.Token {
					l.Errorf("%s: another credential is stored after %v", what, err)
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
		// The new credential is tried, and then one bound to the same as the old one, again and again until it is refused.
		s.only = func() func(*http.Request) bool {
			n := 0
			return func(*http.Request) bool { n++; return n <= 2 }
		}
	case testing.Short():
		s.only = func() func(*http.Request) bool { return changes }
	}
	l.faultRun(s)
}

// settle waits until no namespace of ours is ending on a cluster.
func settle(t *testing.T, c *env.Cluster) {
	t.Helper()
	m := connectMember(t, c.Config())
	eventually(t, "namespace kubefederate-member is finished", func(ctx context.Context) error {
		o, err := m.Find(ctx, member.NamespaceRef())
		if err != nil || o == nil {
			return err
		}
		if o.GetDeletionTimestamp() != nil {
			return apierrors.NewTimeoutError("still ending", 1)
		}
		return nil
	})
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
