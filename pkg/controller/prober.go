package controller

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
)

const (
	// quickProbes run at a time, and slowProbes beside them of those that have taken longer than slowAfter. Where there is
	// no place among those, the probe ends and takes its turn among lateProbes, where members begin that did not answer the
	// last time: they only wait for the network, and others do not wait for them.
	quickProbes, slowProbes, lateProbes = 256, 256, 1024
	slowAfter                           = 250 * time.Millisecond
	// nodeReaders is how many members' nodes are read at a time, for readTime at most, and slowReaders how many beside them of
	// members whose nodes take longer. They bound what members can make the manager read at once. Others wait for their
	// turn, and are probed meanwhile: a thousand members that send their nodes slowly delay the facts of others by a
	// minute, once, and nothing else.
	nodeReaders, slowReaders = 16, 64
	readTime                 = time.Second
	// longestIdle is for how long a connection is kept that is not used. It takes 25 KB of memory, and twice that between two runs
	// of the garbage collector; another one takes a millisecond of both sides' processors and one request more.
	longestIdle = 2 * time.Minute
	// firstConfirmDelay is how soon a member whose first probe fails is probed again, before that is reported, and
	// joinDuration is how long it is probed each joinDelay then: its API server may see later than its joiner what the
	// joiner wrote.
	firstConfirmDelay, joinDelay, joinDuration = time.Second, 5 * time.Second, 30 * time.Second
	// probeTimeAge is how old status.lastProbeTime of a reachable member gets at most. Each update of it is a write on the host, and
	// says little: it is the Lease that says until when members have been probed.
	probeTimeAge = 3 * time.Hour
)

// probeTimeAgeOf is how old status.lastProbeTime of one member gets. It differs from one to the next, so that those of members which
// joined at one time are not all written at one time.
func probeTimeAgeOf(uid types.UID) time.Duration {
	return probeTimeAge - time.Duration(float64(probeTimeAge/4)*jitterOf(uid))
}

// prober probes members at intervals. It keeps its observations in memory and wakes the reconciler when they change; it
// reads and writes nothing on the host.
type prober struct {
	// pace is that of members whose federation does not say.
	pace    pace
	timeout time.Duration
	// host has the addresses at which no member that discovery joined is dialled.
	host    *cluster.HostAddresses
	log     logr.Logger
	metrics *metrics
	// changes are the names of members with a new observation.
	changes chan event.TypedGenericEvent[string]

	queue workqueue.TypedDelayingInterface[string]
	// late are members that did not answer the last time and are due.
	late workqueue.TypedInterface[string]
	// nodes are members whose nodes are due, and slowNodes those of them whose nodes took longer than readTime the last time.
	nodes, slowNodes                             workqueue.TypedInterface[string]
	quick, slow, lateSlots, readers, slowReaders chan struct{}
	slowAfter, readTime                          time.Duration

	mu      sync.Mutex
	members map[string]*followed
	// settled are members that were followed, or found to have nothing to probe, before expected is set; then those are expected
	// of which that is not known yet.
	settled, expected map[string]bool
	// probedBefore is until when the manager before this one had probed members; zero when that is not known.
	probedBefore time.Time
}

func newProber(interval, timeout time.Duration, log logr.Logger, m *metrics) *prober {
	return &prober{
		pace: pace{interval, defaultFailures}, timeout: timeout, log: log, metrics: m,
		changes:     make(chan event.TypedGenericEvent[string]),
		queue:       workqueue.NewTypedDelayingQueue[string](),
		late:        workqueue.NewTyped[string](),
		nodes:       workqueue.NewTyped[string](),
		slowNodes:   workqueue.NewTyped[string](),
		quick:       make(chan struct{}, quickProbes),
		slow:        make(chan struct{}, slowProbes),
		lateSlots:   make(chan struct{}, lateProbes),
		readers:     make(chan struct{}, nodeReaders),
		slowReaders: make(chan struct{}, slowReaders),
		slowAfter:   slowAfter,
		readTime:    readTime,
		members:     map[string]*followed{},
		settled:     map[string]bool{},
	}
}

// follow has a member probed and returns the last observation; nil when there is none yet. A target that is new or changed
// is probed at once, and so is one for which there is another request.
func (p *prober) follow(name string, t target, open func() (*kubeconfig.Access, error), k known) (*observation, error) {
	if last, followed := p.following(name, t, k); followed {
		return last, nil
	}
	access, err := open()
	if err != nil {
		return nil, fmt.Errorf("read the credential of member %q: %w", name, err)
	}
	allowed := &atomic.Pointer[endpoint.AllowList]{}
	allowed.Store(k.allowed)
	var dialer *cluster.Dialer
	if k.allowed != nil {
		dialer = &cluster.Dialer{Allow: func() endpoint.AllowList { return *allowed.Load() }, Host: p.host}
	}
	conn, err := connect(access, dialer)
	if err != nil {
		p.settle(name)
		return nil, fmt.Errorf("use the credential of member %q: %w", name, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	f := &followed{
		target: t, name: name, conn: conn, allowed: allowed, since: time.Now(), due: time.Now(), pace: p.pace.of(k.health), reached: k.reachable, requested: k.request, late: k.offline,
		probeTime: k.probeTime, waits: k.waits,
	}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	f.announced, f.properties.announced, f.properties.all = k.announced, k.announced, !k.propertiesMatch
	for i, name := range propertyNames {
		if value, ok := k.announced.value(name, t.id); ok && k.propertiesMatch {
			f.properties.last[i] = confirmed{ok, value}
		}
	}
	if k.facts != nil {
		f.facts = k.facts.DeepCopy()
	}
	if k.facts != nil && !k.waits {
		// A manager that starts does not read the nodes of all members at once.
		now := time.Now()
		f.countDue = now.Add(time.Duration(rand.Int64N(int64(countInterval)))) //nolint:gosec // it only spreads load
		f.nodesDue = now.Add(time.Duration(rand.Int64N(int64(nodesInterval)))) //nolint:gosec // it only spreads load
	}
	if k.granted {
		now := time.Now()
		f.signDue = now.Add(time.Duration(rand.Int64N(int64(signInterval))))        //nolint:gosec // it only spreads load
		f.membershipDue = now.Add(time.Duration(rand.Int64N(int64(countInterval)))) //nolint:gosec // it only spreads load
		f.properties.due = f.membershipDue
	}
	p.members[name] = f
	p.settleLocked(name)
	p.queue.Add(name)
	return nil, nil
}

// following gives the last observation of a target that is followed already, and otherwise ends what was followed before.
func (p *prober) following(name string, t target, k known) (*observation, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.members[name]
	switch {
	case f == nil:
		return nil, false
	case f.target != t:
		p.end(name, f)
		return nil, false
	}
	f.probeTime, f.waits = k.probeTime, k.waits
	if k.request != "" && k.request != f.requested {
		f.requested = k.request
		p.queue.Add(name)
	}
	if k.announced != f.announced {
		f.announced = k.announced
		p.queue.Add(name)
	}
	if k.allowed != nil && !k.allowed.Equal(*f.allowed.Load()) {
		f.allowed.Store(k.allowed)
		f.conn.close() // what is open was made by the former list
		p.queue.Add(name)
	}
	if now := p.pace.of(k.health); now != f.pace {
		// It may be due much later. What is due sooner stays so.
		f.pace = now
		delay := time.Duration(rand.Int64N(int64(now.interval))) //nolint:gosec // it only spreads load
		p.queue.AddAfter(name, delay)
		if due := time.Now().Add(delay); due.Before(f.due) {
			f.due = due
		}
	}
	return f.last, true
}

// drop ends the probes of a member and closes the connection to it.
func (p *prober) drop(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settleLocked(name)
	if f := p.members[name]; f != nil {
		p.end(name, f)
	}
}

// expect names the members that there are when this manager begins, and until when the one before it had probed them. It is not
// known of them that they have been probed since before each is followed, or has nothing to probe.
func (p *prober) expect(names []string, probedBefore time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.probedBefore = probedBefore
	p.expected = map[string]bool{}
	for _, name := range names {
		if !p.settled[name] {
			p.expected[name] = true
		}
	}
	p.settled = nil
}

// settle says that a member is followed, or has nothing to probe.
func (p *prober) settle(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settleLocked(name)
}

func (p *prober) settleLocked(name string) {
	if p.expected == nil {
		p.settled[name] = true
	} else {
		delete(p.expected, name)
	}
}

// probedUntil is the time such that every member whose turn came before it has been probed since: now, or since when one waits for
// its turn. It is false while a member that was there when this manager began is not followed yet.
func (p *prober) probedUntil(now time.Time) (until time.Time, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.expected == nil || len(p.expected) > 0 {
		return time.Time{}, false
	}
	until = now
	for _, f := range p.members {
		if since := f.waitsSince(p.timeout); since.Before(until) {
			until = since
		}
	}
	return until, true
}

// patience is how long after members have been probed nothing is known of them any more: by the shortest interval of all.
func (p *prober) patience() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	interval := p.pace.interval
	for _, f := range p.members {
		interval = min(interval, f.pace.interval)
	}
	return max(patienceIntervals*interval, minPatience)
}

func (p *prober) end(name string, f *followed) {
	f.cancel()
	f.conn.close()
	delete(p.members, name)
}

// Start probes until ctx ends.
func (p *prober) Start(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		p.queue.ShutDown()
		p.late.ShutDown()
		p.nodes.ShutDown()
		p.slowNodes.ShutDown()
	})
	defer stop()
	var running sync.WaitGroup
	running.Go(func() { p.drain(ctx, p.late, p.lateSlots, &running) })
	running.Go(func() { p.drain(ctx, p.nodes, p.readers, &running) })
	running.Go(func() { p.drain(ctx, p.slowNodes, p.slowReaders, &running) })
	p.drain(ctx, p.queue, p.quick, &running)
	running.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, f := range p.members {
		p.end(name, f)
	}
	return nil
}

// drain probes what comes out of a queue, as many at a time as there are slots.
func (p *prober) drain(ctx context.Context, queue workqueue.TypedInterface[string], slots chan struct{}, running *sync.WaitGroup) {
	for {
		name, shutdown := queue.Get()
		if shutdown {
			return
		}
		if slots == p.quick && p.isLate(name) {
			p.late.Add(name)
			queue.Done(name)
			continue
		}
		s, ok := take(ctx, slots)
		if !ok {
			return
		}
		running.Go(func() {
			defer queue.Done(name)
			defer s.release()
			p.work(ctx, name, s)
		})
	}
}

// isLate says that a member takes its turn among those that did not answer. One whose probe is requested does not.
func (p *prober) isLate(name string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.members[name]
	return f != nil && f.late && !f.unanswered(f.requested)
}

// unanswered says that nothing is observed yet since a request to probe.
func (f *followed) unanswered(request string) bool {
	return request != "" && (f.last == nil || f.last.request != request)
}

// begin gives the target to probe, and the request that its probe answers; nil when there is none, or when it is being probed.
// Then it is probed again, unless it was only for its nodes: the running probe finds them due itself.
func (p *prober) begin(name string, forNodes bool) (f *followed, request string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f = p.members[name]
	switch {
	case f == nil:
		return nil, ""
	case f.running:
		f.again = f.again || !forNodes
		return nil, ""
	}
	f.running, f.began = true, time.Now()
	if f.unanswered(f.requested) {
		f.membershipDue = time.Time{}
		f.properties.look()
	}
	f.properties.follow(f.announced)
	if f.waits && f.countDue.Before(f.nodesDue) {
		f.nodesDue = f.countDue // its nodes may have other labels, and be as many
	}
	return f, f.requested
}

// finish says that a probe has ended. One that was due meanwhile begins.
func (p *prober) finish(f *followed) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f.running = false
	if f.again {
		f.again = false
		p.queue.Add(f.name)
	}
}

func (p *prober) work(ctx context.Context, name string, s *slot) {
	began, reads := time.Now(), s.held == p.readers || s.held == p.slowReaders
	f, request := p.begin(name, reads)
	if f == nil {
		return
	}
	var next workqueue.TypedInterface[string]
	defer func() {
		if next != nil {
			next.Add(name)
		}
	}()
	defer p.finish(f)
	probing, cancel := context.WithCancel(f.ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, cancel)
	defer stop()
	var ended atomic.Bool
	end := func() {
		ended.Store(true)
		cancel()
	}
	readTimer := time.AfterFunc(p.readTime, end)
	defer readTimer.Stop()
	if s.held != p.readers {
		readTimer.Stop()
	}
	if s.held == p.quick {
		timer := time.AfterFunc(p.slowAfter, func() {
			if !s.move(p.quick, p.slow) {
				end()
			}
		})
		defer timer.Stop()
	}
	readsSince := began
	f.turn = func() bool {
		slots := p.readers
		if f.slowNodes {
			slots = p.slowReaders
		}
		switch {
		case reads:
			return true
		case !s.move(nil, slots):
			return false
		}
		reads, readsSince = true, time.Now()
		if slots == p.readers {
			readTimer.Reset(p.readTime)
		}
		return true
	}
	got, err := f.probe(probing, p.timeout, began)
	if reads {
		f.slowNodes = ended.Load() || time.Since(readsSince) > p.readTime
	}
	if probing.Err() != nil {
		f.conn.close()
		switch {
		case !ended.Load() || f.ctx.Err() != nil:
			// The target changed or the manager ends, so that the result is of no use.
		case reads:
			next = p.queue
		default:
			next = p.late
		}
		return
	}
	if errors.Is(err, errTurn) {
		err, next = nil, p.nodes
		if f.slowNodes {
			next = p.slowNodes
		}
	}
	p.metrics.probed(got, time.Since(began))
	if err != nil {
		p.log.V(1).Info("could not read the facts of a member", "member", name, "cause", err.Error())
	}
	again, changed := p.record(f, got, began, request)
	if again > longestIdle {
		f.conn.close()
	}
	if again > 0 {
		p.queue.AddAfter(name, again)
	}
	if changed {
		select {
		case p.changes <- event.TypedGenericEvent[string]{Object: name}:
		case <-ctx.Done():
		}
	}
}

// record keeps the outcome of a probe that began with that request. It says when to probe again, and whether there is a new
// observation.
func (p *prober) record(f *followed, got outcome, at time.Time, request string) (next time.Duration, changed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.members[f.name] != f {
		return 0, false
	}
	defer func() { f.due = time.Now().Add(next) }()
	f.late = offline(got.reason)
	next = spread(f.pace.interval)
	if got != reachable && at.Sub(f.since) < joinDuration {
		next = min(next, joinDelay)
	}
	// Who requested a probe waits for what it found, confirmed or not.
	requested := f.unanswered(request)
	if got == reachable {
		f.unreported, f.answered = 0, at
	} else {
		f.unreported++
		if delay := f.confirmDelay(got); delay > 0 && !requested {
			return min(next, delay), false
		}
		f.unreported = 0
	}
	if f.last != nil && !requested && got.same(f.last.outcome) && equality.Semantic.DeepEqual(f.facts, f.last.facts) && f.signature == f.last.signature &&
		f.membership == f.last.membership && f.properties.state() == f.last.properties && (got != reachable || at.Sub(f.probeTime) < probeTimeAgeOf(f.uid)) {
		return next, false
	}
	if got == reachable {
		f.probeTime = at // it is written now, or the reconciler says again what it is
	}
	f.last = &observation{outcome: got, answered: p.answeredLocked(f), facts: f.facts, signature: f.signature, membership: f.membership, properties: f.properties.state(), request: request}
	return next, true
}

// answeredLocked is when a member answered last: this manager, or else the one before it, if it did then.
func (p *prober) answeredLocked(f *followed) time.Time {
	if f.answered.IsZero() && f.reached {
		return p.probedBefore
	}
	return f.answered
}

// slot is a place among those that run at a time.
type slot struct {
	mu   sync.Mutex
	held chan struct{}
}

func take(ctx context.Context, from chan struct{}) (*slot, bool) {
	select {
	case from <- struct{}{}:
		return &slot{held: from}, true
	case <-ctx.Done():
		return nil, false
	}
}

// move takes a place elsewhere instead of the one among from, where nil is any. It is false if there is none. A slot that is
// not there any more stays as it is.
func (s *slot) move(from, to chan struct{}) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held == nil || from != nil && s.held != from {
		return true
	}
	select {
	case to <- struct{}{}:
		<-s.held
		s.held = to
		return true
	default:
		return false
	}
}

func (s *slot) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held != nil {
		<-s.held
		s.held = nil
	}
}
