package journal

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/kubefederate/kubectl-federate/pkg/rules"
)

// Patience is how long an entry waits for its object, from when a replica first sees the entry. An API server
// gives up a request after 34 s, etcd a write after seven more.
const Patience = 45 * time.Second

const (
	// seenRetention is how long an entry that was seen stays, so that the other replicas read it, and no longer: all that
	// is in the journal is written with every create. A replica that reads less often lists everything instead.
	seenRetention = 3 * time.Second
	// watchLag is how long a watch is given to show an object that another replica has seen, before it is read live.
	watchLag = 2 * time.Second
)

// core is what a replica knows of the journal and decides by it. It reads and writes nothing.
type core struct {
	host *Host

	mu sync.Mutex
	// known is by Entry.Request.
	known map[types.UID]*observation
	// writes, mark and read are State.Writes, its mark and State.Last when the journal was read last; behind says that
	// entries came and went unread.
	writes, read int64
	mark         string
	behind       bool
}

// observation is an entry that the replica has read, while what it knows of the host may not include the entry's write.
type observation struct {
	Entry
	// since is when it was read first, seen when it was first read as seen.
	since, seen time.Time
	// listed says that the journal has it still.
	listed bool
	// dead says that the write can never come: a live read after Patience did not find it, or the request gave up, which is
	// withdrawn.
	dead, withdrawn bool
}

func newCore(h *Host) *core { return &core{host: h, known: map[types.UID]*observation{}} }

// observe notes the journal as it was read or written.
func (c *core) observe(s State, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !s.follows(c.writes, c.mark) || s.Last < c.read || c.host.wasRestored() {
		// The host was restored from a backup, or the journal was emptied: what is known is of another history.
		c.host.forgetAll()
		c.known, c.behind = map[types.UID]*observation{}, true
	}
	if s.Dropped > c.read {
		c.behind = true
	}
	c.writes, c.mark, c.read = s.Writes, s.mark(), s.Last
	for _, o := range c.known {
		o.listed = false
	}
	for _, e := range s.Entries {
		o := c.known[e.Request]
		if o == nil {
			o = &observation{since: now}
			c.known[e.Request] = o
		}
		if e.Seen && !o.Seen {
			o.seen = now
		}
		o.Entry, o.listed = e, true
	}
	c.forget()
}

// forget leaves out what the journal has dropped and what the replica knows of the host includes.
func (c *core) forget() {
	c.host.Read(func(*rules.Index) {
		maps.DeleteFunc(c.known, func(_ types.UID, o *observation) bool {
			return !o.listed && (o.dead || c.host.past(&o.Entry))
		})
	})
}

// withdraw notes that the request gave up which an entry was written for.
func (c *core) withdraw(request types.UID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if o := c.known[request]; o != nil {
		o.dead, o.withdrawn = true, true
	}
}

// neverSeen counts the entries that were dropped between two states because no write came.
func (c *core) neverSeen(before, after State) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range before.Entries {
		o := c.known[e.Request]
		if o != nil && o.dead && !o.withdrawn && !slices.ContainsFunc(after.Entries, func(left Entry) bool { return left.Request == e.Request }) {
			n++
		}
	}
	return n
}

// caughtUp notes that everything was listed after the journal had been read.
func (c *core) caughtUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.behind = false
}

func (c *core) isBehind() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.behind
}

// decision is what is said about a request.
type decision struct {
	rules.Verdict
	// pending says that it rests on writes that are under way: once they are seen, it is judged anew.
	pending bool
	// sameName says that another create of the name is under way. It is waited for, but not for ever.
	sameName bool
	// exists says that another object has the name: etcd will refuse the create. Were it written down, it would hold its
	// identity and place in vain.
	exists bool
	// unknown says that the object which is changed is not known as the review claims it.
	unknown bool
	// rests is what the decision rests on unless it admits: a live read confirms it.
	rests rules.Reads
	// entry to write down, or nil.
	entry *Entry
}

// admits says whether the decision admits a request that has waited for its name, or not.
func (d *decision) admits(waited bool) bool {
	return d.rests == 0 && len(d.Refusals) == 0 && !d.pending && (!d.sameName || waited)
}

// decide judges a request against the host, the entries that the replica knows of, and more of them.
func (c *core) decide(r Request, now time.Time, more []Entry) (d decision) {
	// Before the host is held: the other way round, this and observe would wait for each other.
	entries := c.entries()
	c.host.Read(func(x *rules.Index) {
		entries = append(slices.DeleteFunc(entries, func(e Entry) bool { return c.host.past(&e) }), more...)
		alone := overlay{Index: x, namespaces: r.Namespaces}
		with := alone
		for i := range entries {
			e := &entries[i]
			ofFederation := e.federation() == r.federation()
			switch {
			case e.Member == nil:
				// A member is judged by its federation as it is, and not by what it may become.
				d.pending = d.pending || r.Member != nil && ofFederation
				continue
			case r.changesRules() && ofFederation:
				// An entry does not hold all that rules read of a member.
				d.pending = true
			}
			d.sameName = d.sameName || r.creates(e.Name, e.UID)
			with.members = append(with.members, e.member())
		}
		if d.pending {
			return
		}
		d.Verdict = r.judge(now, with)
		if len(d.Refusals) > 0 {
			d.rests, d.sameName = d.Verdict.Reads, false
			d.pending = len(with.members) > 0 && len(r.judge(now, alone).Refusals) == 0
			return
		}
		if r.Member != nil {
			if o := c.host.object(named{Member, r.Member.New.Name}); o != nil && r.creates(o.GetName(), o.GetUID()) {
				d.exists, d.sameName, d.rests = true, false, rules.ReadsObject
				return
			}
		}
		d.entry = r.entry(now, x.Federation(r.federation()))
		if d.entry != nil && !c.host.shows(d.entry) {
			d.unknown, d.rests = true, rules.ReadsObject
		}
	})
	return d
}

// entries are the entries that may still count, in their order.
func (c *core) entries() []Entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	found := make([]Entry, 0, len(c.known))
	for _, o := range c.known {
		if !o.dead {
			found = append(found, o.Entry)
		}
	}
	slices.SortFunc(found, func(a, b Entry) int { return cmp.Compare(a.Number, b.Number) })
	return found
}

// tidy marks entries as seen, and drops those that every replica had time to read or that can never come. The state is not
// changed.
func (c *core) tidy(s State, now time.Time) (next State, changed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	next = s
	next.Entries = nil
	c.host.Read(func(*rules.Index) {
		for _, e := range s.Entries {
			o := c.known[e.Request]
			switch {
			case o == nil:
			case e.Seen && !o.seen.IsZero() && now.Sub(o.seen) >= seenRetention:
				next.Dropped = max(next.Dropped, e.Number)
				changed = true
				continue
			case !e.Seen && o.dead:
				changed = true
				continue
			case !e.Seen && c.host.past(&e):
				e.Seen, changed = true, true
			}
			next.Entries = append(next.Entries, e)
		}
	})
	return next, changed
}

// unresolved are the entries that only a live read can resolve: waited for in vain, or no longer in the journal. Those that
// a replica has seen are given a moment, in which the watch brings them at no cost.
func (c *core) unresolved(now time.Time) []observation {
	return c.observations(func(o *observation) bool {
		return !o.listed || now.Sub(o.since) >= Patience || o.Seen && now.Sub(o.seen) >= watchLag
	})
}

// contested are the entries that a request waits for, and that a live read would resolve at once.
func (c *core) contested(r Request) []observation {
	return c.observations(func(o *observation) bool {
		return (o.Seen || !o.listed || o.After != 0) && r.concerns(&o.Entry)
	})
}

// observations are those of a kind that may still count, in their order.
func (c *core) observations(of func(*observation) bool) (found []observation) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.host.Read(func(*rules.Index) {
		for _, o := range c.known {
			if !o.dead && of(o) && !c.host.past(&o.Entry) {
				found = append(found, *o)
			}
		}
	})
	slices.SortFunc(found, func(a, b observation) int { return cmp.Compare(a.Number, b.Number) })
	return found
}

// resolve notes a live read of an entry's object, which was begun after the entry was known as it is given here. What was
// found is in the host by now.
func (c *core) resolve(o observation, now time.Time) {
	expired := now.Sub(o.since) >= Patience || !o.listed
	var past, there bool
	c.host.Read(func(*rules.Index) {
		past = c.host.past(&o.Entry)
		object := c.host.object(o.object().named)
		there = object != nil && object.GetUID() == o.UID
	})
	switch {
	case past:
	case !there && (o.Seen || o.After != 0):
		// It was there: as much was read before the entry was written, or marked.
		c.host.drop(o.object())
	case expired:
		// The create, or the write that was judged upon this version, has not come. That the object is gone is not noted: a
		// review may have claimed it.
		c.mu.Lock()
		if known := c.known[o.Request]; known != nil {
			known.dead = true
		}
		c.mu.Unlock()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget()
}
