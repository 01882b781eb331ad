package journal

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
)

// Patience is how long an entry waits for its object, from when a replica first sees the entry. An API server
// gives up a request after 34 s, etcd a write after seven more.
const Patience = 45 * time.Second

// lingering is how long an entry that was seen stays, so that the other replicas read it, and no longer: all that is in
// the journal is written with every create. A replica that reads less often lists everything instead.
const lingering = 3 * time.Second

// core is what a replica knows of the journal and decides by it. It reads and writes nothing.
type core struct {
	host *Host

	mu sync.Mutex
	// known is by Entry.Request.
	known map[types.UID]*sighting
	// read is State.Last when the journal was read last; behind says that entries came and went unread.
	read   int64
	behind bool
	// disabled is for tests: entries are not taken into account.
	disabled bool
}

// sighting is an entry that the replica has read and that its sight of the host may not be past yet.
type sighting struct {
	Entry
	// since is when it was read first, seen when it was first read as seen.
	since, seen time.Time
	// listed says that the journal has it still.
	listed bool
	// dead says that the write can never come: a live read after Patience did not find it, or nobody took the answer.
	dead bool
}

func newCore(h *Host) *core { return &core{host: h, known: map[types.UID]*sighting{}} }

// observe takes notice of the journal as it was read or written.
func (c *core) observe(s State, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.Dropped > c.read || s.Last < c.read {
		c.behind = true
	}
	c.read = s.Last
	for _, k := range c.known {
		k.listed = false
	}
	for _, e := range s.Entries {
		k := c.known[e.Request]
		if k == nil {
			k = &sighting{since: now}
			c.known[e.Request] = k
		}
		if e.Seen && !k.Seen {
			k.seen = now
		}
		k.Entry, k.listed = e, true
	}
	c.forget()
}

// forget leaves out what the journal has dropped and the replica's own sight is past.
func (c *core) forget() {
	c.host.Read(func(*rules.Index) {
		maps.DeleteFunc(c.known, func(_ types.UID, k *sighting) bool {
			return !k.listed && (k.dead || c.host.past(&k.Entry))
		})
	})
}

// withdraw takes notice that nobody took the answer which an entry was written for.
func (c *core) withdraw(request types.UID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	// Members leave whatever is answered.
	if k := c.known[request]; k != nil && !k.leaves() {
		k.dead = true
	}
}

// caughtUp takes notice that everything was listed after the journal had been read.
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

// entries are the entries that may still count, in their order. A member that leaves counts as it is.
func (c *core) entries() []Entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.disabled {
		return nil
	}
	found := make([]Entry, 0, len(c.known))
	for _, k := range c.known {
		if !k.dead && !k.leaves() {
			found = append(found, k.Entry)
		}
	}
	slices.SortFunc(found, func(a, b Entry) int { return cmp.Compare(a.Number, b.Number) })
	return found
}

// decision is what is said about a request.
type decision struct {
	rules.Verdict
	// waits says that the refusal rests on nothing but entries, or that another create of the name is under way: in
	// a moment there may be none.
	waits bool
	// exists says that another object has the name: etcd will refuse the create. Were it written down, it would hold
	// its identity and place in vain.
	exists bool
	// entry to write down, or nil.
	entry *Entry
	// changes are those of the host when it was judged.
	changes uint64
}

// onName is the ground of what is refused since another object has the name.
const onName rules.Grounds = 1 << 7

// crowd is how many members that leave the journal holds at a time. What more there are is not written down: they
// leave whatever is answered, and the journal is written with every create.
const crowd = 100

// crowded says whether members may leave without being written down.
func crowded(entries []Entry) bool {
	leaving := 0
	for i := range entries {
		if entries[i].leaves() {
			leaving++
		}
	}
	return leaving >= crowd
}

// grounds are what the refusal rests on; none where nothing is refused.
func (d *decision) grounds() rules.Grounds {
	switch {
	case len(d.Refusals) > 0:
		return d.Grounds
	case d.exists:
		return onName
	}
	return 0
}

// decide judges a request against the host, the entries the replica knows of, and more of them.
func (c *core) decide(r Request, now time.Time, more []Entry) (d decision) {
	// Before the host is held still: the other way round, this and observe would wait for each other.
	entries := c.entries()
	c.host.Read(func(x *rules.Index) {
		d.changes = c.host.changes
		entries = slices.DeleteFunc(entries, func(e Entry) bool { return c.host.past(&e) })
		entries = append(entries, more...)
		base := x.Federation(r.federation())
		versions := versionsOf(r.federation(), base, entries)
		o := overlay{Index: x}
		for i := range entries {
			if e := &entries[i]; e.Kind == Member {
				o.members = append(o.members, e.member())
			}
		}
		d.Verdict = r.judge(rules.Snapshot{Now: now, Federations: o, Identities: o, Memberships: o})
		for _, f := range versions {
			if len(d.Refusals) > 0 {
				break
			}
			o.federation = f
			d.Verdict = r.judge(rules.Snapshot{Now: now, Federations: o, Identities: o, Memberships: o})
		}
		if len(d.Refusals) > 0 {
			if len(entries) > 0 {
				alone := r.judge(rules.Snapshot{Now: now, Federations: x, Identities: x, Memberships: x})
				d.waits = len(alone.Refusals) == 0
			}
			return
		}
		if r.Member != nil {
			d.exists = r.creates(c.host.object(Member, r.Member.New.Name))
		}
		d.waits = slices.ContainsFunc(entries, func(e Entry) bool { return e.Kind == Member && r.creates(e.member()) })
		if base != nil {
			versions = append(versions, base)
		}
		d.entry = r.entry(now, versions)
	})
	return d
}

// versionsOf is what entries would make of a federation.
func versionsOf(name v1alpha1.FederationName, base *v1alpha1.Federation, entries []Entry) (found []*v1alpha1.Federation) {
	for i := range entries {
		e := &entries[i]
		if e.Kind != Federation || e.Name != string(name) {
			continue
		}
		f := e.federation()
		if base != nil && base.UID == e.UID {
			f = base.DeepCopy()
			f.Labels, f.Spec = e.Labels, *e.Federation
			if e.Deletion {
				f.DeletionTimestamp = &e.At
			}
		}
		found = append(found, f)
	}
	return found
}

// tend marks entries as seen, and drops those that everybody had time to read or that can never come. The
// state is not changed.
func (c *core) tend(s State, now time.Time) (next State, changed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	next = s
	next.Entries = nil
	c.host.Read(func(*rules.Index) {
		for _, e := range s.Entries {
			k := c.known[e.Request]
			switch {
			case k == nil:
			case e.Seen && !k.seen.IsZero() && now.Sub(k.seen) >= lingering:
				next.Dropped = max(next.Dropped, e.Number)
				changed = true
				continue
			case !e.Seen && k.dead:
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

// follows says whether the sight of a federation is past every entry about it.
func (c *core) follows(name v1alpha1.FederationName) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	follows := false
	c.host.Read(func(x *rules.Index) {
		follows = x.Federation(name) != nil
		for _, k := range c.known {
			if k.Kind == Federation && k.Name == string(name) && !k.dead && !c.host.past(&k.Entry) {
				follows = false
			}
		}
	})
	return follows
}

// beyond are the grounds of a refusal that the journal, as it was just read, does not tell of.
func (c *core) beyond(r Request, grounds rules.Grounds) rules.Grounds {
	if c.follows(r.federation()) {
		grounds &^= rules.OnFederation
	}
	if c.tells() {
		grounds &^= rules.OnMembers
	}
	return grounds
}

// tells says whether the journal, as it was read last, has all members that may have left or changed a limit's bucket and
// that the replica has not seen doing so.
func (c *core) tells() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	leaving := 0
	for _, k := range c.known {
		if k.listed && k.leaves() {
			leaving++
		}
	}
	return leaving < crowd
}

// unclear are the entries that only a live read can settle: waited for in vain, or gone from sight. Those that
// somebody has seen are given a moment, in which the watch tells them for nothing.
func (c *core) unclear(now time.Time) []sighting {
	return c.sightings(func(k *sighting) bool {
		return !k.listed || now.Sub(k.since) >= Patience || k.Seen && now.Sub(k.seen) >= 2*time.Second
	})
}

// contested are the entries that a refusal of a request may rest on, or be made wrong by, and that a live read would
// settle at once.
func (c *core) contested(r Request) []sighting {
	return c.sightings(func(k *sighting) bool {
		return (k.Seen || !k.listed || k.Kind == Member && k.After != 0) && r.concerns(&k.Entry)
	})
}

// sightings are those of a kind that may still count, in their order.
func (c *core) sightings(of func(*sighting) bool) (found []sighting) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.host.Read(func(*rules.Index) {
		for _, k := range c.known {
			if !k.dead && of(k) && !c.host.past(&k.Entry) {
				found = append(found, *k)
			}
		}
	})
	slices.SortFunc(found, func(a, b sighting) int { return cmp.Compare(a.Number, b.Number) })
	return found
}

// settle takes notice of a live read of an entry's object, which was begun after the entry was known as it is given
// here. What was found is in the host by now.
func (c *core) settle(k sighting, now time.Time) {
	patient := now.Sub(k.since) >= Patience || !k.listed
	var past, there bool
	c.host.Read(func(*rules.Index) {
		past = c.host.past(&k.Entry)
		o := c.host.object(k.Kind, k.Name)
		there = o != nil && o.GetUID() == k.UID
	})
	switch {
	case past:
	case there:
		// The write that was judged upon this version has not come.
		c.mu.Lock()
		if known := c.known[k.Request]; known != nil && patient {
			known.dead = true
		}
		c.mu.Unlock()
	case k.Seen || k.After != 0 || patient:
		c.host.drop(k.Kind, k.Name, k.UID)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget()
}
