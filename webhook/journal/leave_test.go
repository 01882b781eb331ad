package journal

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

func leave(m *v1alpha1.MemberCluster) Request {
	return Request{Leaving: m, UID: "leave-" + m.UID}
}

// leaves are so many members on their way out.
func leaves(t *testing.T, n int) (s State) {
	t.Helper()
	for i := range n {
		s = s.with(entryOf(t, leave(member(fmt.Sprint("leaving-", i), types.UID(fmt.Sprint("leaving-", i)), "3"))))
	}
	return s
}

// TestLeave holds what is written down of a member that is to be deleted.
func TestLeave(t *testing.T) {
	t.Parallel()
	held := member("a", "1", "5")
	held.Finalizers = []string{"example.com/hold"}
	down := errors.New("etcd is away")
	for name, test := range map[string]struct {
		member *v1alpha1.MemberCluster
		before State
		faults []error
		// entries are written more.
		entries int
		want    string
	}{
		"a member":                  {member: member("a", "1", "5"), entries: 1},
		"held by a finalizer":       {member: held},
		"the journal cannot be had": {member: member("a", "1", "5"), faults: []error{down, down, down}, want: "write the journal: etcd is away"},
		"many before it":            {member: member("a", "1", "5"), before: leaves(t, crowd-1), entries: 1},
		"too many before it":        {member: member("a", "1", "5"), before: leaves(t, crowd)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := &memory{State: test.before, faults: test.faults}
			j := New(Options{Host: NewHost()})
			j.store = store
			got := ""
			if err := during(t, j, func() error { return j.Leave(t.Context(), test.member) }); err != nil {
				got = err.Error()
			}
			if n := len(store.Entries) - len(test.before.Entries); n != test.entries || got != test.want {
				t.Errorf("%d more entries, want %d; %s", n, test.entries, got)
			}
		})
	}
}

// TestLeaveIsNotWithdrawn holds that a member whose API server did not wait for the answer leaves all the same.
func TestLeaveIsNotWithdrawn(t *testing.T) {
	t.Parallel()
	store := &memory{}
	j := New(Options{Host: NewHost()})
	j.store = store
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := during(t, j, func() error { return j.Leave(ctx, member("a", "1", "5")) }); err != nil || len(store.Entries) != 1 {
		t.Fatalf("%v, %d entries", err, len(store.Entries))
	}
	j.core.withdraw(store.Entries[0].Request)
	if next, changed := j.core.tend(store.State, start); changed || len(next.Entries) != 1 {
		t.Errorf("it was withdrawn: %+v", next)
	}
}

// TestLeavingCounts holds that a member which is to be deleted counts until it is gone.
func TestLeavingCounts(t *testing.T) {
	t.Parallel()
	h := NewHost()
	h.SetFederation(federation("1", v1alpha1.Limit{Max: 1}))
	h.SetMember(member("a", "1", "5"))
	c := newCore(h)
	c.observe(stateOf(entryOf(t, leave(member("a", "1", "5")))), start)
	full := func() bool { return len(c.decide(create(member("b", "2", "")), start, nil).Refusals) > 0 }
	if !full() {
		t.Error("it does not count any more")
	}
	if d := c.decide(create(member("b", "2", "")), start, nil); d.waits {
		t.Error("the refusal waits for it")
	}
	h.DropMember(member("a", "1", "5"))
	if full() {
		t.Error("it counts still")
	}
}

// shelf is an API server with some members. It counts what is asked.
type shelf struct {
	client.Reader
	members      []*v1alpha1.MemberCluster
	gets, listed int
}

func (s *shelf) Get(_ context.Context, key client.ObjectKey, o client.Object, _ ...client.GetOption) error {
	s.gets++
	for _, m := range s.members {
		if into, is := o.(*v1alpha1.MemberCluster); is && m.Name == key.Name {
			m.DeepCopyInto(into)
			return nil
		}
	}
	return apierrors.NewNotFound(schema.GroupResource{}, key.Name)
}

func (s *shelf) List(_ context.Context, l client.ObjectList, _ ...client.ListOption) error {
	s.listed++
	if into, is := l.(*v1alpha1.MemberClusterList); is {
		for _, m := range s.members {
			into.Items = append(into.Items, *m)
		}
	}
	return nil
}

// TestLimitRestsOnTheJournal holds that a refusal by a limit is confirmed by the journal: members are read where it says
// that they may be gone, and listed where it does not say.
func TestLimitRestsOnTheJournal(t *testing.T) {
	t.Parallel()
	a := labelled(member("a", "1", "5"), "zone", "z")
	left := labelled(member("a", "1", "5"), "zone", "y")
	left.ResourceVersion = "6"
	one, zones := federation("5", v1alpha1.Limit{Max: 1}), federation("5", v1alpha1.Limit{PerLabel: "zone", Max: 1})
	elsewhere := member("a", "1", "5")
	elsewhere.Labels[v1alpha1.LabelFederation], elsewhere.Name, elsewhere.UID = "other", "o", "o"
	leaving := stateOf(entryOf(t, leave(a)))
	const refused = `metadata.labels[kubefederate.io/federation]: Forbidden: federation "prod" has 1 member and takes at most 1`
	const fullZone = `metadata.labels[zone]: Forbidden: federation "prod" has 1 member with zone=z and takes at most 1`
	for name, test := range map[string]struct {
		federation *v1alpha1.Federation
		journal    store
		now        []*v1alpha1.MemberCluster
		want       string
		gets, list int
	}{
		"nobody leaves":               {one, &memory{}, []*v1alpha1.MemberCluster{a}, refused, 0, 0},
		"it has left":                 {one, &memory{State: leaving}, nil, "", 1, 0},
		"it is to leave, and has not": {one, &memory{State: leaving}, []*v1alpha1.MemberCluster{a}, refused, 1, 0},
		"another federation's leaves": {one, &memory{State: stateOf(entryOf(t, leave(elsewhere)))}, []*v1alpha1.MemberCluster{a}, refused, 0, 0},
		"it has changed its zone":     {zones, &memory{State: stateOf(entryOf(t, change(a, left), zones))}, []*v1alpha1.MemberCluster{left}, "", 1, 0},
		"it has not":                  {zones, &memory{State: stateOf(entryOf(t, change(a, left), zones))}, []*v1alpha1.MemberCluster{a}, fullZone, 1, 0},
		"the journal cannot be read":  {one, unreadable{&memory{}}, []*v1alpha1.MemberCluster{a}, refused, 0, 1},
		"more leave than it takes":    {one, &memory{State: leaves(t, crowd)}, nil, "", crowd, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := NewHost()
			h.SetFederation(test.federation)
			h.SetMember(a)
			s := &shelf{members: test.now}
			j := New(Options{Host: h, Reader: s, Still: func(_ context.Context, kind Kind, _ client.Object) bool { return kind == Federation }})
			j.store = test.journal
			verdict, err := decides(t, j, create(labelled(member("b", "2", ""), "zone", "z")))
			if diff := cmp.Diff(test.want, text(verdict, err)); diff != "" || s.gets != test.gets || s.listed != test.list {
				t.Errorf("%d gets, %d lists, want %d and %d; (-want +got):\n%s", s.gets, s.listed, test.gets, test.list, diff)
			}
		})
	}
}
