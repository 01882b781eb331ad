package journal

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
)

// world is etcd with an API server, two replicas whose watches lag behind it as they like, and a pod that sends them forged
// reviews. Nothing runs by itself: every step is drawn.
type world struct {
	client.Reader
	t   *testing.T
	r   *rand.Rand
	now time.Time

	revision    uint64
	members     map[string]*v1alpha1.MemberCluster
	federations map[string]*v1alpha1.Federation
	events      []event
	// were are all objects that ever were there.
	were map[objectKey]bool

	journal  State
	version  int
	replicas [2]*replica
	flights  []*flight
	// disabled is the control: entries are not taken into account.
	disabled bool
	// forger sends reviews of its own.
	forger bool

	steps, uids                                            int
	admitted, refused, retried, conflict, catchUps, forged int
}

// event is what a watch brings.
type event struct {
	object client.Object
	gone   bool
}

// replica is one, with the loop of Journal taken apart into steps.
type replica struct {
	core *core
	live live
	at   int // of events
	// Until these steps its watch brings nothing, and it does nothing by itself.
	stalled, idle int
	state         State
	version       int
	read          bool
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
	// forged says that no API server asks: it never comes to etcd.
	forged bool
}

const limit = 3

func newWorld(t *testing.T, seed uint64, disabled bool) *world {
	w := &world{
		t: t, r: rand.New(rand.NewPCG(seed, 1)), now: time.Unix(1_000_000, 0), disabled: disabled,
		members: map[string]*v1alpha1.MemberCluster{}, federations: map[string]*v1alpha1.Federation{}, were: map[objectKey]bool{},
	}
	for i := range w.replicas {
		w.boot(i)
	}
	return w
}

// boot starts a replica anew: it knows nothing and reads the journal first.
func (w *world) boot(i int) {
	h := NewHost()
	// An old list may be what a watch starts from.
	w.replicas[i] = &replica{core: newCore(h), live: live{h, w, newLists(0)}}
	w.flights = slices.DeleteFunc(w.flights, func(f *flight) bool {
		return !f.admitted && !slices.Contains(w.replicas[:], f.replica)
	})
}

// Get implements client.Reader.
func (w *world) Get(_ context.Context, key client.ObjectKey, o client.Object, _ ...client.GetOption) error {
	switch o := o.(type) {
	case *v1alpha1.MemberCluster:
		if m := w.members[key.Name]; m != nil {
			m.DeepCopyInto(o)
			return nil
		}
	case *v1alpha1.Federation:
		if f := w.federations[key.Name]; f != nil {
			f.DeepCopyInto(o)
			return nil
		}
	}
	return apierrors.NewNotFound(schema.GroupResource{}, key.Name)
}

// List implements client.Reader.
func (w *world) List(_ context.Context, list client.ObjectList, options ...client.ListOption) error {
	var o client.ListOptions
	o.ApplyOptions(options)
	list.SetResourceVersion(strconv.FormatUint(w.revision, 10))
	switch list := list.(type) {
	case *v1alpha1.FederationList:
		for _, f := range w.federations {
			list.Items = append(list.Items, *f.DeepCopy())
		}
	case *v1alpha1.MemberClusterList:
		for _, m := range w.members {
			list.Items = append(list.Items, *m.DeepCopy())
		}
	case *metav1.PartialObjectMetadataList:
		for _, m := range w.members {
			if o.LabelSelector.Matches(labels.Set(m.Labels)) {
				list.Items = append(list.Items, metav1.PartialObjectMetadata{ObjectMeta: *m.ObjectMeta.DeepCopy()})
			}
		}
	}
	return nil
}

func (w *world) put(o client.Object) {
	w.revision++
	o.SetResourceVersion(strconv.FormatUint(w.revision, 10))
	w.were[keyOf(o)] = true
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
	if r.at == len(w.events) || w.steps < r.stalled {
		return
	}
	e := w.events[r.at]
	r.at++
	if e.gone {
		r.core.host.Drop(e.object)
	} else {
		r.core.host.Set(e.object)
	}
}

// load reads the journal, and everything when something was missed, as Journal does.
func (w *world) load(r *replica) {
	r.state, r.version, r.read = w.journal, w.version, true
	r.core.observe(r.state, w.now)
	if r.core.isBehind() {
		w.catchUps++
		w.must(r.live.everything(w.t.Context()))
		r.core.caughtUp()
	}
}

func (w *world) must(err error) {
	if err != nil {
		w.t.Fatal(err)
	}
}

// resolve is Journal.resolve.
func (w *world) resolve(r *replica, unresolved []observation) {
	for _, o := range unresolved {
		w.must(r.live.get(w.t.Context(), o.object().named))
		r.core.resolve(o, w.now)
	}
}

// tick is Journal.tick.
func (w *world) tick(r *replica) {
	w.load(r)
	w.resolve(r, r.core.unresolved(w.now))
	if next, changed := r.core.tidy(r.state, w.now); changed {
		w.write(r, next, r.version)
	}
}

func (w *world) write(r *replica, s State, version int) bool {
	if version != w.version {
		r.read = false
		return false
	}
	w.version++
	s = s.writtenBy("")
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
			after.Spec.Labels = []v1alpha1.LabelRule{{Key: "team", Values: []string{"a"}}}
		}
		return Request{Federation: &rules.FederationChange{Old: f, New: after}}
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
		m.Labels["team"] = "b"
	}
	return Request{Member: &rules.MemberChange{New: m}}
}

// forge draws a review as who has read all objects of the host, and all there ever were, may send it.
func (w *world) forge() Request {
	federation := &v1alpha1.Federation{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("f%d", w.r.IntN(3)), UID: w.anyUID(), ResourceVersion: w.anyVersion()}}
	if f := w.federations[federation.Name]; f != nil && w.r.IntN(4) > 0 {
		federation = f.DeepCopy()
		federation.UID, federation.ResourceVersion = either(w.r, f.UID, w.anyUID()), either(w.r, f.ResourceVersion, w.anyVersion())
	}
	q := Request{DryRun: w.r.IntN(8) == 0}
	if w.r.IntN(6) == 0 {
		q.Federation = &rules.FederationChange{Old: federation}
		if w.r.IntN(2) == 0 {
			q.Federation.New = federation.DeepCopy()
			q.Federation.New.Spec.Limits = []v1alpha1.Limit{{Max: 100}}
		}
		return q
	}
	m := &v1alpha1.MemberCluster{
		ObjectMeta: metav1.ObjectMeta{
			Name: fmt.Sprintf("%s%d", either(w.r, "m", "f"), w.r.IntN(14)), UID: w.anyUID(), ResourceVersion: w.anyVersion(),
			Labels: map[string]string{v1alpha1.LabelFederation: federation.Name, "zone": w.zone()},
		},
		Spec: v1alpha1.MemberClusterSpec{ClusterID: fmt.Sprintf("id-%d", w.r.IntN(9)), Server: "https://a.example.com"},
	}
	if known := w.members[m.Name]; known != nil && w.r.IntN(4) > 0 {
		m = known.DeepCopy()
		m.UID, m.ResourceVersion = either(w.r, known.UID, w.anyUID()), either(w.r, known.ResourceVersion, w.anyVersion())
	}
	q.Member = &rules.MemberChange{New: m}
	if w.r.IntN(2) == 0 {
		q.Member.Old = m
		q.Member.New = m.DeepCopy()
		q.Member.New.Labels["zone"] = w.zone()
		if w.r.IntN(4) == 0 {
			q.Member.New.Labels[v1alpha1.LabelFederation] = fmt.Sprintf("f%d", w.r.IntN(3))
			q.Member.New.Spec.ClusterID = fmt.Sprintf("id-%d", w.r.IntN(9))
		}
	}
	return q
}

// anyUID is that of an object which is there or was, or of none.
func (w *world) anyUID() types.UID { return types.UID(strconv.Itoa(1 + w.r.IntN(w.uids+5))) }

// anyVersion is one of the past or of a far future.
func (w *world) anyVersion() string {
	if w.r.IntN(3) == 0 {
		return "99999999"
	}
	return strconv.FormatUint(1+w.r.Uint64N(w.revision+1), 10)
}

func (w *world) zone() string { return string(rune('a' + w.r.IntN(2))) }

func (w *world) fly(r *replica, q Request) *flight {
	q.UID = w.uid()
	return &flight{Request: q, replica: r, since: w.now}
}

func either[T any](r *rand.Rand, a, b T) T {
	if r.IntN(2) == 0 {
		return a
	}
	return b
}

// decide is core.decide, and without the entries where the journal is disabled.
func (w *world) decide(r *replica, q Request) decision {
	if w.disabled {
		forget(r.core)
	}
	return r.core.decide(q, w.now, nil)
}

// judge takes a flight from its replica's decision to an Update, or ends it, as Journal.Decide does.
func (w *world) judge(f *flight) (over bool) {
	r := f.replica
	// The journal as it was written last, perhaps long ago, or as it is.
	if !r.read || w.r.IntN(3) == 0 {
		w.load(r)
	}
	waited := w.r.IntN(2) == 0
	w.resolve(r, r.core.contested(f.Request))
	d := w.decide(r, f.Request)
	for confirmed := rules.Reads(0); !d.pending && d.rests&^confirmed != 0; d = w.decide(r, f.Request) {
		w.must(r.live.confirm(w.t.Context(), f.Request, d.rests&^confirmed))
		confirmed |= d.rests
	}
	switch {
	case f.forged && (d.pending || !d.admits(waited) || d.entry == nil):
		return true
	case d.pending, d.unknown, d.sameName && !waited:
		w.retried++
		return true
	case !d.admits(waited):
		w.refused++
		w.refusedRightly(f.Request, d)
		return true
	case d.entry == nil:
		f.admitted = true
		return false
	}
	s, _ := r.core.tidy(r.state, w.now)
	s = s.with(*d.entry)
	f.judged, f.version = &s, r.version
	return false
}

// refusedRightly holds that a refusal is true of what is in etcd.
func (w *world) refusedRightly(q Request, d decision) {
	x := rules.NewIndex()
	for _, f := range w.federations {
		x.SetFederation(f)
	}
	for _, m := range w.members {
		x.SetMember(m)
	}
	exists := q.Member != nil && w.members[q.Member.New.Name] != nil
	if v := q.judge(w.now, x); len(v.Refusals) == 0 && !(d.exists && exists) {
		w.t.Errorf("step %d: refused with %q, and etcd has nothing against it", w.steps, d.Refusals)
	}
}

// land is the API server's write of what was admitted: upon the version that was judged, or not at all.
func (w *world) land(f *flight) {
	if w.now.Sub(f.since) > 34*time.Second || w.r.IntN(20) == 0 {
		return // too late, or a later admission plugin refused it
	}
	w.admitted++
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
		if len(f.Spec.Labels) > 0 && m.Labels["team"] == "b" {
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
	if w.steps%50 == 0 {
		return w.isReal()
	}
	return nil
}

// isReal holds that the replicas know of no object that never was there: what is gone, as what is there.
func (w *world) isReal() error {
	for _, r := range w.replicas {
		for key := range r.core.host.gone {
			if !w.were[key] {
				return fmt.Errorf("%s %s (%s) is known as gone, and was never there", key.kind, key.name, key.uid)
			}
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
		r.stalled = w.steps + w.r.IntN(600)
	case 1:
		r.stalled = w.steps + w.r.IntN(600)
		r.idle = r.stalled
	}
	switch n := w.r.IntN(100); {
	case n < 25:
		w.watch(r)
	case n < 45:
		if len(w.flights) >= 8 {
			return
		}
		if w.forger && w.r.IntN(2) == 0 {
			f := w.fly(r, w.forge())
			f.forged = true
			w.flights = append(w.flights, f)
			return
		}
		w.flights = append(w.flights, w.fly(r, w.request()))
	case n < 85:
		if len(w.flights) == 0 {
			return
		}
		i := w.r.IntN(len(w.flights))
		f := w.flights[i]
		over := false
		switch {
		case f.admitted && f.forged:
			w.forged++
			if w.r.IntN(3) == 0 {
				f.replica.core.withdraw(f.UID)
			}
			over = true
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
		if m := w.members[fmt.Sprintf("m%d", w.r.IntN(12))]; m != nil {
			w.remove(m) // no webhook is asked
		}
	case n < 99:
		w.now = w.now.Add(time.Duration(w.r.IntN(4000)) * time.Millisecond)
	case w.r.IntN(10) == 0:
		w.boot(w.r.IntN(2))
	}
}

// TestSimulation draws thousands of interleavings of two replicas, whose watches lag as far as they like and which die,
// against an etcd; in every second run a pod sends forged reviews.
func TestSimulation(t *testing.T) {
	t.Parallel()
	seeds, steps := 300, 3000
	if testing.Short() {
		seeds = 60
	}
	var sum world
	for seed := range seeds {
		w := newWorld(t, uint64(seed), false)
		w.forger = seed%2 == 1
		for i := range steps {
			w.step()
			if err := w.holds(); err != nil {
				t.Fatalf("seed %d, step %d: %v", seed, i, err)
			}
		}
		w.comesToRest(seed)
		sum.admitted, sum.refused, sum.retried = sum.admitted+w.admitted, sum.refused+w.refused, sum.retried+w.retried
		sum.conflict, sum.catchUps, sum.forged = sum.conflict+w.conflict, sum.catchUps+w.catchUps, sum.forged+w.forged
	}
	t.Logf("%d writes admitted, %d refused, %d to be tried again, %d forged, %d Updates that the other replica was faster with, %d lists of everything",
		sum.admitted, sum.refused, sum.retried, sum.forged, sum.conflict, sum.catchUps)
	if sum.admitted < 10*seeds || sum.refused < 10*seeds || sum.retried < seeds || sum.forged < 5*seeds || sum.conflict < seeds || sum.catchUps == 0 {
		t.Error("the simulation does not try enough")
	}
}

// comesToRest holds that without further writes the journal is empty within a minute, and that what fits then is admitted.
func (w *world) comesToRest(seed int) {
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
		w.remove(m) // and no watch has brought it
	}
	if w.federations["f0"] == nil {
		return
	}
	for _, r := range w.replicas {
		f := w.fly(r, Request{Member: &rules.MemberChange{New: &v1alpha1.MemberCluster{
			ObjectMeta: metav1.ObjectMeta{Name: "last", UID: w.uid(), Labels: map[string]string{v1alpha1.LabelFederation: "f0", "team": "a"}},
			Spec:       v1alpha1.MemberClusterSpec{ClusterID: "id-0", Server: "https://a.example.com"},
		}}})
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
