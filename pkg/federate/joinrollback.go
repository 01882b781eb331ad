package federate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// failed ends a run that failed with cause: it rolls back what the run made, where no other run relies on it,
// and says how things stand.
func (r *joinRun) failed(ctx context.Context, cause error) error {
	o := r.plan.Options
	cause = overtaken(r.steps, stopped(ctx, cause))
	if gone, ok := errors.AsType[*vanished](cause); ok {
		gone.remedy = o.commands.To("join again", o.command())
	}
	if r.took != tookNot {
		return r.halfway(cause)
	}
	if len(r.made) == 0 && r.plan.sent == nil {
		return r.refused(cause, false)
	}
	fresh, cancel := afterwards(ctx)
	defer cancel()
	left, err := r.undo(fresh)
	p := r.partial(cause)
	p.Left = left
	switch {
	case err == nil:
		return r.refused(cause, true)
	case errors.Is(err, errNothing):
		return r.refused(cause, false)
	case errors.Is(err, errNotFirst):
		p.Done = []string{fmt.Sprintf("host: %s existed before this run, so nothing was rolled back", host.MemberRef(o.Name))}
	case errors.Is(err, host.ErrAnotherAttempt):
		p.Done = []string{fmt.Sprintf("host: %s was not rolled back: another join has taken it over, or this one had just ended", host.MemberRef(o.Name))}
	default:
		p.Err = rollbackFailed(cause, err)
	}
	return p
}

var (
	// errNothing means that there was nothing to roll back.
	errNothing = errors.New("nothing was made")
	// errNotFirst means that the membership is older than this run: others rely on what this run repaired.
	errNotFirst = errors.New("the membership was not begun by this run")
)

// undo rolls back what this run made, the last first. It returns what could not be rolled back.
func (r *joinRun) undo(ctx context.Context) (left []string, err error) {
	p := r.plan
	mine := p.facts.Attempt.String()
	if err = r.claim(ctx, mine); err == nil {
		err = r.disown(ctx, mine)
	} else if errors.Is(err, errNothing) || errors.Is(err, errNotFirst) || r.sealed == "" && errors.Is(err, host.ErrAnotherAttempt) {
		return nil, err
	}
	if err != nil {
		left = r.remains()
	} else if left, err = r.rollBack(ctx); err == nil {
		return nil, nil
	}
	if r.sealed != "" {
		// A run that continues need not wait for this one.
		_, _ = p.host.ExchangeAttempt(ctx, p.Options.Name, r.sealed, mine)
	}
	return left, err
}

// claim writes onto the MemberCluster that this run rolls back, which fails when another run has taken the member over; from
// then on others wait. A MemberCluster that was deleted needs no claim: what it had on its cluster grants nothing without the
// host, and is removed.
func (r *joinRun) claim(ctx context.Context, mine string) error {
	p, name := r.plan, r.plan.Options.Name
	var record *v1alpha1.MemberCluster
	if err := retry(ctx, func() (err error) { record, err = p.host.FindMember(ctx, name); return err }); err != nil {
		return err
	}
	stamp := ""
	if record != nil {
		stamp = record.Annotations[v1alpha1.AnnotationAttempt]
	}
	switch {
	case record == nil && (r.first || r.madeOnMember()):
		r.unmark(host.MemberRef(name))
		r.unmark(host.CredentialRef(name))
		return nil
	case record == nil:
		return errNothing // the request that should have made it never arrived
	case stamp != mine && len(r.made) <= 1 && !r.first:
		return errNothing
	case stamp != mine:
		return fmt.Errorf("host: %s: %w", host.MemberRef(name), host.ErrAnotherAttempt)
	case r.created:
		r.first = true // the answer was lost, the member exists
	case !r.first:
		return errNotFirst
	}
	undoing := p.facts.Attempt
	undoing.undoing, undoing.at = true, time.Now()
	r.sealed = undoing.String()
	return retry(ctx, func() error {
		m, err := p.host.ExchangeAttempt(ctx, name, mine, r.sealed)
		if errors.Is(err, host.ErrAnotherAttempt) {
			// The answer to an earlier try may have been lost.
			if now, readErr := p.host.FindMember(ctx, name); readErr == nil && now != nil && now.Annotations[v1alpha1.AnnotationAttempt] == r.sealed {
				m, err = now, nil
			}
		}
		if err == nil {
			r.record = m
		}
		return err
	})
}

// madeOnMember says whether this run made anything on the member.
func (r *joinRun) madeOnMember() bool {
	return slices.ContainsFunc(r.steps, func(s Step) bool { return s.Side == SideMember && r.has(s.Object) })
}

// disown leaves everything on the member alone that stands with another run's membership record.
func (r *joinRun) disown(ctx context.Context, mine string) error {
	var k *member.Membership
	if err := retry(ctx, func() (err error) { k, err = r.plan.member.Membership(ctx); return err }); err != nil {
		return err
	}
	if k == nil || k.Attempt == mine {
		return nil
	}
	for _, s := range r.steps {
		if s.Side == SideMember && !s.holds {
			r.unmark(s.Object)
		}
	}
	return nil
}

// undoMembership deletes the membership record if it is this run's.
func (r *joinRun) undoMembership(ctx context.Context) error {
	k, err := r.plan.member.Membership(ctx)
	if err != nil || k == nil || k.Attempt != r.plan.facts.Attempt.String() {
		return err
	}
	return r.plan.member.Delete(ctx, member.MembershipRef(), cluster.Preconditions{UID: k.UID}, cluster.DryRunNone)
}

// undoNamespace deletes the namespace if nothing else is in it.
func (r *joinRun) undoNamespace(ctx context.Context) error {
	_, err := r.plan.member.RemoveNamespace(ctx)
	return err
}

// undoCredential deletes the credential where the caller may. Otherwise it is worth nothing, since its account is gone, and
// goes with its member.
func (r *joinRun) undoCredential(ctx context.Context) error {
	_ = r.plan.host.DeleteCredential(ctx, r.plan.Options.Name)
	return nil
}

// undoRecord deletes the MemberCluster if this run made it, and else removes the attempt from it.
func (r *joinRun) undoRecord(ctx context.Context) error {
	h, name := r.plan.host, r.plan.Options.Name
	if !r.created {
		_, err := h.DropAttempt(ctx, name, r.sealed)
		return err
	}
	now, err := h.FindMember(ctx, name)
	if err != nil || now == nil || now.UID != r.record.UID || now.DeletionTimestamp != nil {
		return err
	}
	if now.Annotations[v1alpha1.AnnotationAttempt] != r.sealed {
		return fmt.Errorf("host: %s: %w", host.MemberRef(name), host.ErrAnotherAttempt)
	}
	return h.DeleteMember(ctx, name, cluster.Preconditions{UID: now.UID, ResourceVersion: now.ResourceVersion}, cluster.DryRunNone)
}
