package journal

import (
	"context"
	"fmt"
	"maps"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
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
	lists  *lists
}

// confirm reads what a decision rests on.
func (l *live) confirm(ctx context.Context, r Request, rests rules.Reads) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelReads)
	get := func(kind Kind, name string) { group.Go(func() error { return l.get(ctx, named{kind, name}) }) }
	if name := string(r.federation()); name != "" && (rests.Has(rules.ReadsFederation) || r.Member == nil && rests.Has(rules.ReadsObject)) {
		get(Federation, name)
	}
	if r.Member != nil && rests.Has(rules.ReadsObject) {
		get(Member, r.Member.New.Name)
	}
	if rests.Has(rules.ReadsFederations) {
		group.Go(func() error { return l.all(ctx, Federation) })
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
func (l *live) get(ctx context.Context, at named) error {
	var known client.Object
	l.host.Read(func(*rules.Index) { known = l.host.object(at) })
	var o client.Object = &v1alpha1.MemberCluster{}
	if at.kind == Federation {
		o = &v1alpha1.Federation{}
	}
	switch err := l.reader.Get(ctx, client.ObjectKey{Name: at.name}, o); {
	case apierrors.IsNotFound(err):
		// Only what was there before the read: it may have been made again since.
		if known != nil {
			l.host.Drop(known)
		}
	case err != nil:
		return fmt.Errorf("read %s %q: %w", at.kind, at.name, err)
	default:
		l.host.Replace(known, o)
	}
	return nil
}

// pages gives each object of a list to f, and returns the resourceVersion of the list.
func (l *live) pages(ctx context.Context, list client.ObjectList, f func(client.Object), options ...client.ListOption) (uint64, error) {
	for next := ""; ; {
		// What f keeps must not be overwritten by the next page.
		page := list.DeepCopyObject().(client.ObjectList)
		if err := l.reader.List(ctx, page, append(options, client.Limit(pageSize), client.Continue(next))...); err != nil {
			return 0, err
		}
		err := meta.EachListItem(page, func(o runtime.Object) error {
			f(o.(client.Object))
			return nil
		})
		if next = page.GetContinue(); next == "" || err != nil {
			return version(page), err
		}
	}
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
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("MemberClusterList"))
	_, err := l.pages(ctx, list, func(m client.Object) {
		if known := before[m.GetUID()]; known != nil && !maps.Equal(known.Labels, m.GetLabels()) {
			changed = append(changed, m.GetName())
		}
		delete(before, m.GetUID())
	}, client.MatchingLabels{v1alpha1.LabelFederation: string(name)})
	if err != nil {
		return fmt.Errorf("read members of federation %q: %w", name, err)
	}
	// The label is immutable, so what is not listed is gone.
	for _, m := range before {
		l.host.Drop(m)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelReads)
	for _, name := range changed {
		group.Go(func() error { return l.get(ctx, named{Member, name}) })
	}
	return group.Wait()
}

// everything reads all there is.
func (l *live) everything(ctx context.Context) error {
	if err := l.all(ctx, Federation); err != nil {
		return err
	}
	return l.all(ctx, Member)
}

// all reads all objects of a kind.
func (l *live) all(ctx context.Context, kind Kind) error {
	before := l.host.objects(kind)
	var list client.ObjectList = &v1alpha1.MemberClusterList{}
	if kind == Federation {
		list = &v1alpha1.FederationList{}
	}
	at, err := l.pages(ctx, list, func(o client.Object) {
		delete(before, o.GetUID())
		l.host.Set(o)
	})
	if err != nil {
		return fmt.Errorf("read %ss: %w", kind, err)
	}
	for _, o := range before {
		l.host.Drop(o)
	}
	l.host.list(kind, at)
	return nil
}

// lists makes lists of federations' members, one at a time and at most one per interval. A list is for the requests that
// waited for it before it began.
type lists struct {
	interval time.Duration
	// turn is held, by sending to it, while a list is made or the interval is waited for. The next fields are its holder's.
	turn  chan struct{}
	began time.Time
	// made are the lists of the last minute, which is longer than a request waits.
	made map[v1alpha1.FederationName]madeList
}

type madeList struct {
	began time.Time
	err   error
}

func newLists(interval time.Duration) *lists {
	return &lists{interval: interval, turn: make(chan struct{}, 1), made: map[v1alpha1.FederationName]madeList{}}
}

// wait returns when the members of a federation have been listed by a list that began after the call.
func (l *lists) wait(ctx context.Context, name v1alpha1.FederationName, read func(context.Context, v1alpha1.FederationName) error) error {
	came := time.Now()
	gaveUp := func() error {
		return fmt.Errorf("wait for a list of the members of federation %q: %w", name, ctx.Err())
	}
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return gaveUp()
	}
	if made := l.made[name]; made.began.After(came) {
		<-l.turn
		return made.err
	}
	if sleep(ctx, l.interval-time.Since(l.began)) != nil {
		<-l.turn
		return gaveUp()
	}
	done := make(chan error, 1)
	go func() {
		// Not the context of this request: others may have begun to wait, too.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*requestTimeout)
		defer cancel()
		l.began = time.Now()
		err := read(ctx, name)
		maps.DeleteFunc(l.made, func(_ v1alpha1.FederationName, m madeList) bool { return time.Since(m.began) > time.Minute })
		l.made[name] = madeList{l.began, err}
		<-l.turn
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return gaveUp()
	}
}
