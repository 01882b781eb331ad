package journal

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
)

// Times of a replica.
const (
	// wait is how long a refusal that rests on entries alone waits for their objects.
	wait = time.Second
	// again is how long it waits between looking.
	again = 20 * time.Millisecond
	// often is how often the journal is read, give or take a quarter.
	often = time.Second
	// trip bounds one request to the API server.
	trip = 2 * time.Second
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
	have    bool
}

// Options of a Journal.
type Options struct {
	// Host is followed by somebody else.
	Host *Host
	// Reader reads from the API server itself.
	Reader client.Reader
	// Still asks the API server about one object; with nil the object is read.
	Still Still
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
	j := &Journal{core: newCore(o.Host), clock: o.Clock, calls: make(chan *call)}
	if o.Client != nil {
		j.store = &configMap{client: o.Client}
	}
	j.live = live{o.Host, o.Reader, o.Still}
	return j
}

// call is a request that waits for its decision.
type call struct {
	Request
	// done is closed when nobody waits any more: what is admitted then would hold its place in vain.
	done <-chan struct{}
	// fresh asks for the journal as it is now, not as it was written last.
	fresh bool
	// waited says that it has waited for what is under way, and waits no more.
	waited bool
	answer chan answer
	// left says that the answer will not be taken.
	left atomic.Bool
}

type answer struct {
	decision
	// admitted says that the write may come; otherwise the decision is to be looked into.
	admitted bool
	err      error
}

// Decide gives the verdict on a write. A write without refusals is admitted, and what rests on it will be refused
// from now on. An error says that it could not be decided.
func (j *Journal) Decide(ctx context.Context, r Request) (rules.Verdict, error) {
	began, fresh := time.Now(), r.DryRun
	var sure proof
	var d decision
	if j.asksAll(r) {
		a := j.submit(ctx, r, fresh, false)
		if a.err != nil || a.admitted {
			return a.Verdict, a.err
		}
		d, fresh = a.decision, true
	} else {
		d = j.core.decide(r, j.clock.Now(), nil)
	}
	for {
		waited := r.DryRun || time.Since(began) > wait
		switch {
		case len(d.Refusals) > 0 && d.grounds() == 0:
			return d.Verdict, nil
		case !sure.of(&d):
			// What was refused is confirmed, by what the API server says now.
			if err := j.confirm(ctx, r, &d); err != nil {
				return rules.Verdict{}, err
			}
			sure.add(&d)
			if !d.waits && !j.core.host.since(d.changes) {
				continue // it rests on the host alone, and nothing there is new
			}
		case d.waits && !waited:
			if err := sleep(ctx, again); err != nil {
				return rules.Verdict{}, err
			}
		case len(d.Refusals) > 0:
			return d.Verdict, nil
		case d.exists:
			return rules.Verdict{}, alreadyExists(r.Member.New.Name)
		case d.entry == nil && !r.DryRun || j.store == nil:
			return d.Verdict, nil
		default:
			a := j.submit(ctx, r, fresh, waited)
			if a.err != nil || a.admitted {
				return a.Verdict, a.err
			}
			d, fresh = a.decision, true
			continue
		}
		d = j.core.decide(r, j.clock.Now(), nil)
	}
}

// Leave takes notice of a member that is to be deleted, which nobody may refuse. An error says that it is not written
// down: then refusals know of it by the watch alone.
func (j *Journal) Leave(ctx context.Context, m *v1alpha1.MemberCluster) error {
	if j.store == nil || len(m.Finalizers) > 0 {
		return nil // what a finalizer holds does not go now, and nobody is asked when it goes
	}
	// It leaves also when its API server waits no longer.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), trip)
	defer cancel()
	return j.submit(ctx, Request{Leaving: m}, false, true).err
}

// proof is what was confirmed of a refusal, for a moment.
type proof struct {
	grounds rules.Grounds
	named   []v1alpha1.MemberName
	at      time.Time
}

// of says whether all that a decision rests on is confirmed.
func (p *proof) of(d *decision) bool {
	if time.Since(p.at) > 10*again {
		*p = proof{}
	}
	return !d.grounds().Has(^p.grounds) &&
		!slices.ContainsFunc(d.Named, func(name v1alpha1.MemberName) bool { return !slices.Contains(p.named, name) })
}

func (p *proof) add(d *decision) {
	p.grounds, p.named, p.at = p.grounds|d.grounds(), append(p.named, d.Named...), time.Now()
}

// asksAll says whether all members are asked about a request, which is to be done once, where it is written down. What
// is wrong in itself is refused without the journal.
func (j *Journal) asksAll(r Request) bool {
	now := j.clock.Now()
	return j.store != nil && r.Federation != nil && r.Federation.New != nil && r.entry(now, nil) != nil &&
		!r.Federation.WrongAlone(rules.Snapshot{Now: now, Namespaces: r.Namespaces})
}

// confirm reads what a refusal rests on. Whatever changes a federation that is there, or how many members it has, is in
// the journal before it is done: one read of it tells what many would.
func (j *Journal) confirm(ctx context.Context, r Request, d *decision) error {
	grounds := d.grounds()
	if r.asksJournal(grounds) && j.reread(ctx, r) {
		grounds = j.core.beyond(r, grounds)
	}
	if grounds == 0 && d.grounds() == rules.OnFederation {
		return nil // no entry of a member can make it wrong
	}
	if err := j.live.refresh(ctx, r, grounds, d.Named, j.core.entries()); err != nil {
		return err
	}
	// A replica that has just started knows entries whose objects it never saw.
	return j.settle(ctx, j.core.contested(r))
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

// reread reads the journal as it is now, and says whether it could be.
func (j *Journal) reread(ctx context.Context, r Request) bool {
	if j.store == nil {
		return false
	}
	r.DryRun = true // only to be read
	return j.submit(ctx, r, true, true).err == nil
}

func (j *Journal) submit(ctx context.Context, r Request, fresh, waited bool) answer {
	r.UID = uuid.NewUUID()
	c := &call{Request: r, done: ctx.Done(), fresh: fresh, waited: waited, answer: make(chan answer, 1)}
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
		// It may be written down before the mark or after, and is withdrawn here or there.
		c.left.Store(true)
		j.core.withdraw(r.UID)
		return busy()
	}
}

// Start runs until the context ends, which is to be after the last request. Every replica runs it.
func (j *Journal) Start(ctx context.Context) {
	if j.store == nil {
		return
	}
	j.tick(ctx)
	timer := time.NewTimer(often)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			// What this replica has seen the next one need not wait for.
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*trip)
			defer cancel()
			j.tick(last)
			return
		case c := <-j.calls:
			j.commit(ctx, j.gather(c))
		case <-timer.C:
			j.tick(ctx)
			// Not all replicas at the same moment.
			timer.Reset(often*3/4 + jitter(often/2))
		}
	}
}

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
	ctx, cancel := context.WithTimeout(ctx, trip)
	defer cancel()
	state, version, err := j.store.read(ctx)
	if err != nil {
		j.have = false
		if apierrors.IsNotFound(err) {
			return fmt.Errorf("read the journal: %w; %s", err, command.Host{}.To("restore it", command.Init{}))
		}
		return fmt.Errorf("read the journal: %w", err)
	}
	j.take(state, version)
	return nil
}

func (j *Journal) take(state State, version string) {
	j.state, j.version, j.have = state, version, true
	j.core.observe(state, time.Now())
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

// Told is an error that is for the client as it is.
type Told struct{ *apierrors.StatusError }

// errFull says that more writes are under way than the journal takes. Clients try again by themselves.
var errFull error = Told{apierrors.NewTooManyRequests("the kubefederate journal is full of writes under way: try again in a moment", 5)}

// alreadyExists is what etcd would say, in a moment in which it might not say it any more.
func alreadyExists(member string) error {
	return Told{apierrors.NewAlreadyExists(v1alpha1.GroupVersion.WithResource("memberclusters").GroupResource(), member)}
}

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
				c.answer <- answer{decision: decisions[i], admitted: true}
				if c.left.Load() {
					j.core.withdraw(c.UID)
				}
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
		open := len(d.Refusals) > 0 || d.exists || d.waits && !c.waited
		if open || d.entry == nil {
			c.answer <- answer{decision: d, admitted: !open}
			continue
		}
		if d.entry.leaves() && crowded(next.Entries) {
			c.answer <- answer{decision: d, admitted: true}
			continue
		}
		with := next.with(*d.entry)
		if full(with) {
			c.answer <- answer{err: errFull}
			continue
		}
		next = with
		if !d.entry.leaves() {
			more = append(more, *d.entry)
		}
		admitted, decisions = append(admitted, c), append(decisions, d)
	}
	return next, admitted, decisions
}

func (j *Journal) put(ctx context.Context, next State) error {
	ctx, cancel := context.WithTimeout(ctx, trip)
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
	if j.load(ctx) != nil || j.relist(ctx) != nil {
		return
	}
	if j.settle(ctx, j.core.unclear(time.Now())) != nil {
		return
	}
	if next, changed := j.core.tend(j.state, time.Now()); changed {
		_ = j.put(ctx, next)
	}
}

// settle reads the objects of entries live.
func (j *Journal) settle(ctx context.Context, unclear []sighting) error {
	now := time.Now()
	for _, k := range unclear {
		if err := j.live.get(ctx, k.Kind, k.Name); err != nil {
			return err
		}
		j.core.settle(k, now)
	}
	return nil
}
