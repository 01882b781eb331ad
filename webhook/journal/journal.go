package journal

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
)

const (
	// pendingTimeout is how long a request waits for writes under way that it rests on.
	pendingTimeout = time.Second
	// pollInterval is how long it waits between two looks at them.
	pollInterval = 20 * time.Millisecond
	// readInterval is how often the journal is read, give or take a quarter.
	readInterval = time.Second
	// retryInterval is how often it is read while that fails.
	retryInterval = 200 * time.Millisecond
	// writeInterval is how often a replica writes the journal at least, which shows that it can.
	writeInterval = 10 * time.Second
	// failureThreshold is how long a replica fails to read or write before it is not ready.
	failureThreshold = 10 * time.Second
	// maxBatch is how many requests one Update is for.
	maxBatch = 200
	// maxResolved is how many entries are resolved at a time by reading their objects.
	maxResolved = 128
	// maxConflicts and maxFailures are how often an Update is tried again: after another replica wrote, and after another
	// error.
	maxConflicts, maxFailures = 50, 2
)

// Journal decides on writes, one replica's part of it. All its decisions that are written down are made by one
// goroutine, which takes what has come in the meantime into one Update.
type Journal struct {
	core    *core
	live    live
	store   store
	clock   clock.PassiveClock
	replica string
	calls   chan *call
	health  health
	metrics metrics
	changes *changes

	// Of the goroutine alone.
	state   State
	version string
	have    bool
	written time.Time
	// broken is why calls are answered at once that it could not be decided.
	broken error
}

// Options of a Journal.
type Options struct {
	// Host is kept up to date by watches of the caller.
	Host *Host
	// Client reads from the API server itself, not from a cache, and writes the ConfigMap. Its requests have deadlines.
	Client client.Client
	// Clock is the time to judge by; nil means that of the machine.
	Clock clock.PassiveClock
}

// New makes a journal. It decides nothing that is to be written down before Start.
func New(o Options) *Journal {
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	return &Journal{
		core: newCore(o.Host), live: live{o.Host, o.Client, newLists(listInterval)}, store: newConfigMap(o.Client),
		clock: o.Clock, replica: string(uuid.NewUUID()), calls: make(chan *call), metrics: newMetrics(), changes: newChanges(),
	}
}

// Instrument shows how full the journal is, in a registry.
func (j *Journal) Instrument(registry prometheus.Registerer) error {
	return errors.Join(registry.Register(j.metrics.bytes), registry.Register(j.metrics.neverSeen), registry.Register(j.metrics.conflicts))
}

// call is a request that waits for its decision.
type call struct {
	Request
	// done is closed when the request gives up: what is admitted then would hold its place in vain.
	done <-chan struct{}
	mode
	answer chan answer
	// left says that the answer will not be taken.
	left atomic.Bool
}

// mode is how a request is decided.
type mode struct {
	// fresh asks for the journal as it is now, not as it was written last.
	fresh bool
	// waited says that it has waited for another create of its name, and waits no more.
	waited bool
}

type answer struct {
	decision
	// admitted says that the write may come; otherwise the decision is to be confirmed.
	admitted bool
	err      error
}

// Decide gives the verdict on a write. A write without refusals is admitted, and what rests on it will be refused
// from now on. An error says that it could not be decided.
func (j *Journal) Decide(ctx context.Context, r Request) (rules.Verdict, error) {
	began := time.Now()
	var confirmed rules.Reads
	for looked := false; ; {
		waited := time.Since(began) > pendingTimeout
		a := j.ask(ctx, r, mode{fresh: r.DryRun || confirmed != 0, waited: waited})
		switch {
		case a.err != nil:
			return rules.Verdict{}, a.err
		case a.admitted:
			return a.Verdict, nil
		case (a.pending || a.sameName) && !looked:
			// A replica that has just started knows entries whose objects it never saw.
			looked = true
			if err := j.resolve(ctx, j.core.contested(r)); err != nil {
				return rules.Verdict{}, err
			}
		case (a.pending || a.sameName) && !waited:
			if err := sleep(ctx, pollInterval); err != nil {
				return rules.Verdict{}, err
			}
		case a.pending:
			return rules.Verdict{}, errPending(r.federation())
		case a.rests&^confirmed != 0:
			if err := j.live.confirm(ctx, r, a.rests&^confirmed); err != nil {
				return rules.Verdict{}, err
			}
			confirmed |= a.rests
		case a.exists:
			return rules.Verdict{}, alreadyExists(r.Member.New.Name)
		case a.unknown:
			return rules.Verdict{}, errUnknown(r)
		default:
			return a.Verdict, nil
		}
	}
}

// ask decides by what the replica knows, and where that admits what other decisions rest on, in the journal's order. A change
// of a federation's rules is decided there alone: all members are asked, which is to be done once.
func (j *Journal) ask(ctx context.Context, r Request, m mode) answer {
	if r.changesRules() {
		end, err := j.changes.begin(ctx)
		if err != nil {
			return answer{err: err}
		}
		defer end()
	}
	if r.DryRun || !r.changesRules() {
		d := j.core.decide(r, j.clock.Now(), nil)
		switch {
		case !d.admits(m.waited):
			return answer{decision: d}
		case d.entry == nil && !r.DryRun:
			return answer{decision: d, admitted: true}
		}
	}
	return j.submit(ctx, r, m)
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func jitter(most time.Duration) time.Duration {
	return rand.N(most) //nolint:gosec // nothing secret
}

func (j *Journal) submit(ctx context.Context, r Request, m mode) answer {
	r.UID = uuid.NewUUID()
	c := &call{Request: r, done: ctx.Done(), mode: m, answer: make(chan answer, 1)}
	busy := func() answer { return answer{err: fmt.Errorf("the journal is busy: %w", ctx.Err())} }
	select {
	case j.calls <- c:
	case <-ctx.Done():
		return busy()
	}
	select {
	case a := <-c.answer:
		return a
	case <-ctx.Done():
		// The entry may be written before this flag is set or after; whichever side sees it withdraws it.
		c.left.Store(true)
		j.core.withdraw(r.UID)
		return busy()
	}
}

// Start runs until the context ends, which is to be after the last request. Every replica runs it.
func (j *Journal) Start(ctx context.Context) {
	j.tick(ctx)
	timer := time.NewTimer(readInterval)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			// What this replica has seen the next one need not wait for.
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*requestTimeout)
			defer cancel()
			j.tick(last)
			return
		case c := <-j.calls:
			j.commit(ctx, j.gather(c))
		case <-timer.C:
			j.tick(ctx)
			// Not all replicas at the same moment.
			next := readInterval*3/4 + jitter(readInterval/2)
			if j.broken != nil {
				next = retryInterval
			}
			timer.Reset(next)
		}
	}
}

// gather takes the calls that wait, up to what one Update is good for.
func (j *Journal) gather(first *call) []*call {
	batch := []*call{first}
	for len(batch) < maxBatch {
		select {
		case c := <-j.calls:
			batch = append(batch, c)
		default:
			return batch
		}
	}
	return batch
}

// load reads the journal.
func (j *Journal) load(ctx context.Context) error {
	state, version, err := j.store.read(ctx)
	switch {
	case apierrors.IsNotFound(err):
		err = fmt.Errorf("read the journal: %w; %s", err, command.Host{}.To("restore it", command.Init{}))
	case err != nil:
		err = fmt.Errorf("read the journal: %w", err)
	default:
		j.take(state, version)
		j.health.wrote(len(state.Replicas) == 0 || state.Replicas[len(state.Replicas)-1] == j.replica)
		return nil
	}
	j.have = false
	return err
}

func (j *Journal) take(state State, version string) {
	j.state, j.version, j.have = state, version, true
	j.metrics.bytes.Set(float64(usageOf(state).total))
	j.core.observe(state, time.Now())
}

// catchUp makes good for entries that came and went unread.
func (j *Journal) catchUp(ctx context.Context) error {
	if !j.core.isBehind() {
		return nil
	}
	if err := j.live.everything(ctx); err != nil {
		return err
	}
	j.core.caughtUp()
	return nil
}

// commit decides on a batch, in its order, and writes down what it admits.
func (j *Journal) commit(ctx context.Context, batch []*call) {
	if j.broken != nil {
		reply(batch, answer{err: j.broken})
		return
	}
	fresh := slices.ContainsFunc(batch, func(c *call) bool { return c.fresh })
	for attempt := 0; ; attempt++ {
		var err error
		if !j.have || fresh {
			err = j.load(ctx)
			fresh = false
		}
		if err == nil {
			err = j.catchUp(ctx)
		}
		if err != nil {
			if errors.Is(err, ErrNoAnswer) {
				j.broken = err
			}
			reply(batch, answer{err: err})
			return
		}
		next, admitted, decisions := j.round(batch)
		if len(admitted) == 0 {
			return
		}
		// Also after an Update whose answer was lost: then the entries are found in the journal and stay theirs.
		err = j.put(ctx, next)
		switch {
		case err == nil:
			for i, c := range admitted {
				c.answer <- answer{decision: decisions[i], admitted: true}
				if c.left.Load() {
					j.core.withdraw(c.UID)
				}
			}
			return
		case rejected(err) && len(admitted) > 1:
			// One of them is at fault, and the others are not to fail with it.
			for _, c := range admitted {
				j.commit(ctx, []*call{c})
			}
			return
		case !errors.Is(err, errConflict) && attempt >= maxFailures || rejected(err):
			reply(admitted, answer{err: err})
			return
		case attempt == maxConflicts:
			reply(admitted, answer{err: fmt.Errorf("the journal is busy: other replicas were faster %d times", maxConflicts)})
			return
		}
		batch = admitted
		if sleep(ctx, jitter(time.Duration(min(attempt+1, 5))*2*time.Millisecond)) != nil {
			reply(admitted, answer{err: ctx.Err()})
			return
		}
	}
}

// rejected says whether the API server or etcd did not take what was written, and never will.
func rejected(err error) bool {
	return apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) || apierrors.IsRequestEntityTooLargeError(err) || apierrors.IsForbidden(err)
}

func reply(calls []*call, a answer) {
	for _, c := range calls {
		c.answer <- a
	}
}

// round decides on a batch by the journal as it is known. Calls that need no write are answered.
func (j *Journal) round(batch []*call) (next State, admitted []*call, decisions []decision) {
	now := j.clock.Now()
	next, _ = j.core.tidy(j.state, time.Now())
	used := usageOf(next)
	var more []Entry
	for _, c := range batch {
		select {
		case <-c.done:
			continue
		default:
		}
		d := j.core.decide(c.Request, now, more)
		if !d.admits(c.waited) || d.entry == nil {
			c.answer <- answer{decision: d, admitted: d.admits(c.waited)}
			continue
		}
		if err := used.add(d.entry); err != nil {
			c.answer <- answer{err: err}
			continue
		}
		next = next.with(*d.entry)
		more = append(more, *d.entry)
		admitted, decisions = append(admitted, c), append(decisions, d)
	}
	return next, admitted, decisions
}

func (j *Journal) put(ctx context.Context, next State) error {
	next = next.writtenBy(j.replica)
	// Until it is read again: the answer may be lost.
	j.health.wrote(true)
	version, err := j.store.write(ctx, next, j.version)
	if err != nil {
		// Also when the answer was lost: what is there is read again.
		j.have = false
		if errors.Is(err, errConflict) {
			j.metrics.conflicts.Inc()
			return err
		}
		return fmt.Errorf("write the journal: %w", err)
	}
	j.metrics.neverSeen.Add(float64(j.core.neverSeen(j.state, next)))
	j.take(next, version)
	j.written = time.Now()
	return nil
}

// tick reads the journal and tidies it. Until one succeeds again, calls are answered at once.
func (j *Journal) tick(ctx context.Context) {
	j.broken = j.refresh(ctx)
	j.health.report(j.broken, time.Now())
}

func (j *Journal) refresh(ctx context.Context) error {
	if err := j.load(ctx); err != nil {
		return err
	}
	if err := j.catchUp(ctx); err != nil {
		return err
	}
	if err := j.resolve(ctx, j.core.unresolved(time.Now())); err != nil {
		return err
	}
	next, changed := j.core.tidy(j.state, time.Now())
	if !changed && time.Since(j.written) < writeInterval {
		return nil
	}
	if err := j.put(ctx, next); err != nil && !errors.Is(err, errConflict) {
		return err
	}
	return nil
}

// resolve reads the objects of entries live: of the oldest ones, so that many do not hold up what waits.
func (j *Journal) resolve(ctx context.Context, unresolved []observation) error {
	now := time.Now()
	unresolved = unresolved[:min(len(unresolved), maxResolved)]
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelReads)
	read := map[named]bool{}
	for _, o := range unresolved {
		if at := o.object().named; !read[at] {
			read[at] = true
			group.Go(func() error { return j.live.get(ctx, at) })
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, o := range unresolved {
		j.core.resolve(o, now)
	}
	return nil
}

// Ready is an error while this replica fails to read or write the journal and another one has written it since: one slow
// API server must not take out all replicas.
func (j *Journal) Ready() error { return j.health.check(time.Now()) }

// health is how the goroutine fares, for readers.
type health struct {
	mu      sync.Mutex
	failure error
	since   time.Time
	// last says that this replica wrote the journal last, as far as it knows.
	last bool
}

func (h *health) wrote(last bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last = last
}

func (h *health) report(failure error, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failure == nil {
		h.since = now
	}
	h.failure = failure
}

func (h *health) check(now time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failure == nil || h.last || now.Sub(h.since) < failureThreshold {
		return nil
	}
	return fmt.Errorf("since %s: %w", h.since.UTC().Format(time.RFC3339), h.failure)
}
