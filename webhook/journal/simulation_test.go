package journal

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
)

// world is etcd, and two replicas whose watches lag behind it as they like. Nothing runs by itself: every step is
// drawn.
type world struct {
	t   *testing.T
	r   *rand.Rand
	now time.Time

	revision    uint64
	members     map[string]*v1alpha1.MemberCluster
	federations map[string]*v1alpha1.Federation
	events      []event

	journal  State
	version  int
	replicas [2]*replica
	flights  []*flight
	disabled bool
	// told says that the webhook is asked about every member that leaves.
	told bool

	steps, uids                 int
	admitted, refused, conflict int
	relists, looked, relied     int
}

// event is what a watch tells.
type event struct {
	object client.Object
	gone   bool
}

// replica is one, with the loop of Journal taken apart into steps.
type replica struct {
	core *core
	at   int // of events
	// Until these steps its watch tells nothing, and it does nothing by itself.
	deaf, idle int
	state      State
	version    int
	read       bool
}

// flight is a request between two steps.
type flight struct {
	Request
	replica *replica
	// judged waits for its Update, admitted for etcd.
	judged   *State
	version  int
	admitted bool
	since    time.Time
}

const limit = 3

func newWorld(t *testing.T, seed uint64, disabled bool) *world {
	w := &world{
		t: t, r: rand.New(rand.NewPCG(seed, 1)), now: time.Unix(1_000_000, 0), disabled: disabled,
		members: map[string]*v1alpha1.MemberCluster{}, federations: map[string]*v1alpha1.Federation{},
	}
	for i := range w.replicas {
		w.boot(i)
	}
	return w
}

// boot starts a replica anew: it knows nothing and reads the journal first.
func (w *world) boot(i int) {
	c := newCore(NewHost())
	c.disabled = w.disabled
	// An old list may be what a watch starts from.
	w.replicas[i] = &replica{core: c, at: 0}
	w.flights = slices.DeleteFunc(w.flights, func(f *flight) bool {
		return !f.admitted && !slices.Contains(w.replicas[:], f.replica)
	})
}

func (w *world) put(o client.Object) {
	w.revision++
	o.SetResourceVersion(strconv.FormatUint(w.revision, 10))
	switch o := o.(type) {
	case *v1alpha1.MemberCluster:
		w.members[o.Name] = o
	case *v1alpha1.Federation:
		w.federations[o.Name] = o
	}
	w.events = append(w.events, event{o, false})
}

func (w *world) remove(o client.Object) {
	w.revision++
	switch o := o.(type) {
	case *v1alpha1.MemberCluster:
		delete(w.members, o.Name)
	case *v1alpha1.Federation:
		delete(w.federations, o.Name)
	}
	w.events = append(w.events, event{o, true})
}

// watch moves a replica one event on.
func (w *world) watch(r *replica) {
	if r.at == len(w.events) || w.steps < r.deaf {
		return
	}
	e := w.events[r.at]
	r.at++
	switch o := e.object.(type) {
	case *v1alpha1.MemberCluster:
		if e.gone {
			r.core.host.DropMember(o)
		} else {
			r.core.host.SetMember(o)
		}
	case *v1alpha1.Federation:
		if e.gone {
			r.core.host.DropFederation(o)
		} else {
			r.core.host.SetFederation(o)
		}
	}
}

// load reads the journal, and everything when something was missed, as Journal does.
func (w *world) load(r *replica) {
	r.state, r.version, r.read = w.journal, w.version, true
	r.core.observe(r.state, w.now)
	if r.core.isBehind() {
		w.relists++
		w.list(r)
		r.core.caughtUp()
	}
}

func (w *world) list(r *replica) {
	var gone []client.Object
	r.core.host.Read(func(x *rules.Index) {
		for _, name := range x.Memberships() {
			for m := range x.Members(name) {
				if now := w.members[m.Name]; now == nil || now.UID != m.UID {
					gone = append(gone, m)
				}
			}
		}
		for _, name := range x.FederationNames() {
			if f, now := x.Federation(name), w.federations[string(name)]; now == nil || now.UID != f.UID {
				gone = append(gone, f)
			}
		}
	})
	for _, f := range w.federations {
		r.core.host.SetFederation(f)
	}
	for _, m := range w.members {
		r.core.host.SetMember(m)
	}
	for _, o := range gone {
		switch o := o.(type) {
		case *v1alpha1.MemberCluster:
			r.core.host.DropMember(o)
		case *v1alpha1.Federation:
			r.core.host.DropFederation(o)
		}
	}
	r.core.host.list(Member, w.revision)
	r.core.host.list(Federation, w.revision)
}

// get reads one object live.
func (w *world) get(r *replica, kind Kind, name string) {
	var known client.Object
	r.core.host.Read(func(*rules.Index) { known = r.core.host.object(kind, name) })
	switch {
	case kind == Member && w.members[name] != nil:
		r.core.host.SetMember(w.members[name])
	case kind == Federation && w.federations[name] != nil:
		r.core.host.SetFederation(w.federations[name])
	case known != nil:
		r.core.host.drop(kind, name, known.GetUID())
	}
}

// tick is Journal.tick.
func (w *world) tick(r *replica) {
	w.load(r)
	for _, k := range r.core.unclear(w.now) {
		w.get(r, k.Kind, k.Name)
		r.core.settle(k, w.now)
	}
	if next, changed := r.core.tend(r.state, w.now); changed {
		w.write(r, next, r.version)
	}
}

func (w *world) write(r *replica, s State, version int) bool {
	if version != w.version {
		r.read = false
		return false
	}
	w.version++
	w.journal = s
	r.state, r.version, r.read = s, w.version, true
	r.core.observe(s, w.now)
	return true
}

func (w *world) uid() types.UID {
	w.uids++
	return types.UID(strconv.Itoa(w.uids))
}

// request draws one.
func (w *world) request() Request {
	federation := fmt.Sprintf("f%d", w.r.IntN(2))
	f := w.federations[federation]
	switch n := w.r.IntN(20); {
	case f == nil:
		return Request{Federation: &rules.FederationChange{New: &v1alpha1.Federation{
			ObjectMeta: metav1.ObjectMeta{Name: federation, UID: w.uid()},
			Spec:       v1alpha1.FederationSpec{Limits: []v1alpha1.Limit{{Max: limit}, {PerLabel: "zone", Max: limit - 1}}},
		}}}
	case n == 0:
		return Request{Federation: &rules.FederationChange{Old: f}}
	case n <= 2:
		after := f.DeepCopy()
		after.Spec.Labels = nil
		if w.r.IntN(2) == 0 {
			after.Spec.Labels = []v1alpha1.LabelRule{{Key: "team", Required: true}}
		}
		return Request{Federation: &rules.FederationChange{Old: f, New: after}}
	case n <= 7:
		if m := w.anyMember(); m != nil {
			return Request{Leaving: m}
		}
	case n <= 10:
		for _, name := range []string{"m0", "m1", "m2", "m3", "m4", "m5"} {
			if m := w.members[name]; m != nil && w.r.IntN(2) == 0 {
				after := m.DeepCopy()
				after.Labels["zone"] = w.zone()
				if w.r.IntN(4) == 0 {
					delete(after.Labels, "zone")
				}
				return Request{Member: &rules.MemberChange{Old: m, New: after}}
			}
		}
	}
	m := &v1alpha1.MemberCluster{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("m%d", w.r.IntN(12)), UID: w.uid(), Labels: map[string]string{
			v1alpha1.LabelFederation: federation, "zone": w.zone(),
		}},
		Spec: v1alpha1.MemberClusterSpec{ClusterID: fmt.Sprintf("id-%d", w.r.IntN(8)), Server: "https://a.example.com"},
	}
	if w.r.IntN(2) == 0 {
		m.Labels["team"] = "a"
	}
	return Request{Member: &rules.MemberChange{New: m}}
}

func (w *world) anyMember() *v1alpha1.MemberCluster {
	return w.members[fmt.Sprintf("m%d", w.r.IntN(12))]
}

func (w *world) zone() string { return string(rune('a' + w.r.IntN(2))) }

func (w *world) fly(r *replica, q Request) *flight {
	q.UID = w.uid()
	return &flight{Request: q, replica: r, since: w.now}
}

// judge takes a flight from its replica's decision to an Update, or ends it.
func (w *world) judge(f *flight) (over bool) {
	r := f.replica
	// The journal as it was written last, perhaps long ago, or as it is.
	if !r.read || w.r.IntN(3) == 0 {
		w.load(r)
	}
	d := r.core.decide(f.Request, w.now, nil)
	for confirmed := rules.Grounds(0); d.grounds().Has(^confirmed); {
		confirmed |= d.grounds()
		w.confirm(r, f.Request, &d)
		d = r.core.decide(f.Request, w.now, nil)
	}
	switch {
	case len(d.Refusals) > 0 || d.exists:
		w.refused++
		return true
	case d.entry == nil:
		f.admitted = true
		return false
	}
	s, _ := r.core.tend(r.state, w.now)
	if !d.entry.leaves() || !crowded(s.Entries) {
		s = s.with(*d.entry)
	}
	f.judged, f.version = &s, r.version
	return false
}

// confirm is Journal.confirm.
func (w *world) confirm(r *replica, q Request, d *decision) {
	grounds := d.grounds()
	if !w.disabled && q.asksJournal(grounds) {
		w.load(r)
		grounds = r.core.beyond(q, grounds)
	}
	if grounds != 0 || d.grounds() != rules.OnFederation {
		w.refresh(r, q, grounds, d.Named)
		for _, k := range r.core.contested(q) {
			w.get(r, k.Kind, k.Name)
			r.core.settle(k, w.now)
		}
	}
	relied := d.grounds() &^ grounds
	if relied.Has(rules.OnFederation) {
		w.follows(r, q.federation())
	}
	if relied.Has(rules.OnMembers) {
		w.tells(r, q.federation())
	}
}

// refresh is live.refresh.
func (w *world) refresh(r *replica, q Request, grounds rules.Grounds, named []v1alpha1.MemberName) {
	if grounds.Has(rules.OnFederation) {
		w.get(r, Federation, string(q.federation()))
	}
	if grounds.Has(rules.OnHolders) {
		for _, name := range (live{host: r.core.host}).holders(q, r.core.entries()) {
			w.get(r, Member, name)
		}
	}
	if grounds.Has(rules.OnMembers) {
		w.list(r)
	} else if grounds.Has(rules.OnNamed) {
		for _, name := range named {
			w.get(r, Member, string(name))
		}
	}
	if grounds.Has(onName) {
		w.get(r, Member, q.Member.New.Name)
	}
}

// follows checks that a federation of which the journal tells nothing is as it is known.
func (w *world) follows(r *replica, name v1alpha1.FederationName) {
	w.looked++
	r.core.host.Read(func(x *rules.Index) {
		known, now := x.Federation(name), w.federations[string(name)]
		if now == nil || now.UID != known.UID || !equality.Semantic.DeepEqual(now.Spec, known.Spec) {
			w.t.Errorf("step %d: the journal tells that %+v is as it is known, and it is %+v", w.steps, known, now)
		}
	})
}

// tells checks that the members of a federation of which the journal tells nothing more are there, in their buckets.
func (w *world) tells(r *replica, name v1alpha1.FederationName) {
	if !w.told {
		return // members may leave unasked
	}
	w.relied++
	r.core.host.Read(func(x *rules.Index) {
		for m := range x.Members(name) {
			if now := w.members[m.Name]; now == nil || now.UID != m.UID || now.Labels["zone"] != m.Labels["zone"] {
				w.t.Errorf("step %d: the journal tells that %+v is as it is known, and it is %+v", w.steps, m, now)
			}
		}
	})
}

// land is the API server's write of what was admitted: upon the version that was judged, or not at all.
func (w *world) land(f *flight) {
	if w.now.Sub(f.since) > 34*time.Second || w.r.IntN(20) == 0 {
		return // too late, or somebody after us refused it
	}
	w.admitted++
	if m := f.Leaving; m != nil {
		if w.members[m.Name] == m {
			w.remove(m)
		}
		return
	}
	if c := f.Member; c != nil {
		switch known := w.members[c.New.Name]; {
		case c.Old == nil && known == nil:
			w.put(c.New.DeepCopy())
		case c.Old != nil && known == c.Old:
			w.put(c.New.DeepCopy())
		}
		return
	}
	c := f.Federation
	switch known := w.federations[string(f.federation())]; {
	case c.New == nil:
		if known == c.Old {
			w.remove(known)
		}
	case c.Old == nil && known == nil, c.Old != nil && known == c.Old:
		w.put(c.New.DeepCopy())
	}
}

// holds checks what must never be.
func (w *world) holds() error {
	ids, counts := map[string]string{}, map[string]int{}
	for name, m := range w.members {
		if other, taken := ids[m.Spec.ClusterID]; taken {
			return fmt.Errorf("%s and %s have the ID %s", name, other, m.Spec.ClusterID)
		}
		ids[m.Spec.ClusterID] = name
		f := w.federations[string(m.Federation())]
		if f == nil {
			return fmt.Errorf("%s is in %s, which is gone", name, m.Federation())
		}
		if len(f.Spec.Labels) > 0 && m.Labels["team"] == "" {
			return fmt.Errorf("%s breaks the rule of %s", name, f.Name)
		}
		counts[f.Name]++
		if zone, has := m.Labels["zone"]; has {
			counts[f.Name+"/"+zone]++
		}
	}
	for bucket, n := range counts {
		if most := limit - len(bucket)/4; n > most {
			return fmt.Errorf("%s has %d members", bucket, n)
		}
	}
	return nil
}

// step draws one.
func (w *world) step() {
	w.steps++
	r := w.replicas[w.r.IntN(2)]
	switch w.r.IntN(400) {
	case 0:
		r.deaf = w.steps + w.r.IntN(600)
	case 1:
		r.deaf = w.steps + w.r.IntN(600)
		r.idle = r.deaf
	}
	switch n := w.r.IntN(100); {
	case n < 25:
		w.watch(r)
	case n < 45:
		if len(w.flights) < 8 {
			w.flights = append(w.flights, w.fly(r, w.request()))
		}
	case n < 85:
		if len(w.flights) == 0 {
			return
		}
		i := w.r.IntN(len(w.flights))
		f := w.flights[i]
		over := false
		switch {
		case f.admitted:
			w.land(f)
			over = true
		case f.judged == nil:
			over = w.judge(f)
		default:
			if f.admitted = w.write(f.replica, *f.judged, f.version); !f.admitted {
				w.conflict++
			}
			f.judged = nil
		}
		if over {
			w.flights = slices.Delete(w.flights, i, i+1)
		}
	case n < 91:
		if w.steps >= r.idle {
			w.tick(r)
		}
	case n < 96:
		if m := w.anyMember(); m != nil && !w.told {
			w.remove(m) // the webhook was out of reach
		}
	case n < 99:
		w.now = w.now.Add(time.Duration(w.r.IntN(4000)) * time.Millisecond)
	case w.r.IntN(10) == 0:
		w.boot(w.r.IntN(2))
	}
}

// TestSimulation draws thousands of interleavings of two replicas, whose watches lag as far as they like and which die,
// against an etcd.
func TestSimulation(t *testing.T) {
	t.Parallel()
	seeds, steps := 300, 3000
	if testing.Short() {
		seeds = 60
	}
	var admitted, refused, conflict, relists, looked, relied int
	for seed := range seeds {
		w := newWorld(t, uint64(seed), false)
		w.told = seed%2 == 0
		for i := range steps {
			w.step()
			if err := w.holds(); err != nil {
				t.Fatalf("seed %d, step %d: %v", seed, i, err)
			}
		}
		w.settles(seed)
		admitted, refused = admitted+w.admitted, refused+w.refused
		conflict, relists, looked, relied = conflict+w.conflict, relists+w.relists, looked+w.looked, relied+w.relied
	}
	t.Logf("%d writes admitted, %d refused, %d Updates taken by the other, %d lists of everything, %d refusals confirmed by what the journal says of a federation, %d of members",
		admitted, refused, conflict, relists, looked, relied)
	if admitted < 10*seeds || refused < 10*seeds || conflict < seeds || relists == 0 || looked < seeds || relied < seeds {
		t.Error("the simulation does not try enough")
	}
}

// settles holds that with nobody writing the journal is empty within a minute, and that whoever then fits is admitted.
func (w *world) settles(seed int) {
	w.t.Helper()
	w.flights = nil
	for range 60 {
		w.now = w.now.Add(time.Second)
		w.tick(w.replicas[w.r.IntN(2)])
	}
	if len(w.journal.Entries) > 0 {
		w.t.Fatalf("seed %d: a minute after the last write the journal holds %+v", seed, w.journal.Entries)
	}
	for _, m := range w.members {
		if !w.told {
			w.remove(m)
			continue
		}
		f := w.fly(w.replicas[w.r.IntN(2)], Request{Leaving: m})
		for f.judged == nil || !w.write(f.replica, *f.judged, f.version) {
			w.judge(f)
		}
		w.remove(m)
	}
	for _, r := range w.replicas {
		for r.deaf = 0; !w.told && r.at < len(w.events); {
			w.watch(r)
		}
	}
	for _, r := range w.replicas {
		f := w.fly(r, Request{Member: &rules.MemberChange{New: &v1alpha1.MemberCluster{
			ObjectMeta: metav1.ObjectMeta{Name: "last", UID: w.uid(), Labels: map[string]string{v1alpha1.LabelFederation: "f0", "team": "a"}},
			Spec:       v1alpha1.MemberClusterSpec{ClusterID: "id-0", Server: "https://a.example.com"},
		}}})
		if w.federations["f0"] == nil {
			return
		}
		if w.judge(f) {
			w.t.Fatalf("seed %d: a member that fits is refused", seed)
		}
	}
}

// TestSimulationWithoutJournal is the control: without the entries the same steps break every promise.
func TestSimulationWithoutJournal(t *testing.T) {
	t.Parallel()
	broken := 0
	for seed := range 60 {
		w := newWorld(t, uint64(seed), true)
		for range 3000 {
			w.step()
			if w.holds() != nil {
				broken++
				break
			}
		}
	}
	if broken < 55 {
		t.Errorf("%d of 60 runs broke a promise: the simulation is too tame", broken)
	}
}
