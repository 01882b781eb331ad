package journal

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
)

var start = time.Unix(1_800_000_000, 0).UTC()

func member(name string, uid types.UID, version string) *v1alpha1.MemberCluster {
	return &v1alpha1.MemberCluster{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, UID: uid, ResourceVersion: version, Labels: map[string]string{v1alpha1.LabelFederation: "prod"},
		},
		Spec: v1alpha1.MemberClusterSpec{ClusterID: "id-" + name, Server: "https://" + name + ".example.com"},
	}
}

func labeled(m *v1alpha1.MemberCluster, key, value string) *v1alpha1.MemberCluster {
	m.Labels[key] = value
	return m
}

func federation(version string, limits ...v1alpha1.Limit) *v1alpha1.Federation {
	return &v1alpha1.Federation{
		ObjectMeta: metav1.ObjectMeta{Name: "prod", UID: "prod-1", ResourceVersion: version},
		Spec:       v1alpha1.FederationSpec{Limits: limits},
	}
}

func create(m *v1alpha1.MemberCluster) Request {
	return Request{Member: &rules.MemberChange{New: m}, UID: "request-" + m.UID}
}

func change(before, after *v1alpha1.MemberCluster) Request {
	return Request{Member: &rules.MemberChange{Old: before, New: after}, UID: "request-" + before.UID}
}

// entryOf is what a request is written down as, under the limits of a federation.
func entryOf(t *testing.T, r Request, limits ...v1alpha1.Limit) Entry {
	t.Helper()
	e := r.entry(start, federation("1", limits...))
	if e == nil {
		t.Fatal("the request is not written down")
	}
	return *e
}

func stateOf(entries ...Entry) (s State) {
	for _, e := range entries {
		s = s.with(e)
	}
	return s
}

// TestPast holds when a replica's sight of the host has gone past an entry: never by a name or by a clock.
func TestPast(t *testing.T) {
	t.Parallel()
	created := entryOf(t, create(member("a", "1", "")))
	changed := entryOf(t, change(labeled(member("a", "1", "5"), "zone", "a"), labeled(member("a", "1", "5"), "zone", "b")),
		v1alpha1.Limit{PerLabel: "zone", Max: 1})
	deleted := entryOf(t, Request{Federation: &rules.FederationChange{Old: federation("5")}})
	for name, test := range map[string]struct {
		entry Entry
		sees  func(*Host)
		want  bool
	}{
		"nothing":                           {created, func(*Host) {}, false},
		"the object":                        {created, func(h *Host) { h.Set(member("a", "1", "3")) }, true},
		"another object of the name":        {created, func(h *Host) { h.Set(member("a", "2", "9")) }, false},
		"the object come and gone":          {created, func(h *Host) { h.Set(member("a", "1", "3")); h.Drop(member("a", "1", "3")) }, true},
		"only that the object is gone":      {created, func(h *Host) { h.Drop(member("a", "1", "3")) }, true},
		"that another of the name went":     {created, func(h *Host) { h.Drop(member("a", "2", "3")) }, false},
		"the version that was judged":       {changed, func(h *Host) { h.Set(member("a", "1", "5")) }, false},
		"a version before":                  {changed, func(h *Host) { h.Set(member("a", "1", "4")) }, false},
		"a version after":                   {changed, func(h *Host) { h.Set(member("a", "1", "6")) }, true},
		"the changed one gone":              {changed, func(h *Host) { h.Drop(member("a", "1", "5")) }, true},
		"a later object in its place":       {changed, func(h *Host) { h.Set(member("a", "2", "9")) }, true},
		"an earlier object in its place":    {changed, func(h *Host) { h.Set(member("a", "2", "4")) }, false},
		"the federation to be deleted":      {deleted, func(h *Host) { h.Set(federation("5")) }, false},
		"the federation gone":               {deleted, func(h *Host) { h.Drop(federation("5")) }, true},
		"a member of the federation's name": {deleted, func(h *Host) { h.Set(member("prod", "prod-1", "9")) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := NewHost()
			test.sees(h)
			if got := h.past(&test.entry); got != test.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

// TestHostGoesForward holds that a late watch does not undo a live read.
func TestHostGoesForward(t *testing.T) {
	t.Parallel()
	h := NewHost()
	h.Set(labeled(member("a", "1", "12"), "zone", "b"))
	h.Set(labeled(member("a", "1", "9"), "zone", "a"))
	h.Drop(member("a", "0", "8"))
	h.Drop(federation("5"))
	h.Set(federation("4"))
	// Another object had the name in between, and is gone as well.
	h.Set(member("b", "2", "5"))
	h.Set(member("b", "3", "8"))
	h.Drop(member("b", "3", "8"))
	h.Set(member("b", "2", "5"))
	// It was not there when all were listed.
	h.Set(member("c", "4", "20"))
	h.list(Member, 20)
	h.Set(member("d", "5", "20"))
	h.Set(member("e", "6", "21"))
	// A review may claim the UID of an object under another name, which is not there: the object is not gone with it.
	h.Set(member("f", "7", "22"))
	h.Drop(member("absent", "7", "1"))
	h.Set(labeled(member("f", "7", "23"), "zone", "c"))
	h.Read(func(x *rules.Index) {
		if m := x.Member("f"); m == nil || m.Labels["zone"] != "c" || h.past(&Entry{Kind: Member, Name: "f", UID: "7", After: 23}) {
			t.Errorf("with its UID under another name it is taken for gone: %+v", m)
		}
		if m := x.Member("a"); m == nil || m.Labels["zone"] != "b" {
			t.Errorf("got %+v", m)
		}
		if f := x.Federation("prod"); f != nil {
			t.Errorf("a federation that is gone came back: %+v", f)
		}
		for name, want := range map[v1alpha1.MemberName]bool{"b": false, "c": true, "d": false, "e": true} {
			if m := x.Member(name); (m != nil) != want {
				t.Errorf("%s: %+v", name, m)
			}
		}
	})
}

// TestDecide pins what is said about a request while others are under way.
func TestDecide(t *testing.T) {
	t.Parallel()
	zones := v1alpha1.Limit{PerLabel: "zone", Max: 1}
	duplicate := member("b", "2", "")
	duplicate.Spec.ClusterID = "id-a"
	tight := federation("5")
	tight.Spec.Labels = []v1alpha1.LabelRule{{Key: "team", Required: true}}
	tighten := Request{Federation: &rules.FederationChange{Old: federation("5"), New: tight}, UID: "tighten"}
	noted := federation("5")
	noted.Annotations = map[string]string{"note": "x"}
	annotate := Request{Federation: &rules.FederationChange{Old: federation("5"), New: noted}, UID: "annotate"}
	deletion := Request{Federation: &rules.FederationChange{Old: federation("5")}, UID: "deletion"}
	elsewhere := member("c", "3", "")
	elsewhere.Labels[v1alpha1.LabelFederation] = "other"
	inZone := func(name string, uid types.UID, zone string) *v1alpha1.MemberCluster {
		return labeled(member(name, uid, "5"), "zone", zone)
	}
	for name, test := range map[string]struct {
		limits   []v1alpha1.Limit
		members  []*v1alpha1.MemberCluster
		underWay []Request
		request  Request
		// want is "admit", "pending" while it rests on writes under way, or "same name".
		want string
	}{
		"alone":        {request: create(member("a", "1", "")), want: "admit"},
		"one identity": {underWay: []Request{create(member("a", "1", ""))}, request: create(duplicate), want: "pending"},
		"its own name": {underWay: []Request{create(member("a", "1", ""))}, request: create(member("a", "2", "")), want: "same name"},
		"its own name, in a full federation": {
			limits: []v1alpha1.Limit{{Max: 1}}, underWay: []Request{create(member("a", "1", ""))}, request: create(member("a", "2", "")), want: "same name",
		},
		"a full federation": {
			limits: []v1alpha1.Limit{{Max: 2}}, members: []*v1alpha1.MemberCluster{member("x", "9", "3")},
			underWay: []Request{create(member("a", "1", ""))}, request: create(member("b", "2", "")), want: "pending",
		},
		"one name twice counts once": {
			limits:   []v1alpha1.Limit{{Max: 2}},
			underWay: []Request{create(member("a", "1", "")), create(member("a", "3", ""))}, request: create(member("b", "2", "")), want: "admit",
		},
		"a full zone": {
			limits: []v1alpha1.Limit{zones}, underWay: []Request{create(inZone("a", "1", "z"))}, request: create(inZone("b", "2", "z")), want: "pending",
		},
		"another zone": {limits: []v1alpha1.Limit{zones}, underWay: []Request{create(inZone("a", "1", "z"))}, request: create(inZone("b", "2", "y")), want: "admit"},
		"a move counts where it goes": {
			limits: []v1alpha1.Limit{zones}, members: []*v1alpha1.MemberCluster{inZone("a", "1", "y")},
			underWay: []Request{change(inZone("a", "1", "y"), inZone("a", "1", "z"))}, request: create(inZone("b", "2", "z")), want: "pending",
		},
		"join a federation that goes":         {underWay: []Request{deletion}, request: create(member("a", "1", "")), want: "pending"},
		"delete a federation that is joined":  {underWay: []Request{create(member("a", "1", ""))}, request: deletion, want: "pending"},
		"delete a federation beside another":  {underWay: []Request{create(elsewhere)}, request: deletion, want: "admit"},
		"join a federation that tightens":     {underWay: []Request{tighten}, request: create(labeled(member("a", "1", ""), "team", "t")), want: "pending"},
		"join beside one that tightens":       {underWay: []Request{tighten}, request: create(elsewhere), want: "admit"},
		"tighten a federation that is joined": {underWay: []Request{create(member("a", "1", ""))}, request: tighten, want: "pending"},
		"tighten one beside":                  {underWay: []Request{create(elsewhere)}, request: tighten, want: "admit"},
		"annotate one that is joined":         {underWay: []Request{create(member("a", "1", ""))}, request: annotate, want: "admit"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := NewHost()
			h.Set(federation("5", test.limits...))
			other := federation("5")
			other.Name, other.UID = "other", "other-1"
			h.Set(other)
			for _, m := range test.members {
				h.Set(m)
			}
			c := newCore(h)
			var s State
			for _, r := range test.underWay {
				s = s.with(entryOf(t, r, test.limits...))
			}
			c.observe(s, start)
			if got := outcome(c.decide(test.request, start, nil)); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
			// The control: without the journal everything passes.
			forget(c)
			if got := outcome(c.decide(test.request, start, nil)); got != "admit" {
				t.Errorf("without the journal: %s", got)
			}
		})
	}
}

// outcome is a decision in words.
func outcome(d decision) string {
	switch {
	case d.pending:
		return "pending"
	case d.sameName:
		return "same name"
	case d.admits(false):
		return "admit"
	}
	return "refuse " + text(d.Verdict, nil)
}

// forget takes the entries out of account, for controls.
func forget(c *core) { c.known = map[types.UID]*observation{} }

// text is what Decide said: nothing of what is admitted.
func text(v rules.Verdict, err error) string {
	switch {
	case err != nil:
		return err.Error()
	case len(v.Refusals) > 0:
		return v.Refusals.ToAggregate().Error()
	}
	return ""
}

// TestWrittenDown holds which writes cost an entry.
func TestWrittenDown(t *testing.T) {
	t.Parallel()
	zones := federation("5", v1alpha1.Limit{Max: 5}, v1alpha1.Limit{PerLabel: "zone", Max: 1})
	moved := func(server string) *v1alpha1.MemberCluster {
		m := member("a", "1", "5")
		m.Spec.Server = server
		return m
	}
	insecure := member("a", "1", "5")
	insecure.Spec.InsecureSkipTLSVerify = true
	described := federation("5")
	described.Spec.Description = "x"
	tagged := federation("5")
	tagged.Labels = map[string]string{"tier": "one"}
	noted := federation("5")
	noted.Annotations = map[string]string{"note": "x"}
	dryRun := func(r Request) Request { r.DryRun = true; return r }
	for name, test := range map[string]struct {
		request Request
		want    bool
	}{
		"create":              {create(member("a", "1", "")), true},
		"dry run":             {dryRun(create(member("a", "1", ""))), false},
		"endpoint":            {change(member("a", "1", "5"), moved("https://b.example.com")), false},
		"label without limit": {change(member("a", "1", "5"), labeled(member("a", "1", "5"), "team", "t")), false},
		"label with limit":    {change(member("a", "1", "5"), labeled(member("a", "1", "5"), "zone", "z")), true},
		"label taken away":    {change(labeled(member("a", "1", "5"), "zone", "z"), member("a", "1", "5")), true},
		"insecure":            {change(member("a", "1", "5"), insecure), true},
		"secure again":        {change(insecure, member("a", "1", "5")), false},
		"a new federation":    {Request{Federation: &rules.FederationChange{New: zones}}, false},
		"a description":       {Request{Federation: &rules.FederationChange{Old: federation("5"), New: described}}, true},
		"its label":           {Request{Federation: &rules.FederationChange{Old: federation("5"), New: tagged}}, true},
		"its annotation":      {Request{Federation: &rules.FederationChange{Old: federation("5"), New: noted}}, false},
		"rules":               {Request{Federation: &rules.FederationChange{Old: federation("5"), New: zones}}, true},
		"a deletion":          {Request{Federation: &rules.FederationChange{Old: zones}}, true},
	} {
		if got := test.request.entry(start, zones) != nil; got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestTidy holds when entries leave: marked when seen, dropped when every replica had time to read that, or when the
// write can never come.
func TestTidy(t *testing.T) {
	t.Parallel()
	h := NewHost()
	c := newCore(h)
	s := stateOf(entryOf(t, create(member("a", "1", ""))), entryOf(t, create(member("b", "2", ""))))
	c.observe(s, start)
	tidy := func(after time.Duration, want string) {
		t.Helper()
		now := start.Add(after)
		for _, k := range c.unresolved(now) {
			c.resolve(k, now) // the live read found nothing
		}
		if next, changed := c.tidy(s, now); changed {
			s = next
			c.observe(s, now)
		}
		var got []string
		for _, e := range s.Entries {
			got = append(got, fmt.Sprintf("%s seen=%v", e.Name, e.Seen))
		}
		if text := fmt.Sprintf("%s dropped=%d", strings.Join(got, ", "), s.Dropped); text != want {
			t.Errorf("after %s:\ngot  %s\nwant %s", after, text, want)
		}
	}
	tidy(0, "a seen=false, b seen=false dropped=0")
	h.Set(member("a", "1", "7"))
	tidy(time.Second, "a seen=true, b seen=false dropped=0")
	tidy(3*time.Second, "a seen=true, b seen=false dropped=0")
	tidy(4*time.Second, "b seen=false dropped=1")
	tidy(44*time.Second, "b seen=false dropped=1")
	tidy(45*time.Second, " dropped=1")
	if c.isBehind() || len(c.entries()) > 0 {
		t.Errorf("behind %v, entries %v", c.isBehind(), c.entries())
	}
}

// TestUnread holds that a replica keeps what it has read and not seen, and knows what it has not read.
func TestUnread(t *testing.T) {
	t.Parallel()
	first, second := entryOf(t, create(member("a", "1", ""))), entryOf(t, create(member("b", "2", "")))
	both := stateOf(first, second)
	c := newCore(NewHost())
	c.observe(stateOf(first), start)
	// Another replica has seen the first come and go.
	c.observe(State{Last: 2, Dropped: 1, Entries: both.Entries[1:]}, start)
	if got := c.entries(); len(got) != 2 || c.isBehind() {
		t.Errorf("behind %v, entries %+v", c.isBehind(), got)
	}
	c.observe(State{Last: 4, Dropped: 3, Entries: both.Entries[:0]}, start)
	if !c.isBehind() {
		t.Error("a third entry came and went, and the replica does not know")
	}
	c.caughtUp()
	c.observe(State{}, start)
	if !c.isBehind() {
		t.Error("the journal was emptied, and the replica does not know")
	}
}

// TestState holds what is written and what is read of it.
func TestState(t *testing.T) {
	t.Parallel()
	e := entryOf(t, create(member("a", "1", "")))
	s := stateOf(e, e)
	if len(s.Entries) != 1 || s.Last != 1 {
		t.Errorf("an Update whose answer was lost is written twice: %+v", s)
	}
	for text, want := range map[string]string{
		"":                                  "",
		`{"last":3,"entries":null}`:         "",
		`{`:                                 "data.journal: unexpected end of JSON input",
		`{"entries":[{"number":4}]}`:        "data.journal: entry 4 is incomplete",
		`{"entries":[{"kind":"member"}],1}`: "data.journal: invalid character '1' looking for beginning of object key string",
	} {
		got := ""
		if _, err := decode(text); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: got %s", text, got)
		}
	}
}

// memory is a store that replicas share.
type memory struct {
	mu sync.Mutex
	State
	version int
	// faults are the answers of the next writes.
	faults []error
	writes int
}

// errLost is the answer to a write that was made.
var errLost = errors.New("no answer")

func (m *memory) read(context.Context) (State, string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.State, fmt.Sprint(m.version), nil
}

func (m *memory) write(_ context.Context, s State, version string) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.writes++
	if len(m.faults) > 0 {
		err := m.faults[0]
		m.faults = m.faults[1:]
		if errors.Is(err, errLost) {
			m.State, m.version = s, m.version+1
		}
		if err != nil {
			return "", err
		}
	}
	if version != fmt.Sprint(m.version) {
		return "", errConflict
	}
	m.State, m.version = s, m.version+1
	return fmt.Sprint(m.version), nil
}

// TestCommit holds that requests that wait share one Update, that they are decided anew after a conflict, and that none is
// admitted when it fails.
func TestCommit(t *testing.T) {
	t.Parallel()
	down := errors.New("etcd is away")
	for name, test := range map[string]struct {
		faults []error
		writes int
		want   []string
	}{
		"one write":        {nil, 1, []string{"admitted", "refused", "admitted"}},
		"taken and again":  {[]error{errConflict, errConflict}, 3, []string{"admitted", "refused", "admitted"}},
		"answer lost":      {[]error{errLost}, 2, []string{"admitted", "refused", "admitted"}},
		"down for a while": {[]error{down, down}, 3, []string{"admitted", "refused", "admitted"}},
		"down":             {[]error{down, down, down}, 3, []string{"write the journal: etcd is away", "refused", "write the journal: etcd is away"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := NewHost()
			h.Set(federation("1"))
			j := New(Options{Host: h})
			store := &memory{faults: test.faults}
			j.store = store
			duplicate := member("b", "2", "")
			duplicate.Spec.ClusterID = "id-a"
			var batch []*call
			for _, m := range []*v1alpha1.MemberCluster{member("a", "1", ""), duplicate, member("c", "3", "")} {
				batch = append(batch, &call{Request: create(m), answer: make(chan answer, 1)})
			}
			calls := append([]*call(nil), batch...)
			j.commit(t.Context(), batch)
			var got []string
			for _, c := range calls {
				switch a := <-c.answer; {
				case a.err != nil:
					got = append(got, a.err.Error())
				case len(a.Refusals) > 0:
					got = append(got, "refused")
				default:
					got = append(got, "admitted")
				}
			}
			if diff := cmp.Diff(test.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if store.writes != test.writes {
				t.Errorf("%d writes", store.writes)
			}
			conflicts := 0
			for _, fault := range test.faults {
				if errors.Is(fault, errConflict) {
					conflicts++
				}
			}
			if got := testutil.ToFloat64(j.metrics.conflicts); got != float64(conflicts) {
				t.Errorf("the metric shows %v conflicts, want %d", got, conflicts)
			}
			if name != "down" && len(store.Entries) != 2 {
				t.Errorf("%d entries", len(store.Entries))
			}
		})
	}
}

// TestCameAndWent holds what a replica that has just started concludes of entries whose objects it never saw: an object
// that another replica has seen and a live read does not find is gone, one that no replica has seen may still come.
func TestCameAndWent(t *testing.T) {
	t.Parallel()
	other := member("c", "3", "")
	other.Labels[v1alpha1.LabelFederation] = "elsewhere"
	s := stateOf(entryOf(t, create(member("a", "1", ""))), entryOf(t, create(member("b", "2", ""))), entryOf(t, create(other)))
	s.Entries[0].Seen, s.Entries[2].Seen = true, true
	c := newCore(NewHost())
	c.observe(s, start)
	for _, k := range c.contested(Request{Federation: &rules.FederationChange{Old: federation("5")}}) {
		c.resolve(k, start) // the live read found nothing
	}
	var left []string
	for _, k := range c.observations(func(*observation) bool { return true }) {
		left = append(left, k.Name)
	}
	if got := strings.Join(left, ","); got != "b,c" {
		t.Errorf("these count still: %s", got)
	}
}

// TestWithdraw holds that the entry of a request that gave up no longer counts and is dropped, also by a replica that read
// the journal in between.
func TestWithdraw(t *testing.T) {
	t.Parallel()
	s := stateOf(entryOf(t, create(member("a", "1", ""))))
	c, other := newCore(NewHost()), newCore(NewHost())
	c.observe(s, start)
	other.observe(s, start)
	c.withdraw(s.Entries[0].Request)
	if n := len(c.entries()); n > 0 {
		t.Errorf("%d entries count after they were withdrawn", n)
	}
	next, changed := c.tidy(s, start)
	if !changed || len(next.Entries) > 0 || next.Dropped != 0 {
		t.Errorf("changed %v, the journal is %+v", changed, next)
	}
	other.observe(next, start)
	for _, k := range other.unresolved(start) {
		other.resolve(k, start) // the live read found nothing
	}
	if n := len(other.entries()); n > 0 || other.isBehind() {
		t.Errorf("another replica counts %d entries, behind %v", n, other.isBehind())
	}
}
