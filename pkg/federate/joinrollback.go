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
func (p *JoinPlan) failed(ctx context.Context, cause error) error {
	o := p.Options
	cause = overtaken(p.Steps, cause)
	if gone, ok := errors.AsType[*vanished](cause); ok {
		gone.remedy = o.commands.To("join again", o.command())
	}
	if p.takeOver != takeOverNone {
		return p.halfway(cause)
	}
	if len(p.made) == 0 && p.sent == nil {
		return p.refused(cause, false)
	}
	fresh, cancel := afterwards(ctx)
	defer cancel()
	left, err := p.undo(fresh)
	partial := p.partial(cause)
	partial.Left = left
	switch {
	case err == nil && p.kept:
		partial.Left = []string{fmt.Sprintf("host: %s, since you are not allowed to %s", host.MemberRef(o.Name), p.facts.UndoMissing[0].right)}
	case err == nil:
		return p.refused(cause, true)
	case errors.Is(err, errNothing):
		return p.refused(cause, false)
	case errors.Is(err, errNotFirst):
		partial.Done = []string{fmt.Sprintf("host: %s existed before this run, so nothing was rolled back", host.MemberRef(o.Name))}
	case errors.Is(err, host.ErrAnotherAttempt):
		partial.Done = []string{fmt.Sprintf("host: %s was not rolled back: another join has taken it over, or this one had just ended", host.MemberRef(o.Name))}
	default:
		partial.Err = rollbackFailed(cause, err)
	}
	return partial
}

var (
	// errNothing means that there was nothing to roll back.
	errNothing = errors.New("nothing was made")
	// errNotFirst means that the membership is older than this run: others rely on what this run repaired.
	errNotFirst = errors.New("the membership was not begun by this run")
)

// undo rolls back what this run made, the last first. It returns what could not be rolled back.
func (p *JoinPlan) undo(ctx context.Context) (left []string, err error) {
	mine := p.facts.Attempt.String()
	if err = p.claim(ctx, mine); err == nil {
		err = p.disown(ctx, mine)
	} else if errors.Is(err, errNothing) || errors.Is(err, errNotFirst) || p.sealed == "" && errors.Is(err, host.ErrAnotherAttempt) {
		return nil, err
	}
	if err != nil {
		left = p.remains()
	} else if left, err = p.rollBack(ctx); err == nil {
		return nil, nil
	}
	if p.sealed != "" {
		// A run that continues need not wait for this one.
		_, _ = p.host.ExchangeAttempt(ctx, p.Options.Name, p.sealed, mine)
	}
	return left, err
}

// claim writes onto the MemberCluster that this run rolls back, which fails when another run has taken the member over; from
// then on others wait. A MemberCluster that was deleted needs no claim: what it had on its cluster grants nothing without the
// host, and is removed.
func (p *JoinPlan) claim(ctx context.Context, mine string) error {
	name := p.Options.Name
	var record *v1alpha1.MemberCluster
	if err := retry(ctx, func() (err error) { record, err = p.host.FindMember(ctx, name); return err }); err != nil {
		return err
	}
	stamp := ""
	if record != nil {
		stamp = record.Annotations[v1alpha1.AnnotationAttempt]
	}
	switch {
	case record == nil && (p.first || p.madeOnMember()):
		p.unmark(host.MemberRef(name))
		p.unmark(host.CredentialRef(name))
		return nil
	case record == nil:
		return errNothing // the request that should have made it never arrived
	case stamp != mine && len(p.made) <= 1 && !p.first:
		return errNothing
	case stamp != mine:
		return fmt.Errorf("host: %s: %w", host.MemberRef(name), host.ErrAnotherAttempt)
	case p.created:
		p.first = true // the answer was lost, the member exists
	case !p.first:
		return errNotFirst
	}
	undoing := p.facts.Attempt
	undoing.undoing, undoing.at = true, time.Now()
	p.sealed = undoing.String()
	return retry(ctx, func() error {
		m, err := p.host.ExchangeAttempt(ctx, name, mine, p.sealed)
		if errors.Is(err, host.ErrAnotherAttempt) {
			// The answer to an earlier try may have been lost.
			if now, readErr := p.host.FindMember(ctx, name); readErr == nil && now != nil && now.Annotations[v1alpha1.AnnotationAttempt] == p.sealed {
				m, err = now, nil
			}
		}
		if err == nil {
			p.record = m
		}
		return err
	})
}

// madeOnMember says whether this run made anything on the member.
func (p *JoinPlan) madeOnMember() bool {
	return slices.ContainsFunc(p.Steps, func(s Step) bool { return s.Side == cluster.Member && p.has(s.Object) })
}

// disown leaves everything on the member alone that stands with another run's membership record.
func (p *JoinPlan) disown(ctx context.Context, mine string) error {
	var k *member.Membership
	if err := retry(ctx, func() (err error) { k, err = p.member.Membership(ctx); return err }); err != nil {
		return err
	}
	if k == nil || k.Attempt == mine {
		return nil
	}
	for _, s := range p.Steps {
		if s.Side == cluster.Member && !s.undoLast {
			p.unmark(s.Object)
		}
	}
	return nil
}

// undoMembership deletes the membership record if it is this run's.
func (p *JoinPlan) undoMembership(ctx context.Context) error {
	k, err := p.member.Membership(ctx)
	if err != nil || k == nil || k.Attempt != p.facts.Attempt.String() {
		return err
	}
	return p.member.Delete(ctx, member.MembershipRef(), cluster.Preconditions{UID: k.UID}, cluster.DryRunNone)
}

// undoNamespace deletes the namespace if nothing else is in it.
func (p *JoinPlan) undoNamespace(ctx context.Context) error {
	_, err := p.member.RemoveNamespace(ctx)
	return err
}

// undoCredential deletes the credential where the caller may. Otherwise it is worth nothing, since its account is gone, and
// goes with its member.
func (p *JoinPlan) undoCredential(ctx context.Context) error {
	_ = p.host.DeleteCredential(ctx, p.Options.Name)
	return nil
}

// undoRecord deletes the MemberCluster if this run made it, and else removes the attempt from it. So it does where the caller may
// not delete it: the next run of the same join goes on from what is then a MemberCluster that never joined.
func (p *JoinPlan) undoRecord(ctx context.Context) error {
	h, name := p.host, p.Options.Name
	if !p.created || len(p.facts.UndoMissing) > 0 {
		_, err := h.DropAttempt(ctx, name, p.sealed)
		p.kept = p.created && err == nil
		return err
	}
	now, err := h.FindMember(ctx, name)
	if err != nil || now == nil || now.UID != p.record.UID || now.DeletionTimestamp != nil {
		return err
	}
	if now.Annotations[v1alpha1.AnnotationAttempt] != p.sealed {
		return fmt.Errorf("host: %s: %w", host.MemberRef(name), host.ErrAnotherAttempt)
	}
	return h.DeleteMember(ctx, name, cluster.Preconditions{UID: now.UID, ResourceVersion: now.ResourceVersion}, cluster.DryRunNone)
}
