package controller

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
)

const (
	// quickProbes run at a time, and slowProbes as well of those that have taken longer than slowAfter: members that do not
	// answer only wait for the network, and do not keep others from being probed.
	quickProbes, slowProbes = 64, 1024
	slowAfter               = time.Second
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

	queue       workqueue.TypedDelayingInterface[string]
	quick, slow chan struct{}
	slowAfter   time.Duration

	mu      sync.Mutex
	members map[string]*followed
}

func newProber(interval, timeout time.Duration, log logr.Logger, m *metrics) *prober {
	return &prober{
		interval: interval, timeout: timeout, log: log, metrics: m,
		changes:   make(chan event.TypedGenericEvent[string]),
		queue:     workqueue.NewTypedDelayingQueue[string](),
		quick:     make(chan struct{}, quickProbes),
		slow:      make(chan struct{}, slowProbes),
		slowAfter: slowAfter,
		members:   map[string]*followed{},
	}
}

// follow has a member probed and returns the last observation; nil when there is none yet. A target that is new or changed
// is probed at once, and so is one for which there is another request.
func (p *prober) follow(name string, t target, access *kubeconfig.Access, k known) (*observation, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f := p.members[name]; f != nil {
		if f.target == t {
			if k.request != "" && k.request != f.requested {
				f.requested = k.request
				p.queue.Add(name)
			}
			return f.last, nil
		}
		p.end(name, f)
	}
	conn, err := connect(access)
	if err != nil {
		return nil, fmt.Errorf("use the credential of member %q: %w", name, err)
	}
	f := &followed{target: t, name: name, conn: conn, since: time.Now(), requested: k.request}
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
	stop := context.AfterFunc(ctx, p.queue.ShutDown)
	defer stop()
	var running sync.WaitGroup
	for {
		name, shutdown := p.queue.Get()
		if shutdown {
			break
		}
		s, ok := take(ctx, p.quick)
		if !ok {
			break
		}
		running.Go(func() {
			defer s.release()
			// One that is slow leaves its slot to others, as long as there is one for slow ones.
			timer := time.AfterFunc(p.slowAfter, func() { s.move(p.slow) })
			defer timer.Stop()
			p.work(ctx, name)
		})
	}
	running.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, f := range p.members {
		p.end(name, f)
	}
	return nil
}

func (p *prober) work(ctx context.Context, name string) {
	defer p.queue.Done(name)
	p.mu.Lock()
	f, request := p.members[name], ""
	if f != nil {
		request = f.requested
	}
	p.mu.Unlock()
	if f == nil {
		return
	}
	probing, cancel := context.WithCancel(f.ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, cancel)
	defer stop()
	began := time.Now()
	got, err := f.probe(probing, p.timeout, began)
	if probing.Err() != nil {
		// The target changed or the manager ends: the result is of no use.
		f.conn.close()
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
}

func take(ctx context.Context, from chan struct{}) (*slot, bool) {
	select {
	case from <- struct{}{}:
		return &slot{held: from}, true
	case <-ctx.Done():
		return nil, false
	}
}

// move takes a place elsewhere instead, if there is one.
func (s *slot) move(to chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held == nil {
		return
	}
	select {
	case to <- struct{}{}:
		<-s.held
		s.held = to
	default:
	}
}

func (s *slot) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	<-s.held
	s.held = nil
}
