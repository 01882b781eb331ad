package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
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
	// shown is what is shown of a member as it is known, except ages.
	shown func(m *v1alpha1.MemberCluster) string
	// gone changes the last state of a member that is gone, so that it shows; nil leaves it as it was.
	gone func(m *v1alpha1.MemberCluster)
	// wanted are the names to follow; empty follows all.
	wanted []string
	// violating says that only members which break a rule are followed.
	violating bool

	// mu is held while something is shown.
	mu    sync.Mutex
	known map[string]seen
	// probes say how old the statuses of members are.
	probes host.Probes
}

// seen is a member as it is stored, and what was shown of it.
type seen struct {
	member v1alpha1.MemberCluster
	shown  string
}

// listed shows what of a whole list, in its order, has changed since the last one.
func (f *follower) listed(members []*v1alpha1.MemberCluster) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	gone := maps.Clone(f.known)
	var changed []*v1alpha1.MemberCluster
	for _, m := range members {
		delete(gone, m.Name)
		if known, looksDifferent := f.note(m); looksDifferent {
			changed = append(changed, known)
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
	f.mu.Lock()
	defer f.mu.Unlock()
	switch m := e.Object; {
	case m == nil:
		return nil
	case !f.wants(m):
		if _, known := f.known[m.Name]; !known {
			return nil
		}
		return f.show(f.forget(m.Name, *m))
	case e.Type == watch.Deleted:
		return f.show(f.forget(m.Name, *m))
	default:
		if known, looksDifferent := f.note(m); looksDifferent {
			return f.show(known)
		}
	}
	return nil
}

// probed shows again what looks different since probes were made, or have stopped.
func (f *follower) probed(p host.Probes) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.probes = p
	var changed []*v1alpha1.MemberCluster
	for _, name := range slices.Sorted(maps.Keys(f.known)) {
		if known, looksDifferent := f.note(new(f.known[name].member)); looksDifferent {
			changed = append(changed, known)
		}
	}
	if len(changed) == 0 {
		return nil
	}
	return f.show(changed...)
}

// note remembers m, and gives it as it is known and whether that is shown differently from before.
func (f *follower) note(m *v1alpha1.MemberCluster) (known *v1alpha1.MemberCluster, looksDifferent bool) {
	known = new(asKnown(*m, f.probes))
	now := seen{*m, f.shown(known)}
	before, had := f.known[m.Name]
	f.known[m.Name] = now
	return known, !had || before.shown != now.shown
}

func (f *follower) forget(name string, m v1alpha1.MemberCluster) *v1alpha1.MemberCluster {
	delete(f.known, name)
	m = asKnown(m, f.probes)
	if f.gone != nil {
		f.gone(&m)
	}
	return &m
}

// chosen are the wanted members of a list.
func (f *follower) chosen(members []v1alpha1.MemberCluster) []*v1alpha1.MemberCluster {
	return slices.DeleteFunc(pointers(members), func(m *v1alpha1.MemberCluster) bool { return !f.wants(m) })
}

func (f *follower) wants(m *v1alpha1.MemberCluster) bool {
	return (len(f.wanted) == 0 || slices.Contains(f.wanted, m.Name)) && (!f.violating || violating(m) != nil)
}

// follow prints the members that were asked for, and what changes, until ctx ends.
func (o *getOptions) follow(ctx context.Context, h targets.Members) error {
	ctx, cancel := o.watch.bound(ctx)
	defer cancel()
	q := o.selection.Query()
	if len(o.names) == 1 {
		q.Name = v1alpha1.MemberName(o.names[0])
	}
	var version string
	members, probes, err := o.withProbes(ctx, h, func() (members []v1alpha1.MemberCluster, err error) {
		members, version, err = h.List(ctx, q)
		return members, err
	})
	switch {
	case ctx.Err() != nil:
		return nil
	case err != nil:
		return err
	}
	o.fitTerminal(allAsKnown(members, probes))
	follower, err := o.follower()
	if err != nil {
		return err
	}
	follower.probes = probes
	chosen := follower.chosen(members)
	missing := slices.DeleteFunc(slices.Clone(o.names), func(name string) bool {
		return slices.ContainsFunc(members, func(m v1alpha1.MemberCluster) bool { return m.Name == name })
	})
	if len(missing) > 0 && !o.ignoreNotFound {
		return h.Missing(ctx, missing)
	}
	if len(chosen) == 0 {
		o.reportNoMembers()
	}
	if err := o.by.sortAsKnown(chosen, follower.probes); err != nil {
		return err
	}
	if err := follower.listed(chosen); err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() {
		err := o.followProbes(ctx, h, follower)
		if err != nil {
			cancel()
		}
		failed <- err
	}()
	err = o.watchFrom(ctx, h, q, version, follower)
	cancel()
	return cmp.Or(err, <-failed)
}

// followProbes shows again what looks different as time passes, until ctx ends: probes stop without a change of a member.
func (o *getOptions) followProbes(ctx context.Context, h targets.Members, follower *follower) error {
	for p := follower.probes; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(p.Interval()):
		}
		now := h.Probes(ctx)
		if now.Err != nil {
			continue // what was known stays, as members do while the host does not answer
		}
		if text := probesText(h.Commands, now); text != "" && !p.Stopped() {
			output.Line(o.ErrOut, text)
		}
		p = now
		if err := follower.probed(p); err != nil {
			return err
		}
	}
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
	x := &follower{wanted: o.names, violating: o.violating, known: map[string]seen{}}
	if o.output.Table() {
		began, header, table := time.Now(), o.header(), o.table()
		lasting := slices.DeleteFunc(slices.Clone(o.columns), func(c column) bool { return c.header == lastContactHeader })
		x.shown = func(m *v1alpha1.MemberCluster) string { return fmt.Sprintf("%q", cells(m, lasting, began)) }
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
	x.shown = func(m *v1alpha1.MemberCluster) string { return fmt.Sprint(m.ResourceVersion, x.probes.Stopped()) }
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
