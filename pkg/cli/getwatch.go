package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/cli/targets"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/host"
)

// phaseGone is shown for a member that left, or is no longer selected.
const phaseGone v1alpha1.Phase = "Gone"

// Delays between two watches: servers end a watch from time to time, and one that does not respond is left in peace.
const minRetryDelay, maxRetryDelay = time.Second, 30 * time.Second

// follower prints members, and prints one again when what is shown of it changes.
type follower struct {
	show func(members ...*v1alpha1.MemberCluster) error
	// shown is what is shown of a member, except ages.
	shown func(m *v1alpha1.MemberCluster) string
	// gone changes the last state of a member that is gone, so that it shows; nil leaves it as it was.
	gone func(m *v1alpha1.MemberCluster)
	// wanted are the names to follow; empty follows all.
	wanted []string

	known map[string]seen
}

type seen struct {
	member v1alpha1.MemberCluster
	shown  string
}

// listed shows what of a whole list, in its order, has changed since the last one.
func (f *follower) listed(members []*v1alpha1.MemberCluster) error {
	gone := maps.Clone(f.known)
	var changed []*v1alpha1.MemberCluster
	for _, m := range members {
		delete(gone, m.Name)
		if f.note(m) {
			changed = append(changed, m)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(gone)) {
		changed = append(changed, f.forget(name, gone[name].member))
	}
	if len(changed) == 0 {
		return nil
	}
	return f.show(changed...)
}

// happened shows one event of a watch, if it changes what is shown.
func (f *follower) happened(e cluster.Event[v1alpha1.MemberCluster]) error {
	switch m := e.Object; {
	case m == nil || !f.wants(m.Name):
		return nil
	case e.Type == watch.Deleted:
		return f.show(f.forget(m.Name, *m))
	case f.note(m):
		return f.show(m)
	}
	return nil
}

// note remembers m, and says whether what is shown of it has changed.
func (f *follower) note(m *v1alpha1.MemberCluster) bool {
	now := seen{*m, f.shown(m)}
	before, had := f.known[m.Name]
	f.known[m.Name] = now
	return !had || before.shown != now.shown
}

func (f *follower) forget(name string, m v1alpha1.MemberCluster) *v1alpha1.MemberCluster {
	delete(f.known, name)
	if f.gone != nil {
		f.gone(&m)
	}
	return &m
}

// chosen are the wanted members of a list.
func (f *follower) chosen(members []v1alpha1.MemberCluster) []*v1alpha1.MemberCluster {
	return slices.DeleteFunc(pointers(members), func(m *v1alpha1.MemberCluster) bool { return !f.wants(m.Name) })
}

func (f *follower) wants(name string) bool {
	return len(f.wanted) == 0 || slices.Contains(f.wanted, name)
}

// follow prints the members that were asked for, and what changes, until ctx ends.
func (o *getOptions) follow(ctx context.Context, h targets.Members) error {
	ctx, cancel := o.watch.bound(ctx)
	defer cancel()
	follower, err := o.follower()
	if err != nil {
		return err
	}
	q := o.selection.Query()
	if len(o.names) == 1 {
		q.Name = v1alpha1.MemberName(o.names[0])
	}
	members, version, err := h.List(ctx, q)
	switch {
	case ctx.Err() != nil:
		return nil
	case err != nil:
		return err
	}
	chosen := follower.chosen(members)
	for _, name := range o.names {
		if !slices.ContainsFunc(chosen, func(m *v1alpha1.MemberCluster) bool { return m.Name == name }) {
			return h.NotFound(name)
		}
	}
	if len(chosen) == 0 {
		o.reportNoMembers()
	}
	if err := o.by.sort(chosen); err != nil {
		return err
	}
	if err := follower.listed(chosen); err != nil {
		return err
	}
	return o.watchFrom(ctx, h, q, version, follower)
}

// watchFrom shows what happens after the version of a list, and watches again when a watch ends, until ctx ends.
func (o *getOptions) watchFrom(ctx context.Context, h targets.Members, q host.MemberQuery, version string, follower *follower) error {
	for delay := minRetryDelay; ; delay = min(2*delay, maxRetryDelay) {
		began := time.Now()
		err := h.WatchMembers(ctx, q, version, func(e cluster.Event[v1alpha1.MemberCluster]) error {
			version = e.ResourceVersion
			return follower.happened(e)
		})
		if cluster.IsTooOld(err) {
			// What happened meanwhile is lost: what is there now is compared with what was shown. Until it is read
			// the version stays as it was, since a watch without one would not report what is gone.
			var members []v1alpha1.MemberCluster
			var now string
			if members, now, err = h.ListMembers(ctx, q); err == nil {
				version = now
				err = follower.listed(follower.chosen(members))
			}
		}
		switch {
		case ctx.Err() != nil:
			return nil // a person ended it, or its time is over
		case err != nil && !transient(err):
			return err
		case err != nil:
			output.Linef(o.ErrOut, "%s; trying again", err)
		}
		if time.Since(began) > maxRetryDelay {
			delay = minRetryDelay
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(delay):
		}
	}
}

// transient says whether a server that failed with err may soon respond again.
func transient(err error) bool {
	if e, ok := errors.AsType[*cluster.Error](err); ok && e.Fault == cluster.FaultUnreachable {
		return true
	}
	return apierrors.IsTooManyRequests(err) || apierrors.IsServiceUnavailable(err) || apierrors.IsInternalError(err) ||
		apierrors.IsServerTimeout(err) || apierrors.IsTimeout(err)
}

func (o *getOptions) follower() (*follower, error) {
	x := &follower{wanted: o.names, known: map[string]seen{}}
	if o.output.Table() {
		began, header, table := time.Now(), o.header(), output.NewTable(o.Out)
		x.shown = func(m *v1alpha1.MemberCluster) string { return fmt.Sprintf("%q", cells(m, o.columns, began)) }
		x.gone = func(m *v1alpha1.MemberCluster) {
			m.DeletionTimestamp, m.Status.Phase, m.Status.Conditions = nil, phaseGone, nil
		}
		x.show = func(members ...*v1alpha1.MemberCluster) error {
			rows := header
			header = nil
			now := time.Now()
			for _, m := range members {
				rows = append(rows, cells(m, o.columns, now))
			}
			// As wide as the longest phase, so that later rows stay aligned.
			phase := slices.IndexFunc(o.columns, func(c column) bool { return c.header == phaseHeader })
			rows[0][phase] = fmt.Sprintf("%-*s", len(v1alpha1.PhaseSuspended), rows[0][phase])
			return table.Print(rows)
		}
		return x, nil
	}
	// One printer for all: it puts the separator between YAML documents.
	printer, err := o.output.Printer()
	if err != nil {
		return nil, err
	}
	x.shown = func(m *v1alpha1.MemberCluster) string { return m.ResourceVersion }
	x.show = func(members ...*v1alpha1.MemberCluster) error {
		for _, m := range members {
			if err := printer.PrintObj(output.WithKind(m, "MemberCluster"), o.Out); err != nil {
				return err
			}
		}
		return nil
	}
	return x, nil
}
