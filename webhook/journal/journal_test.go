package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
)

// TestShares holds how much of the journal the entries of one federation may take, and that there is a bound for one entry
// as for all, however few there are.
func TestShares(t *testing.T) {
	t.Parallel()
	entry := func(federation v1alpha1.FederationName, n int) *Entry {
		return &Entry{Kind: Member, Name: strings.Repeat("m", 63), UID: types.UID(fmt.Sprint(n)), Member: &MemberEntry{
			Federation: federation, ClusterID: v1alpha1.ClusterID(strings.Repeat("i", 36)),
		}}
	}
	fill := func(u *usage, federation v1alpha1.FederationName) (size int, err error) {
		for n := range 10_000 {
			if err := u.add(entry(federation, n)); err != nil {
				return u.byFederation[federation], err
			}
		}
		return 0, nil
	}
	about := func(size, want int) bool { return size < want+500 && size > want-500 }
	u := usageOf(State{})
	if size, err := fill(&u, "a"); !about(size, maxShare) || err == nil ||
		err.Error() != `the kubefederate journal has as many writes under way of federation "a" as it takes: try again in a moment` {
		t.Errorf("one federation takes %d bytes: %v", size, err)
	}
	if size, err := fill(&u, "b"); !about(size, openSize-maxShare) || err == nil {
		t.Errorf("a second one takes %d bytes: %v", size, err)
	}
	full := false
	for i := 0; i < 100 && !full; i++ {
		name := v1alpha1.FederationName(fmt.Sprint("small-", i))
		size, err := fill(&u, name)
		if full = errors.Is(err, errFull); !full && !about(size, reservedShare) {
			t.Errorf("%s takes %d bytes: %v", name, size, err)
		}
	}
	if !full || u.total > maxSize || u.total < maxSize-1000 {
		t.Errorf("it is full with %d bytes: %v", u.total, full)
	}
	none := usageOf(State{})
	large := entry("a", 1)
	large.UID = types.UID(strings.Repeat("x", 1_000_000))
	if err := none.add(large); err == nil || !apierrors.IsRequestEntityTooLargeError(err) || none.total != 0 {
		t.Errorf("an entry of a megabyte: %v", err)
	}
	// Of a federation with limits for many labels, each of which is as long as it may be.
	labels := entry("a", 1)
	labels.Member.Labels = map[string]string{}
	for i := range 200 {
		labels.Member.Labels[fmt.Sprintf("example.com/%03d", i)] = strings.Repeat("v", 63)
	}
	if err := none.add(labels); err == nil || !apierrors.IsRequestEntityTooLargeError(err) || none.total != 0 {
		t.Errorf("an entry of 200 labels: %v", err)
	}
}

// TestSizes holds that what the bounds count is what is written.
func TestSizes(t *testing.T) {
	t.Parallel()
	s, u := State{}, usageOf(State{})
	for i := range 100 {
		e := entryOf(t, create(labeled(member(fmt.Sprint("m-", i), types.UID(fmt.Sprint(i)), ""), "zone", "a")), v1alpha1.Limit{PerLabel: "zone", Max: 1})
		if err := u.add(&e); err != nil {
			t.Fatal(err)
		}
		s = s.with(e)
		s.Entries[i].Seen = true
	}
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	if len(text) > u.total || len(text) < u.total*8/10 {
		t.Errorf("%d bytes are written, and %d are counted", len(text), u.total)
	}
}

// TestOneBadEntry holds that what the API server does not take fails alone.
func TestOneBadEntry(t *testing.T) {
	t.Parallel()
	h := NewHost()
	h.Set(federation("1"))
	j := New(Options{Host: h})
	store := &flaky{memory: &memory{}, refuses: "b"}
	j.store = store
	var batch []*call
	for _, name := range []string{"a", "b", "c"} {
		batch = append(batch, &call{Request: create(member(name, types.UID(name), "")), answer: make(chan answer, 1)})
	}
	j.commit(t.Context(), slices.Clone(batch))
	for _, c := range batch {
		if a := <-c.answer; a.admitted == (c.Member.New.Name == "b") || (a.err != nil) == a.admitted {
			t.Errorf("%s: admitted %v, %v", c.Member.New.Name, a.admitted, a.err)
		}
	}
	if len(store.Entries) != 2 {
		t.Errorf("the journal holds %+v", store.Entries)
	}
}

// shelf is an API server with some members, which notes when lists of metadata began.
type shelf struct {
	client.Client
	mu      sync.Mutex
	members []*v1alpha1.MemberCluster
	began   []time.Time
	takes   time.Duration
}

func (s *shelf) Get(_ context.Context, key client.ObjectKey, o client.Object, _ ...client.GetOption) error {
	for _, m := range s.members {
		if into, is := o.(*v1alpha1.MemberCluster); is && m.Name == key.Name {
			m.DeepCopyInto(into)
			return nil
		}
	}
	if into, is := o.(*v1alpha1.Federation); is {
		federation("5", v1alpha1.Limit{Max: 1}).DeepCopyInto(into)
		into.Name = key.Name
		return nil
	}
	return apierrors.NewNotFound(schema.GroupResource{}, key.Name)
}

func (s *shelf) List(_ context.Context, l client.ObjectList, _ ...client.ListOption) error {
	switch l := l.(type) {
	case *metav1.PartialObjectMetadataList:
		s.mu.Lock()
		s.began = append(s.began, time.Now())
		s.mu.Unlock()
		time.Sleep(s.takes)
		for _, m := range s.members {
			l.Items = append(l.Items, metav1.PartialObjectMetadata{ObjectMeta: m.ObjectMeta})
		}
	case *v1alpha1.MemberClusterList:
		for _, m := range s.members {
			l.Items = append(l.Items, *m)
		}
	case *v1alpha1.FederationList:
		l.Items = append(l.Items, *federation("5", v1alpha1.Limit{Max: 1}))
	}
	return nil
}

// paged is a shelf that gives one member a page and decodes it into the memory of the list, as clients do.
type paged struct{ shelf }

func (p *paged) List(ctx context.Context, l client.ObjectList, options ...client.ListOption) error {
	members, is := l.(*v1alpha1.MemberClusterList)
	if !is {
		return p.shelf.List(ctx, l, options...)
	}
	var o client.ListOptions
	o.ApplyOptions(options)
	next := 0
	if o.Continue != "" {
		next, _ = strconv.Atoi(o.Continue)
	}
	members.Items, members.Continue = append(members.Items[:0], *p.members[next]), ""
	if next+1 < len(p.members) {
		members.Continue = strconv.Itoa(next + 1)
	}
	return nil
}

// TestEverything holds that a read of everything finds what there is, over several pages, and drops what is gone.
func TestEverything(t *testing.T) {
	t.Parallel()
	h := NewHost()
	h.Set(member("gone", "9", "5"))
	l := live{host: h, reader: &paged{shelf{members: []*v1alpha1.MemberCluster{member("a", "1", "6"), member("b", "2", "7"), member("c", "3", "8")}}}}
	if err := l.everything(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a", "b", "c"}, membersOf(h)); diff != "" {
		t.Errorf("members (-want +got):\n%s", diff)
	}
}

// membersOf are the names of the members of federation prod, sorted.
func membersOf(h *Host) (names []string) {
	h.Read(func(x *rules.Index) {
		for m := range x.Members("prod") {
			names = append(names, m.Name)
		}
	})
	slices.Sort(names)
	return names
}

// TestListsAreRare holds that refusals by a limit are confirmed by at most one list a second over all federations, of which
// each refusal waits for one that began after it came.
func TestListsAreRare(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := NewHost()
		s := &shelf{takes: 30 * time.Millisecond}
		for _, name := range []string{"prod", "dev"} {
			f := federation("5", v1alpha1.Limit{Max: 1})
			f.Name, f.UID = name, types.UID(name)
			h.Set(f)
			m := member("in-"+name, types.UID("in-"+name), "5")
			m.Labels[v1alpha1.LabelFederation] = name
			h.Set(m)
			s.members = append(s.members, m)
		}
		j := New(Options{Host: h, Client: s})
		var wait sync.WaitGroup
		refused := 0         // with the mutex of s
		for i := range 400 { // in two seconds
			wait.Go(func() {
				time.Sleep(time.Duration(i) * 5 * time.Millisecond)
				came := time.Now()
				m := member(fmt.Sprint("m-", i), types.UID(fmt.Sprint(i)), "")
				m.Labels[v1alpha1.LabelFederation] = []string{"prod", "dev"}[i%2]
				v, err := j.Decide(t.Context(), create(m))
				if err != nil || len(v.Refusals) != 1 {
					t.Errorf("%d: %v, %v", i, v.Refusals, err)
				}
				s.mu.Lock()
				defer s.mu.Unlock()
				if s.began[len(s.began)-1].Before(came) {
					t.Errorf("%d came at %s, and the last list began at %s", i, came, s.began[len(s.began)-1])
				}
				refused++
			})
		}
		wait.Wait()
		for i := range s.began[1:] {
			if pause := s.began[i+1].Sub(s.began[i]); pause < listInterval {
				t.Errorf("a list began %s after another", pause)
			}
		}
		if refused != 400 || len(s.began) > 6 {
			t.Errorf("%d refusals were confirmed by %d lists", refused, len(s.began))
		}
		time.Sleep(2 * listInterval) // the goroutine ends when no request waits
	})
}

// TestListIsGivenUp holds that a request which waits in vain says so in time, and that no list is made for it.
func TestListIsGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLists(time.Minute)
		l.began = time.Now()
		listed := 0
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := l.wait(ctx, "prod", func(context.Context, v1alpha1.FederationName) error { listed++; return nil })
		if err == nil || err.Error() != `wait for a list of the members of federation "prod": context deadline exceeded` {
			t.Errorf("got %v", err)
		}
		time.Sleep(2 * time.Minute)
		if listed > 0 || len(l.turn) > 0 {
			t.Errorf("%d lists, the turn is held %d times", listed, len(l.turn))
		}
	})
}

// silent is an API server that does not answer, or an error.
type silent struct {
	client.Client
	err error
}

func (s silent) Get(ctx context.Context, _ client.ObjectKey, _ client.Object, _ ...client.GetOption) error {
	if s.err != nil {
		return s.err
	}
	<-ctx.Done()
	return ctx.Err()
}

// TestDeadlines holds that a read without an answer ends after two seconds and dials anew, and that nothing else does.
func TestDeadlines(t *testing.T) {
	t.Parallel()
	gone := apierrors.NewNotFound(schema.GroupResource{}, "x")
	for name, test := range map[string]struct {
		client  silent
		timeout time.Duration
		want    string
		took    time.Duration
		redials int
	}{
		"no answer":          {silent{}, time.Minute, "the API server does not answer within 2s", 2 * time.Second, 1},
		"the caller gave up": {silent{}, time.Second, "context deadline exceeded", time.Second, 0},
		"an answer":          {silent{err: gone}, time.Minute, gone.Error(), 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				redials := 0
				c := WithDeadlines(test.client, func() { redials++ })
				ctx, cancel := context.WithTimeout(t.Context(), test.timeout)
				defer cancel()
				began := time.Now()
				err := c.Get(ctx, client.ObjectKey{Name: "x"}, &v1alpha1.Federation{})
				if took := time.Since(began); err == nil || err.Error() != test.want || took != test.took || redials != test.redials {
					t.Errorf("%v after %s, dialled anew %d times", err, took, redials)
				}
			})
		})
	}
}

// TestOutage holds that what needs the journal is answered at once while it cannot be read, and decided when it can again.
func TestOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := NewHost()
		h.Set(federation("1"))
		store := &flaky{memory: &memory{}}
		j := New(Options{Host: h, Client: &shelf{}})
		j.store = store
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { j.Start(ctx) })
		decide := func(name, want string) {
			t.Helper()
			began := time.Now()
			if got := text(j.Decide(t.Context(), create(member(name, types.UID(name), "")))); got != want || time.Since(began) > 10*time.Millisecond {
				t.Errorf("%s: got %q after %s", name, got, time.Since(began))
			}
		}
		synctest.Wait()
		decide("a", "")
		store.fails(ErrNoAnswer)
		time.Sleep(2 * readInterval)
		decide("b", "read the journal: the API server does not answer")
		store.fails(nil)
		time.Sleep(2 * retryInterval)
		decide("c", "")
		stop()
		running.Wait()
	})
}

// flaky is one replica's way to a store, and fails on demand.
type flaky struct {
	*memory
	mu  sync.Mutex
	err error
	// refuses is the name of entries that the API server does not take.
	refuses string
}

func (f *flaky) fails(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func (f *flaky) read(ctx context.Context) (State, string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return State{}, "", f.err
	}
	return f.memory.read(ctx)
}

func (f *flaky) write(ctx context.Context, s State, version string) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.err != nil:
		return "", f.err
	case slices.ContainsFunc(s.Entries, func(e Entry) bool { return e.Name == f.refuses }):
		return "", apierrors.NewRequestEntityTooLargeError("limit is 3145728")
	}
	return f.memory.write(ctx, s, version)
}

// TestReadiness holds that a replica which fails to read is not ready when another one wrote the journal since, and that two
// which fail at the same time are never both out.
func TestReadiness(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shared := &memory{}
		type replica struct {
			*Journal
			store *flaky
		}
		var replicas [2]replica
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		for i := range replicas {
			j := New(Options{Host: NewHost(), Client: &shelf{}})
			store := &flaky{memory: shared}
			j.store, replicas[i] = store, replica{j, store}
			running.Go(func() { j.Start(ctx) })
			time.Sleep(time.Second)
		}
		states := func() (ready int) {
			for _, r := range replicas {
				if r.Ready() == nil {
					ready++
				}
			}
			return ready
		}
		down := errors.New("down")
		if n := states(); n != 2 {
			t.Fatalf("%d are ready at the start", n)
		}
		// One fails, whichever wrote last: the other goes on writing.
		for i := range replicas {
			replicas[i].store.fails(down)
			time.Sleep(failureThreshold / 2)
			if n := states(); n != 2 {
				t.Errorf("%d are ready too soon", n)
			}
			// It reads again now and then, and fails otherwise.
			time.Sleep(writeInterval + failureThreshold)
			replicas[i].store.fails(nil)
			time.Sleep(3 * time.Second)
			if n := states(); n != 2 {
				t.Errorf("%d are ready after the failure of %d", n, i)
			}
		}
		alone := 0
		for range 20 {
			for _, r := range replicas {
				r.store.fails(down)
			}
			for range 30 {
				time.Sleep(time.Second)
				if n := states(); n == 0 {
					t.Fatal("no replica is ready")
				}
			}
			alone += 2 - states()
			for _, r := range replicas {
				r.store.fails(nil)
			}
			time.Sleep(5*time.Second + jitter(10*time.Second))
			if n := states(); n != 2 {
				t.Errorf("%d are ready again", n)
			}
		}
		if alone == 0 {
			t.Error("each replica was ready whatever failed")
		}
		stop()
		running.Wait()
	})
}

// TestRestore holds that a replica which goes on while etcd is restored from a backup knows what the backup holds, and
// not what came after it.
func TestRestore(t *testing.T) {
	t.Parallel()
	limited := federation("5", v1alpha1.Limit{Max: 2})
	duplicate := member("e", "9", "")
	duplicate.Spec.ClusterID = "id-b"
	const refused = `spec.clusterID: Duplicate value: "id-b": this cluster is already member "b" of federation "prod", which has never answered the manager; if it does not stand for this cluster, free the ID: kubectl federate unjoin b --force`
	for name, goesBack := range map[string]func(*Journal, *memory){
		"the journal is older": func(_ *Journal, m *memory) { m.State = State{Writes: 3} },
		// As many writes as were lost, such as forged reviews bring about, do not hide it.
		"the journal is another one": func(_ *Journal, m *memory) {
			lost := m.Writes
			m.State = State{Writes: 3, Last: 4, Dropped: 4}
			for m.Writes < lost+20 {
				m.State = m.writtenBy("another")
			}
		},
		"the watch brings an older version": func(j *Journal, _ *memory) {
			j.core.host.Replace(member("a", "1", "12"), member("a", "1", "10"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := NewHost()
			h.Set(limited)
			// The backup holds a and b. Since then b left, and c and d came.
			backup := &shelf{members: []*v1alpha1.MemberCluster{member("a", "1", "10"), member("b", "2", "11")}}
			for _, m := range backup.members {
				h.Set(m)
			}
			store := &memory{}
			store.State = State{Writes: 7, Last: 4, Dropped: 4}
			j := New(Options{Host: h, Client: backup})
			j.store = store
			j.tick(t.Context())
			h.Drop(member("b", "2", "11"))
			h.Set(member("c", "3", "20"))
			goesBack(j, store)
			j.tick(t.Context())
			if diff := cmp.Diff([]string{"a", "b"}, membersOf(h)); diff != "" {
				t.Errorf("members (-want +got):\n%s", diff)
			}
			if got := outcome(j.core.decide(create(duplicate), start, nil)); got != "refuse ["+refused+", metadata.labels[kubefederate.io/federation]: Forbidden: federation \"prod\" has 2 members and takes at most 1]" {
				t.Errorf("a second member with the identity of b: %s", got)
			}
		})
	}
}

// TestClaims holds that what a review claims of an object enters the journal when a read has shown it, and not before.
func TestClaims(t *testing.T) {
	t.Parallel()
	zone := v1alpha1.Limit{PerLabel: "zone", Max: 5}
	h := NewHost()
	h.Set(federation("5", zone))
	h.Set(member("a", "1", "5"))
	empty := NewHost()
	empty.Set(federation("5"))
	moved := func(uid types.UID, version string) Request {
		return change(member("a", uid, version), labeled(member("a", uid, version), "zone", "z"))
	}
	deletion := func(change func(*v1alpha1.Federation)) Request {
		f := federation("5")
		change(f)
		return Request{Federation: &rules.FederationChange{Old: f}, UID: "deletion"}
	}
	for name, test := range map[string]struct {
		request Request
		unknown bool
	}{
		"a member as it is":                           {moved("1", "5"), false},
		"a version that is not there":                 {moved("1", "99"), true},
		"another member of the name":                  {moved("2", "5"), true},
		"a federation as it is":                       {deletion(func(*v1alpha1.Federation) {}), false},
		"another federation":                          {deletion(func(f *v1alpha1.Federation) { f.Name = "none" }), true},
		"a federation of another time":                {deletion(func(f *v1alpha1.Federation) { f.UID = "prod-0" }), true},
		"a federation in a version that is not there": {deletion(func(f *v1alpha1.Federation) { f.ResourceVersion = "6" }), true},
	} {
		on := h
		if test.request.Federation != nil {
			on = empty
		}
		d := newCore(on).decide(test.request, start, nil)
		if d.unknown != test.unknown || d.unknown && d.rests != rules.ReadsObject {
			t.Errorf("%s: unknown %v, rests on %b, refused for %v", name, d.unknown, d.rests, d.Refusals)
		}
	}
	j := New(Options{Host: h, Client: &shelf{}})
	_, err := j.Decide(t.Context(), moved("2", "9"))
	const want = `Operation cannot be fulfilled on memberclusters.kubefederate.io "a": the object is not there as it was read: read it again`
	if status := apierrors.APIStatus(nil); err == nil || err.Error() != want || !errors.As(err, &status) || status.Status().Code != http.StatusConflict {
		t.Errorf("got %v", err)
	}
}
