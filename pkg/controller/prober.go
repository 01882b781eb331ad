package controller

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
)

const (
	// quickProbes run at a time, and slowProbes beside them of those that have taken longer than slowAfter. Where there is
	// no place among those, the probe ends and takes its turn among lateProbes, where members begin that did not answer the
	// last time: they only wait for the network, and others do not wait for them.
	quickProbes, slowProbes, lateProbes = 256, 256, 1024
	slowAfter                           = 250 * time.Millisecond
	// nodeReaders is how many members' nodes are read at a time. It bounds what members can make the manager read at once.
	nodeReaders = 16
	// confirmDelay is how soon a reachable member that did not answer is probed again, before that is reported.
	confirmDelay = 5 * time.Second
	// firstConfirmDelay is how soon a member whose first probe fails is probed again, before that is reported, and
	// joinDuration is how long it is probed each confirmDelay then: its API server may see later than its joiner what the
	// joiner wrote.
	firstConfirmDelay, joinDuration = time.Second, 30 * time.Second
	// probeTimeAge is how old status.lastProbeTime of a reachable member gets. Each update of it is a write on the host.
	probeTimeAge = time.Hour
)

// prober probes members at intervals. It keeps its observations in memory and wakes the reconciler when they change; it
// reads and writes nothing on the host.
type prober struct {
	interval, timeout time.Duration
	log               logr.Logger
	metrics           *metrics
	// changes are the names of members with a new observation.
	changes chan event.TypedGenericEvent[string]

	queue workqueue.TypedDelayingInterface[string]
	// late are members that did not answer the last time and are due.
	late                              workqueue.TypedInterface[string]
	quick, slow, lateSlots, nodeSlots chan struct{}
	slowAfter                         time.Duration

	mu      sync.Mutex
	members map[string]*followed
}

func newProber(interval, timeout time.Duration, log logr.Logger, m *metrics) *prober {
	return &prober{
		interval: interval, timeout: timeout, log: log, metrics: m,
		changes:   make(chan event.TypedGenericEvent[string]),
		queue:     workqueue.NewTypedDelayingQueue[string](),
		late:      workqueue.NewTyped[string](),
		quick:     make(chan struct{}, quickProbes),
		slow:      make(chan struct{}, slowProbes),
		lateSlots: make(chan struct{}, lateProbes),
		nodeSlots: make(chan struct{}, nodeReaders),
		slowAfter: slowAfter,
		members:   map[string]*followed{},
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
	conn, err := connect(access)
	if err != nil {
		return nil, fmt.Errorf("use the credential of member %q: %w", name, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	f := &followed{target: t, name: name, conn: conn, since: time.Now(), requested: k.request, late: k.offline}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	if k.facts != nil {
		// A manager that starts does not read the nodes of all members at once.
		now := time.Now()
		f.facts = k.facts.DeepCopy()
		f.countDue = now.Add(time.Duration(rand.Int64N(int64(countInterval)))) //nolint:gosec // it only spreads load
		f.nodesDue = now.Add(time.Duration(rand.Int64N(int64(nodesInterval)))) //nolint:gosec // it only spreads load
	}
	if k.signed {
		f.signDue = time.Now().Add(time.Duration(rand.Int64N(int64(signInterval)))) //nolint:gosec // it only spreads load
	}
	p.members[name] = f
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
	if k.request != "" && k.request != f.requested {
		f.requested = k.request
		p.queue.Add(name)
	}
	return f.last, true
}

// drop ends the probes of a member and closes the connection to it.
func (p *prober) drop(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f := p.members[name]; f != nil {
		p.end(name, f)
	}
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
	})
	defer stop()
	var running sync.WaitGroup
	running.Go(func() { p.drain(ctx, p.late, p.lateSlots, &running) })
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
	return f != nil && f.late && (f.requested == "" || f.last != nil && f.last.request == f.requested)
}

// begin gives the target to probe, and the request that its probe answers; nil when there is none, or when it is being probed.
func (p *prober) begin(name string) (f *followed, request string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f = p.members[name]
	switch {
	case f == nil:
		return nil, ""
	case f.running:
		f.again = true
		return nil, ""
	}
	f.running = true
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
	f, request := p.begin(name)
	if f == nil {
		return
	}
	var later bool
	defer func() {
		if later {
			p.late.Add(name)
		}
	}()
	defer p.finish(f)
	probing, cancel := context.WithCancel(f.ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, cancel)
	defer stop()
	var ended atomic.Bool
	if s.held == p.quick {
		timer := time.AfterFunc(p.slowAfter, func() {
			if !s.move(p.slow) {
				ended.Store(true)
				cancel()
			}
		})
		defer timer.Stop()
	}
	f.turn = func(ctx context.Context) error { return s.wait(ctx, p.nodeSlots) }
	began := time.Now()
	got, err := f.probe(probing, p.timeout, began)
	if probing.Err() != nil {
		// The target changed or the manager ends, so that the result is of no use, or it gives its place to others.
		f.conn.close()
		later = ended.Load() && f.ctx.Err() == nil
		return
	}
	p.metrics.probed(got, time.Since(began))
	if err != nil {
		p.log.V(1).Info("could not read the facts of a member", "member", name, "cause", err.Error())
	}
	next, changed := p.record(f, got, began, request)
	if next > 0 {
		p.queue.AddAfter(name, next)
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
	f.late = offline(got.reason)
	next = spread(p.interval)
	if got != reachable && at.Sub(f.since) < joinDuration {
		next = min(next, confirmDelay)
	}
	// Who requested a probe waits for what it found, confirmed or not.
	requested := request != "" && (f.last == nil || request != f.last.request)
	if got != reachable && f.failing.IsZero() && !requested {
		switch {
		case f.last == nil:
			f.failing = at
			return min(next, firstConfirmDelay), false
		case got.transient() && f.last.outcome == reachable:
			f.failing = at
			return min(next, confirmDelay), false
		}
	}
	if !f.failing.IsZero() && got != reachable {
		at = f.failing
	}
	f.failing = time.Time{}
	if f.last != nil && !requested && got.same(f.last.outcome) && equality.Semantic.DeepEqual(f.facts, f.last.facts) && f.signature == f.last.signature &&
		(got != reachable || at.Sub(f.last.at) < probeTimeAge) {
		return next, false
	}
	f.last = &observation{outcome: got, at: at, facts: f.facts, signature: f.signature, request: request}
	return next, true
}

// slot is a place among those that run at a time.
type slot struct {
	mu   sync.Mutex
	held chan struct{}
	// fixed says that it does not move any more.
	fixed bool
}

func take(ctx context.Context, from chan struct{}) (*slot, bool) {
	select {
	case from <- struct{}{}:
		return &slot{held: from}, true
	case <-ctx.Done():
		return nil, false
	}
}

// move takes a place elsewhere instead. It is false if there is none. A slot that is given back, or that waits for its turn,
// stays as it is.
func (s *slot) move(to chan struct{}) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held == nil || s.fixed {
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

// wait gives the place to others and waits for one elsewhere.
func (s *slot) wait(ctx context.Context, to chan struct{}) error {
	s.mu.Lock()
	s.fixed = true
	<-s.held
	s.held = nil
	s.mu.Unlock()
	select {
	case to <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = to
	return nil
}

func (s *slot) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held != nil {
		<-s.held
		s.held = nil
	}
}
