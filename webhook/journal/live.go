package journal

import (
	"context"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
)

// atOnce is how many objects are read at a time.
const atOnce = 16

// pageSize is how many objects a live list asks for at once.
const pageSize = 1000

// live brings the sight of the host up to date with what the API server says now.
type live struct {
	host   *Host
	reader client.Reader
	// still may be nil.
	still Still
}

// refresh reads what a refusal rests on, all at once.
func (l live) refresh(ctx context.Context, r Request, grounds rules.Grounds, named []v1alpha1.MemberName, entries []Entry) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	get := func(kind Kind, name string) { group.Go(func() error { return l.get(ctx, kind, name) }) }
	if name := string(r.federation()); grounds.Has(rules.OnFederation) && name != "" {
		get(Federation, name)
	}
	if grounds.Has(rules.OnFederations) {
		group.Go(func() error { return l.federations(ctx) })
	}
	if grounds.Has(rules.OnHolders) {
		for _, holder := range l.holders(r, entries) {
			get(Member, holder)
		}
	}
	if grounds.Has(rules.OnMembers) {
		group.Go(func() error { return l.members(ctx, r.federation()) })
	} else if grounds.Has(rules.OnNamed) {
		for _, name := range named {
			get(Member, string(name))
		}
	}
	if grounds.Has(onName) {
		get(Member, r.Member.New.Name)
	}
	return group.Wait()
}

// holders are the members that have the cluster ID of a request, or may come to have it.
func (l live) holders(r Request, entries []Entry) (names []string) {
	id := r.Member.New.Spec.ClusterID
	l.host.Read(func(x *rules.Index) {
		for _, m := range x.MembersWithID(v1alpha1.ClusterID(id)) {
			names = append(names, m.Name)
		}
	})
	for _, e := range entries {
		if e.Kind == Member && e.Member.ClusterID == id && e.Name != r.Member.New.Name {
			names = append(names, e.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// get reads one object.
func (l live) get(ctx context.Context, kind Kind, name string) error {
	var known client.Object
	l.host.Read(func(*rules.Index) { known = l.host.object(kind, name) })
	if known != nil && l.still != nil && l.still(ctx, kind, known) {
		return nil
	}
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
	}
	l.set(o)
	return nil
}

func (l live) set(o client.Object) {
	switch o := o.(type) {
	case *v1alpha1.MemberCluster:
		l.host.SetMember(o)
	case *v1alpha1.Federation:
		l.host.SetFederation(o)
	}
}

// members reads the members of a federation, or with "" those of all.
func (l live) members(ctx context.Context, name v1alpha1.FederationName) error {
	before := map[types.UID]*v1alpha1.MemberCluster{}
	l.host.Read(func(x *rules.Index) {
		names := []v1alpha1.FederationName{name}
		if name == "" {
			names = x.Memberships()
		}
		for _, n := range names {
			for m := range x.Members(n) {
				before[m.UID] = m
			}
		}
	})
	options := []client.ListOption{client.Limit(pageSize)}
	var at uint64
	if name != "" {
		options = append(options, client.MatchingLabels{v1alpha1.LabelFederation: string(name)})
	}
	for next := ""; ; {
		var page v1alpha1.MemberClusterList
		if err := l.reader.List(ctx, &page, append(slices.Clip(options), client.Continue(next))...); err != nil {
			if name == "" {
				return fmt.Errorf("read members: %w", err)
			}
			return fmt.Errorf("read members of federation %q: %w", name, err)
		}
		for i := range page.Items {
			delete(before, page.Items[i].UID)
			l.host.SetMember(&page.Items[i])
		}
		at = version(&page)
		if next = page.Continue; next == "" {
			break
		}
	}
	// The label is immutable, so what is not listed is gone.
	for _, m := range before {
		l.host.DropMember(m)
	}
	if name == "" {
		l.host.list(Member, at)
	}
	return nil
}

// everything reads all there is.
func (l live) everything(ctx context.Context) error {
	if err := l.federations(ctx); err != nil {
		return err
	}
	return l.members(ctx, "")
}

// federations reads all federations.
func (l live) federations(ctx context.Context) error {
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
