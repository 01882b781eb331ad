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

// drill is a command that runs with a fault at one request, again and again. Drills run beside each other, each with a
// member and a federation of its own on one host.
type drill struct {
	// name is the member's and its federation's.
	name string
	// spec is the federation's.
	spec map[string]any
	// bare leaves it to the command to make our namespace on the member, and to take it off again, for which
	// Kubernetes needs five seconds. Most faults are tried where a user has made it, with something of theirs in it.
	bare bool
	// waits says that every run waits for seconds: in the quick tier it is tried with one kind of fault.
	waits bool
	// every is how many requests lie between two that fail in one way in the full tier, at least 1. Where each fault costs
	// the ten seconds in which API servers forget a token, each request fails in some of the ways.
	every int
	run   func(*lane)
}

// drills are all of them, those first that wait most.
var drills = []drill{
	{name: "drill-rotate-member", waits: true, every: 2, run: func(l *lane) { l.rotate(federate.SideMember) }},
	{name: "drill-join-bare", bare: true, waits: true, run: (*lane).joinBare},
	{name: "drill-unjoin-bare", bare: true, waits: true, run: (*lane).unjoinBare},
	{name: "drill-rotate-host", waits: true, run: func(l *lane) { l.rotate(federate.SideHost) }},
	{name: "drill-take-over", run: (*lane).takeOver},
	{name: "drill-join", spec: map[string]any{"access": map[string]any{"clusterRole": "view"}}, run: (*lane).join},
	{name: "drill-unjoin", spec: map[string]any{"access": map[string]any{"clusterRole": "view"}}, run: (*lane).unjoin},
}

// lane is a drill at work.
type lane struct {
	*testing.T
	drill
	host, member *env.Cluster
	h            *host.Cluster
	m            *member.Cluster
	before       map[*env.Cluster]env.Objects
	// ready says that the clusters are where the command begins.
	ready bool
	cases int
	ends  map[string]int
	messages
}

// TestFaults fails the requests of join, unjoin, rotate and join --take-over in every way, each request in turn. After
// each either nothing has changed, or all was taken back, or the error names the command that goes on; that command
// completes, and unjoin leaves every object on both sides as it was. In the quick tier a sample of the requests fails.
func TestFaults(t *testing.T) {
	hostCluster := joinHost(t)
	members := []*env.Cluster{joinFleet(t).Cluster("east"), joinFleet(t).Cluster("west")}
	if !testing.Short() {
		for i := range 3 {
			c, err := joinFleet(t).Add(t.Context(), env.Spec{Name: fmt.Sprintf("drill-%d", i), ControllerManager: true})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(c.Stop)
			members = append(members, c)
		}
	}
	free := make(chan *env.Cluster, len(members))
	for _, c := range members {
		free <- c
	}
	var wait sync.WaitGroup
	for _, d := range drills {
		c := <-free
		wait.Go(func() {
			defer func() { free <- c }()
			t.Run(strings.TrimPrefix(d.name, "drill-"), func(t *testing.T) { newLane(t, d, hostCluster, c).work() })
		})
	}
	wait.Wait()
}

func newLane(t *testing.T, d drill, hostCluster, c *env.Cluster) *lane {
	t.Helper()
	l := &lane{T: t, drill: d, host: hostCluster, member: c, ends: map[string]int{}}
	if d.spec == nil {
		d.spec = map[string]any{}
	}
	federation(t, hostCluster, d.name, d.spec)
	settle(t, c)
	if !d.bare {
		userNamespace(t, c)
	}
	l.h, l.m = connectHost(t, hostCluster.Config()), connectMember(t, c.Config())
	l.before = map[*env.Cluster]env.Objects{}
	for _, c := range []*env.Cluster{hostCluster, c} {
		o, err := c.Snapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		// The journal numbers what was admitted, and numbers do not go back.
		l.before[c] = o.Without("configmaps " + v1alpha1.HostNamespace + "/" + manifests.Journal)
	}
	l.secrets = []string{string(l.m.Config().KeyData), string(l.h.Config().KeyData)}
	return l
}

func (l *lane) work() {
	began := time.Now()
	l.run(l)
	l.Logf("%d faults in %.0f s: %v", l.cases, time.Since(began).Seconds(), l.ends)
	l.check(l.T, l.name)
}

// unchanged waits until both clusters are as they were, but for what other drills do on the host meanwhile: garbage
// collection, the end of a namespace and the manager's counting take their time.
func (l *lane) unchanged(what string) {
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

var drillName = regexp.MustCompile(`drill-[a-z-]+`)

// others says whether a line of a comparison is another drill's.
func (l *lane) others(line string) bool {
	name := drillName.FindString(line)
	return name != "" && name != l.name
}

// sweep is one command whose requests fail.
type sweep struct {
	side cluster.Side
	// kinds are the faults; nil are all.
	kinds []fault
	// only says which requests fail; nil are all. every is how many requests lie between two that do, at least 1.
	only  func(*http.Request) bool
	every int
	// prepare brings the clusters to where the command begins.
	prepare func()
	// command is what runs, over connections that fail; it is run again without, to go on.
	command func(context.Context, *host.Cluster, *member.Cluster) error
	// next is the command line that goes on.
	next string
	// after looks at what a run left that changed something, and brings the clusters back to as they were.
	after func(what string, err error, partial bool)
}

// steps is how many requests lie between two that fail; in the quick tier only a sample does.
func (l *lane) steps(s sweep) int {
	if testing.Short() {
		return max(s.every, 13)
	}
	return max(s.every, l.every, 1)
}

// sweep fails the requests, each in every way.
func (l *lane) sweep(s sweep) {
	l.Helper()
	kinds := s.kinds
	if kinds == nil {
		kinds = faults
	}
	if testing.Short() && l.waits {
		kinds = []fault{faultLost}
	}
	end := 0
	for i, kind := range kinds {
		// The samples of the kinds are not the same requests.
		for k := 1 + i*3%l.steps(s); end == 0 || k < end; k += l.steps(s) {
			if !l.try(s, kind, k) {
				end = k
			}
		}
	}
}

// try runs a command whose k-th request fails, and says whether there was one.
func (l *lane) try(s sweep, kind fault, k int) bool {
	l.Helper()
	if !l.ready && s.prepare != nil {
		s.prepare()
	}
	l.ready = true
	ctx, over := newDeadline(l.Context())
	defer over()
	p := &proxy{kind: kind, side: s.side, k: k, only: s.only, over: over}
	h := connectHost(l.T, p.through(l.host.Config(), cluster.Host))
	m := connectMember(l.T, p.through(l.member.Config(), cluster.Member))
	err := s.command(ctx, h, m)
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
		l.told(l.T, string(kind), err.Error(), p.tokens)
	}
	var partial *federate.Partial
	switch {
	case p.hit == "":
	case err == nil:
		l.ends["went on"]++
	case errors.As(err, &partial):
		l.ends["partial"]++
		if partial.Next != s.next {
			l.Errorf("%s: to go on: %q, want %q\n%v", what, partial.Next, s.next, err)
		}
	case p.wrote:
		l.ends["taken back"]++
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

// both sweeps over both sides. A request for one of the caller's rights is one of many that one function sends, before
// anything is written: of those a sample fails, of all others each.
func (l *lane) both(s sweep) {
	l.Helper()
	for _, side := range []federate.Side{federate.SideHost, federate.SideMember} {
		s.side = side
		s.only, s.every = asks, 19
		l.sweep(s)
		s.only, s.every = func(r *http.Request) bool { return !asks(r) }, 1
		l.sweep(s)
	}
	l.unchanged("at the end")
}

func (l *lane) joinOptions() federate.JoinOptions {
	return federate.JoinOptions{Name: v1alpha1.MemberName(l.name), Federation: v1alpha1.FederationName(l.name), MemberContext: "east"}
}

func (l *lane) doJoin(ctx context.Context, h *host.Cluster, m *member.Cluster, o federate.JoinOptions) error {
	plan, err := federate.PlanJoin(ctx, h, m, o)
	if err == nil {
		_, err = plan.Apply(ctx, nil)
	}
	return err
}

func (l *lane) doUnjoin(ctx context.Context, h *host.Cluster, m *member.Cluster) error {
	plan, err := federate.PlanUnjoin(ctx, h, m, federate.UnjoinOptions{Name: v1alpha1.MemberName(l.name), MemberContext: "east"})
	if err == nil {
		_, err = plan.Apply(ctx, nil)
	}
	return err
}

// again runs a command without a fault.
func (l *lane) again(what string, command func(context.Context, *host.Cluster, *member.Cluster) error) {
	l.Helper()
	if err := command(l.Context(), l.h, l.m); err != nil {
		l.Fatalf("%s: then without a fault: %v", what, err)
	}
}

// joins is a sweep over a join. What went on or could not be taken back leaves; every other time the join that was cut
// off is completed first.
func (l *lane) joins() sweep {
	command := func(ctx context.Context, h *host.Cluster, m *member.Cluster) error {
		return l.doJoin(ctx, h, m, l.joinOptions())
	}
	return sweep{
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

func (l *lane) unjoins() sweep {
	return sweep{
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

func (l *lane) join() { l.both(l.joins()) }

// joinBare fails what changes something on the member. Which of the later requests fails makes no difference to the
// namespace, which goes last: of those a sample fails.
func (l *lane) joinBare() {
	s := l.joins()
	s.side, s.only = federate.SideMember, func(r *http.Request) bool {
		return changes(r) && (strings.HasSuffix(r.URL.Path, "/namespaces") || strings.HasSuffix(r.URL.Path, "/configmaps"))
	}
	l.sweep(s)
	s.only, s.every = changes, 5
	l.sweep(s)
}

// unjoinBare fails what removes the namespace, and a sample of the requests that look into it: what they ask for is
// different, what is done with an answer is the same.
func (l *lane) unjoinBare() {
	s := l.unjoins()
	begun := false
	s.command = func(ctx context.Context, h *host.Cluster, m *member.Cluster) error {
		begun = false
		return l.doUnjoin(ctx, h, m)
	}
	s.side, s.every = federate.SideMember, 23
	s.only = func(r *http.Request) bool {
		// All that follows the end of the marker is about the namespace.
		if r.Method == http.MethodDelete && strings.HasSuffix(r.URL.Path, "/configmaps/membership") {
			begun = true
			return false
		}
		return begun
	}
	l.sweep(s)
	s.every = 1
	s.only = func(r *http.Request) bool {
		return r.Method == http.MethodDelete && strings.HasSuffix(r.URL.Path, "/namespaces/"+v1alpha1.MemberNamespace)
	}
	l.sweep(s)
}

func (l *lane) unjoin() { l.both(l.unjoins()) }

// orphaned is the credential of a host that is gone: a token that nobody has used, so that no API server remembers it.
func (l *lane) orphaned() *kubeconfig.Access {
	l.Helper()
	access := orphan(l.T, l.host, l.member, v1alpha1.FederationName(l.name))
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

// takeOver fails what changes something. Until the marker is taken nothing has changed; from then on the take-over goes
// on, and when it is done the other host's credential is worth nothing.
func (l *lane) takeOver() {
	options := l.joinOptions()
	options.TakeOver = true
	var theirs *kubeconfig.Access
	command := func(ctx context.Context, h *host.Cluster, m *member.Cluster) error {
		return l.doJoin(ctx, h, m, options)
	}
	s := sweep{
		only:    changes,
		prepare: func() { theirs = l.orphaned() },
		command: command,
		next:    "kubectl federate join " + l.name + " --federation " + l.name + " --member-context east --take-over",
		after: func(what string, err error, partial bool) {
			if err != nil && !partial {
				k, readErr := l.m.Marker(l.Context())
				if readErr != nil || k == nil || k.HostID != goneHost {
					l.Errorf("%s: nothing was to be changed, and the marker is %+v, %v: %v", what, k, readErr, err)
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
	for _, side := range []federate.Side{federate.SideHost, federate.SideMember} {
		s.side = side
		l.sweep(s)
	}
}

// rotate fails the writes of a rotation. After each the host keeps a credential that works, and rotating again leaves
// one Secret and no earlier credential.
func (l *lane) rotate(side federate.Side) {
	options := federate.RotateOptions{Name: v1alpha1.MemberName(l.name), MemberContext: "east"}
	command := func(ctx context.Context, h *host.Cluster, m *member.Cluster) error {
		plan, err := federate.PlanRotate(ctx, h, m, options)
		if err == nil {
			_, err = plan.Apply(ctx, nil)
		}
		return err
	}
	var old *kubeconfig.Access
	s := sweep{
		side: side, only: changes, command: command,
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
			case partial:
				l.again(what, command)
				rotated(l.T, what+", again", l.host, l.member, l.name, old, halfway)
			default:
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
	l.sweep(s)
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
