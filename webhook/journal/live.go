package journal

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
)

const (
	// parallelReads is how many objects are read at a time.
	parallelReads = 16
	// pageSize is how many objects a live list asks for in one request.
	pageSize = 1000
	// listInterval is the shortest time between two lists of a federation's members, whichever federations they are of.
	listInterval = time.Second
)

// live brings what is known of the host up to date with what the API server says now.
type live struct {
	host   *Host
	reader client.Reader
	lists  lists
}

// confirm reads what a decision rests on.
func (l *live) confirm(ctx context.Context, r Request, rests reads) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelReads)
	get := func(kind Kind, name string) { group.Go(func() error { return l.get(ctx, kind, name) }) }
	if name := string(r.federation()); name != "" && (rests.Has(rules.ReadsFederation) || r.Member == nil && rests.Has(readsObject)) {
		get(Federation, name)
	}
	if r.Member != nil && rests.Has(readsObject) {
		get(Member, r.Member.New.Name)
	}
	if rests.Has(rules.ReadsFederations) {
		group.Go(func() error { return l.federations(ctx) })
	}
	if rests.Has(rules.ReadsIdentity) {
		for _, holder := range l.holders(v1alpha1.ClusterID(r.Member.New.Spec.ClusterID)) {
			get(Member, holder)
		}
	}
	if rests.Has(rules.ReadsMembers) {
		group.Go(func() error { return l.lists.wait(ctx, r.federation(), l.members) })
	}
	return group.Wait()
}

// holders are the members with a cluster ID, as far as is known.
func (l *live) holders(id v1alpha1.ClusterID) (names []string) {
	l.host.Read(func(x *rules.Index) {
		for _, m := range x.MembersWithID(id) {
			names = append(names, m.Name)
		}
	})
	return names
}

// get reads one object.
func (l *live) get(ctx context.Context, kind Kind, name string) error {
	var known client.Object
	l.host.Read(func(*rules.Index) { known = l.host.object(kind, name) })
	var o client.Object = &v1alpha1.MemberCluster{}
	if kind == Federation {
		o = &v1alpha1.Federation{}
	}
	switch err := l.reader.Get(ctx, client.ObjectKey{Name: name}, o); {
	case apierrors.IsNotFound(err):
		// Only what was there before the read: it may have been made again since.
		if known != nil {
			l.host.drop(kind, name, known.GetUID())
		}
		return nil
	case err != nil:
		return fmt.Errorf("read %s %q: %w", kind, name, err)
	case known != nil && known.GetUID() == o.GetUID() && version(o) < version(known):
		l.host.WentBack()
	}
	switch o := o.(type) {
	case *v1alpha1.MemberCluster:
		l.host.SetMember(o)
	case *v1alpha1.Federation:
		l.host.SetFederation(o)
	}
	return nil
}

// members reads which members a federation has, and with which labels. Only what frees a place is noted: a member that is gone,
// and one whose labels changed, which is read whole. What is new the watch brings.
func (l *live) members(ctx context.Context, name v1alpha1.FederationName) error {
	before := map[types.UID]*v1alpha1.MemberCluster{}
	l.host.Read(func(x *rules.Index) {
		for m := range x.Members(name) {
			before[m.UID] = m
		}
	})
	var changed []string
	for next := ""; ; {
		page := &metav1.PartialObjectMetadataList{}
		page.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("MemberClusterList"))
		of := client.MatchingLabels{v1alpha1.LabelFederation: string(name)}
		if err := l.reader.List(ctx, page, client.Limit(pageSize), client.Continue(next), of); err != nil {
			return fmt.Errorf("read members of federation %q: %w", name, err)
		}
		for i := range page.Items {
			m := &page.Items[i]
			if known := before[m.UID]; known != nil && !maps.Equal(known.Labels, m.Labels) {
				changed = append(changed, m.Name)
			}
			delete(before, m.UID)
		}
		if next = page.Continue; next == "" {
			break
		}
	}
	// The label is immutable, so what is not listed is gone.
	for _, m := range before {
		l.host.DropMember(m)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelReads)
	for _, name := range changed {
		group.Go(func() error { return l.get(ctx, Member, name) })
	}
	return group.Wait()
}

// everything reads all there is.
func (l *live) everything(ctx context.Context) error {
	if err := l.federations(ctx); err != nil {
		return err
	}
	before := map[types.UID]*v1alpha1.MemberCluster{}
	l.host.Read(func(x *rules.Index) {
		for _, name := range x.Memberships() {
			for m := range x.Members(name) {
				before[m.UID] = m
			}
		}
	})
	for next := ""; ; {
		var page v1alpha1.MemberClusterList
		if err := l.reader.List(ctx, &page, client.Limit(pageSize), client.Continue(next)); err != nil {
			return fmt.Errorf("read members: %w", err)
		}
		for i := range page.Items {
			delete(before, page.Items[i].UID)
			l.host.SetMember(&page.Items[i])
		}
		if next = page.Continue; next == "" {
			for _, m := range before {
				l.host.DropMember(m)
			}
			l.host.list(Member, version(&page))
			return nil
		}
	}
}

// federations reads all federations.
func (l *live) federations(ctx context.Context) error {
	before := map[types.UID]*v1alpha1.Federation{}
	l.host.Read(func(x *rules.Index) {
		for _, name := range x.FederationNames() {
			f := x.Federation(name)
			before[f.UID] = f
		}
	})
	var all v1alpha1.FederationList
	if err := l.reader.List(ctx, &all); err != nil {
		return fmt.Errorf("read federations: %w", err)
	}
	for i := range all.Items {
		delete(before, all.Items[i].UID)
		l.host.SetFederation(&all.Items[i])
	}
	for _, f := range before {
		l.host.DropFederation(f)
	}
	l.host.list(Federation, version(&all))
	return nil
}

// lists makes lists of federations' members, one at a time and at most one per interval. A list is for the requests that
// waited for it before it began.
type lists struct {
	interval time.Duration

	mu      sync.Mutex
	waiting []*list
	running bool
	began   time.Time
}

type list struct {
	federation v1alpha1.FederationName
	waiters    int
	done       chan struct{}
	err        error
}

// wait returns when the members of a federation have been listed by a list that began after the call.
func (l *lists) wait(ctx context.Context, name v1alpha1.FederationName, read func(context.Context, v1alpha1.FederationName) error) error {
	mine := l.join(name, read)
	select {
	case <-mine.done:
		return mine.err
	case <-ctx.Done():
		l.mu.Lock()
		defer l.mu.Unlock()
		mine.waiters--
		return fmt.Errorf("wait for a list of the members of federation %q: %w", name, ctx.Err())
	}
}

func (l *lists) join(name v1alpha1.FederationName, read func(context.Context, v1alpha1.FederationName) error) *list {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.running {
		l.running = true
		go l.run(read)
	}
	for _, other := range l.waiting {
		if other.federation == name {
			other.waiters++
			return other
		}
	}
	mine := &list{federation: name, waiters: 1, done: make(chan struct{})}
	l.waiting = append(l.waiting, mine)
	return mine
}

// run makes lists until no request waits for one.
func (l *lists) run(read func(context.Context, v1alpha1.FederationName) error) {
	for next := l.next(); next != nil; next = l.next() {
		// Not the context of the request that came first: others wait, too.
		ctx, cancel := context.WithTimeout(context.Background(), 2*requestTimeout)
		next.err = read(ctx, next.federation)
		cancel()
		close(next.done)
	}
}

// next is the list to make now; nil when no request waits for one.
func (l *lists) next() *list {
	l.mu.Lock()
	defer l.mu.Unlock()
	if pause := l.interval - time.Since(l.began); pause > 0 {
		l.mu.Unlock()
		<-time.After(pause) // at most l.interval; a request that has given up meanwhile is passed over below
		l.mu.Lock()
	}
	for len(l.waiting) > 0 {
		next := l.waiting[0]
		l.waiting = l.waiting[1:]
		if next.waiters > 0 {
			l.began = time.Now()
			return next
		}
	}
	l.running = false
	return nil
}
