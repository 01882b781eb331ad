package journal

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/pkg/rules"
)

// Times of a replica.
const (
	// wait is how long a refusal that rests on entries alone waits for their objects.
	wait = time.Second
	// again is how long it waits between looking.
	again = 20 * time.Millisecond
	// idle is how often the journal is read when nothing is known to be in it, and active when something is.
	idle, active = 5 * time.Second, time.Second
	// once bounds one request to the API server.
	once = 2 * time.Second
)

// Journal decides on writes, one replica's share. All its decisions that are written down are made by one
// goroutine, which takes what has come in the meantime into one Update.
type Journal struct {
	core  *core
	live  live
	store store
	clock clock.PassiveClock
	calls chan *call

	// Of the goroutine alone.
	state   State
	version string
	at      time.Time
	have    bool
}

// Options of a Journal.
type Options struct {
	// Host is followed by somebody else.
	Host *Host
	// Reader reads from the API server itself.
	Reader client.Reader
	// Client reads and writes the ConfigMap, past any cache. With nil nothing is written down, and two requests
	// at one time may both be admitted.
	Client client.Client
	// Clock is the time to judge by; nil means that of the machine.
	Clock clock.PassiveClock
}

// New makes a journal. It decides nothing that is to be written down before Start.
func New(o Options) *Journal {
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	j := &Journal{core: newCore(o.Host), live: live{o.Host, o.Reader}, clock: o.Clock, calls: make(chan *call)}
	if o.Client != nil {
		j.store = &configMap{client: o.Client}
	}
	return j
}

// call is a request that waits for its decision.
type call struct {
	Request
	// done is closed when nobody waits any more: what is admitted then would hold its place in vain.
	done <-chan struct{}
	// fresh asks for the journal as it is now, not as it was written last.
	fresh  bool
	answer chan answer
}

type answer struct {
	decision
	err error
}

// Decide gives the verdict on a write. A write without refusals is admitted, and what rests on it will be refused
// from now on. An error says that it could not be decided.
func (j *Journal) Decide(ctx context.Context, r Request) (rules.Verdict, error) {
	began := time.Now()
	d, fresh := j.core.decide(r, j.clock.Now(), nil), r.DryRun
	for refreshed := (time.Time{}); ; {
		if len(d.Refusals) == 0 {
			if d.entry == nil && !r.DryRun || j.store == nil {
				return d.Verdict, nil
			}
			var err error
			if d, err = j.submit(ctx, r, fresh); err != nil || len(d.Refusals) == 0 {
				return d.Verdict, err
			}
			fresh = true
			continue
		}
		switch {
		case !d.RestsOnOthers:
			return d.Verdict, nil
		case time.Since(refreshed) > 10*again:
			// What was refused is confirmed, by what the API server says now.
			if err := j.live.refresh(ctx, r, d.Refusals, j.core.entries()); err != nil {
				return rules.Verdict{}, err
			}
			refreshed = time.Now()
		case !d.waits || time.Since(began) > wait:
			return d.Verdict, nil
		default:
			if err := sleep(ctx, again); err != nil {
				return rules.Verdict{}, err
			}
		}
		d = j.core.decide(r, j.clock.Now(), nil)
	}
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

func (j *Journal) submit(ctx context.Context, r Request, fresh bool) (decision, error) {
	c := &call{r, ctx.Done(), fresh, make(chan answer, 1)}
	select {
	case j.calls <- c:
	case <-ctx.Done():
		return decision{}, fmt.Errorf("the journal is busy: %w", ctx.Err())
	}
	select {
	case a := <-c.answer:
		return a.decision, a.err
	case <-ctx.Done():
		return decision{}, fmt.Errorf("the journal is busy: %w", ctx.Err())
	}
}

// Start runs until the context ends. Every replica runs it.
func (j *Journal) Start(ctx context.Context) error {
	if j.store == nil {
		return nil
	}
	j.tick(ctx)
	timer := time.NewTimer(active)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case c := <-j.calls:
			j.commit(ctx, j.gather(c))
		case <-timer.C:
			j.tick(ctx)
			// Not all replicas at the same moment.
			timer.Reset(active*3/4 + jitter(active/2))
		}
	}
}

// NeedLeaderElection tells controller-runtime that every replica runs it.
func (*Journal) NeedLeaderElection() bool { return false }

// gather takes whoever waits, up to what one Update is good for.
func (j *Journal) gather(first *call) []*call {
	batch := []*call{first}
	for len(batch) < 200 {
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
	ctx, cancel := context.WithTimeout(ctx, once)
	defer cancel()
	state, version, err := j.store.read(ctx)
	if err != nil {
		j.have = false
		if apierrors.IsNotFound(err) {
			return fmt.Errorf("read the journal: %w; kubectl federate init brings it back", err)
		}
		return fmt.Errorf("read the journal: %w", err)
	}
	j.take(state, version)
	return nil
}

func (j *Journal) take(state State, version string) {
	j.state, j.version, j.have, j.at = state, version, true, time.Now()
	j.core.observe(state, j.at)
}

// relist makes good for entries that came and went unread.
func (j *Journal) relist(ctx context.Context) error {
	if !j.core.isBehind() {
		return nil
	}
	if err := j.live.everything(ctx); err != nil {
		return err
	}
	j.core.caughtUp()
	return nil
}

// ErrFull says that more writes are under way than the journal takes. Clients try again by themselves.
var ErrFull error = apierrors.NewTooManyRequests("the kubefederate journal is full of writes under way: try again in a moment", 5)

// commit decides on a batch, in its order, and writes down what it admits.
func (j *Journal) commit(ctx context.Context, batch []*call) {
	fresh := slices.ContainsFunc(batch, func(c *call) bool { return c.fresh })
	for attempt := 0; ; attempt++ {
		var err error
		if !j.have || fresh {
			err = j.load(ctx)
			fresh = false
		}
		if err == nil {
			err = j.relist(ctx)
		}
		if err != nil {
			reply(batch, answer{err: err})
			return
		}
		next, admitted, decisions := j.round(&batch)
		if len(admitted) == 0 {
			return
		}
		// Also after an Update whose answer was lost: then the entries are found in the journal and stay theirs.
		err = j.put(ctx, next)
		switch {
		case err == nil:
			for i, c := range admitted {
				c.answer <- answer{decision: decisions[i]}
			}
			return
		case !errors.Is(err, errTaken) && attempt >= 2:
			reply(admitted, answer{err: err})
			return
		case attempt == 50:
			reply(admitted, answer{err: errors.New("the journal is busy: another replica was faster 50 times")})
			return
		}
		batch = admitted
		if sleep(ctx, jitter(time.Duration(min(attempt+1, 5))*2*time.Millisecond)) != nil {
			reply(admitted, answer{err: ctx.Err()})
			return
		}
	}
}

func reply(calls []*call, a answer) {
	for _, c := range calls {
		c.answer <- a
	}
}

// round decides on a batch by the journal as it is known. Whoever needs no write is answered.
func (j *Journal) round(batch *[]*call) (next State, admitted []*call, decisions []decision) {
	now := j.clock.Now()
	next, _ = j.core.tend(j.state, time.Now())
	var more []Entry
	for _, c := range *batch {
		select {
		case <-c.done:
			continue
		default:
		}
		d := j.core.decide(c.Request, now, more)
		if d.entry == nil || len(d.Refusals) > 0 {
			c.answer <- answer{decision: d}
			continue
		}
		with := next.with(*d.entry)
		if full(with) {
			c.answer <- answer{err: ErrFull}
			continue
		}
		next, more = with, append(more, *d.entry)
		admitted, decisions = append(admitted, c), append(decisions, d)
	}
	return next, admitted, decisions
}

func (j *Journal) put(ctx context.Context, next State) error {
	ctx, cancel := context.WithTimeout(ctx, once)
	defer cancel()
	version, err := j.store.write(ctx, next, j.version)
	if err != nil {
		// Also when the answer was lost: what is there is read again.
		j.have = false
		if errors.Is(err, errTaken) {
			return err
		}
		return fmt.Errorf("write the journal: %w", err)
	}
	j.take(next, version)
	return nil
}

// tick reads the journal and lets entries leave that are seen. What fails is tried again by the next one.
func (j *Journal) tick(ctx context.Context) {
	if j.have && len(j.core.entries()) == 0 && len(j.state.Entries) == 0 && time.Since(j.at) < idle {
		return
	}
	if j.load(ctx) != nil || j.relist(ctx) != nil {
		return
	}
	now := time.Now()
	for _, k := range j.core.unclear(now) {
		if j.live.get(ctx, k.Kind, k.Name) != nil {
			return
		}
		j.core.settle(k, now)
	}
	if next, changed := j.core.tend(j.state, time.Now()); changed {
		_ = j.put(ctx, next)
	}
}
