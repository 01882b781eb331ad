package federate

import (
	"cmp"
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

// failed ends a run that failed with cause: it rolls back what the run made, where that is the run's to do,
// and says how things stand.
func (r *joinRun) failed(ctx context.Context, cause error) error {
	o := r.plan.Options
	cause = overtaken(r.plan.Steps, stopped(ctx, cause))
	if r.took != tookNot {
		return r.halfway(cause)
	}
	if len(r.made) == 0 && !r.begun && !r.plan.stamped {
		return r.refused(cause, false)
	}
	// Ctrl-C ends ctx; what was begun must not stay for that.
	fresh, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	left, err := r.undo(fresh)
	switch {
	case err == nil:
		return r.refused(cause, true)
	case errors.Is(err, errNothing):
		return r.refused(cause, false)
	}
	p := &Partial{Operation: o.operation(), Left: left, Next: o.command(), Err: cause}
	switch {
	case errors.Is(err, errNotBegun):
		p.Done = []string{fmt.Sprintf("host: %s was there before this run, so nothing was rolled back", host.MemberRef(o.Name))}
	case errors.Is(err, host.ErrNotOurs):
		p.Done = []string{fmt.Sprintf("host: %s is not this run's to roll back any more: another join has it, or this one had just ended", host.MemberRef(o.Name))}
	default:
		p.Err = fmt.Errorf("%w\n* rolling it back failed as well: %w", cause, err)
	}
	return p
}

// refused is cause as a refusal where it is a server's considered no, and as it is otherwise.
func (r *joinRun) refused(cause error, undone bool) error {
	o := r.plan.Options
	var refusal *Refusal
	var gone *vanished
	switch {
	case errors.As(cause, &gone):
		gone.remedy = "run join again"
		if undone {
			return &Undone{Operation: o.operation(), Err: gone}
		}
		return gone
	case errors.As(cause, &refusal):
		return &Refusal{Operation: o.operation(), Findings: refusal.Findings, Undone: undone, Err: refusal.Err}
	case isRefused(cause):
		return &Refusal{Operation: o.operation(), Findings: findingsOf(cause), Undone: undone, Err: cause}
	case undone:
		return &Undone{Operation: o.operation(), Err: cause}
	}
	return cause
}

var (
	// errNothing means that there was nothing to roll back.
	errNothing = errors.New("nothing was made")
	// errNotBegun means that the membership is older than this run: what it repaired is good for the others
	// who use it.
	errNotBegun = errors.New("the membership was not begun by this run")
)

// undo rolls back what this run made, last things first. It begins by writing onto the MemberCluster that it
// does, which fails when another run has taken the member over; from then on others wait. It returns what
// could not be rolled back.
func (r *joinRun) undo(ctx context.Context) (left []string, err error) {
	p := r.plan
	mine := p.facts.Attempt
	recordRef := host.MemberRef(p.Options.Name)

	var record *v1alpha1.MemberCluster
	err = persist(ctx, func() (err error) { record, err = p.host.FindMember(ctx, p.Options.Name); return err })
	if err != nil {
		return r.everything(), err
	}
	stamp := ""
	if record != nil {
		stamp = record.Annotations[v1alpha1.AnnotationAttempt]
	}
	switch {
	case record == nil && (r.begun || r.madeOnMember()):
		// Somebody deleted the member; what it had on its cluster is inert without the host, and goes now.
	case record == nil:
		return nil, errNothing // the request that should have made it never arrived
	case stamp != mine.String() && len(r.made) <= 1 && !r.begun:
		return nil, errNothing
	case stamp != mine.String():
		return nil, fmt.Errorf("host: %s: %w", recordRef, host.ErrNotOurs)
	case r.made[recordRef]:
		r.begun = true // the answer was lost, the member is there
	case !r.begun:
		return nil, errNotBegun
	}

	sealed := mine
	sealed.undoing, sealed.at = true, time.Now()
	if record != nil {
		err = persist(ctx, func() (err error) {
			record, err = p.host.ExchangeAttempt(ctx, p.Options.Name, mine.String(), sealed.String())
			if errors.Is(err, host.ErrNotOurs) {
				// The answer to an earlier try may have been lost.
				if now, readErr := p.host.FindMember(ctx, p.Options.Name); readErr == nil && now != nil && now.Annotations[v1alpha1.AnnotationAttempt] == sealed.String() {
					record = now
					return nil
				}
			}
			return err
		})
		if err != nil {
			return r.everything(), err
		}
	}
	if left, err = r.undoMember(ctx); err != nil {
		// Whoever goes on need not wait.
		_, _ = p.host.ExchangeAttempt(ctx, p.Options.Name, sealed.String(), mine.String())
		if r.made[recordRef] {
			left = append(left, "host: "+recordRef.String())
		}
		return left, err
	}
	if record == nil {
		return nil, nil
	}
	if err = r.undoRecord(ctx, record, sealed); err != nil {
		_, _ = p.host.ExchangeAttempt(ctx, p.Options.Name, sealed.String(), mine.String())
		return []string{"host: " + recordRef.String()}, err
	}
	r.progress(Step{Side: SideHost, Verb: VerbUndo, Object: recordRef})
	return nil, nil
}

// madeOnMember says whether this run made anything on the member.
func (r *joinRun) madeOnMember() bool {
	return slices.ContainsFunc(r.plan.Steps, func(s Step) bool { return s.Side == SideMember && r.made[s.Object] })
}

// undoMember removes what this run made on the member: everything but the membership record at once, then the membership record,
// then the namespace.
func (r *joinRun) undoMember(ctx context.Context) (left []string, err error) {
	p := r.plan
	var k *member.Membership
	if err := persist(ctx, func() (err error) { k, err = p.member.Membership(ctx); return err }); err != nil {
		return r.leftOnMember(nil), err
	}
	var refs []cluster.Ref
	for _, s := range p.Steps {
		if k != nil && k.Attempt != p.facts.Attempt.String() {
			break // the membership record is another's, and so is what stands with it
		}
		if s.Side == SideMember && r.made[s.Object] && s.Object != member.MembershipRef() && s.Object != member.NamespaceRef() {
			refs = append(refs, s.Object)
		}
	}
	errs := cluster.ForEach(len(refs), func(i int) error {
		return persist(ctx, func() error { return p.member.Remove(ctx, refs[i], cluster.Preconditions{}) })
	})
	for i, e := range errs {
		if e != nil {
			left = append(left, "member: "+refs[i].String())
		} else {
			r.progress(Step{Side: SideMember, Verb: VerbUndo, Object: refs[i]})
		}
	}
	if err := cmp.Or(errs...); err != nil {
		return r.leftOnMember(left), err
	}
	if r.made[member.MembershipRef()] {
		err := persist(ctx, func() error {
			k, err := p.member.Membership(ctx)
			if err != nil || k == nil || k.Attempt != p.facts.Attempt.String() {
				return err // not there, or somebody else's
			}
			return p.member.Delete(ctx, member.MembershipRef(), cluster.Preconditions{UID: k.UID}, cluster.DryRunNone)
		})
		if err != nil {
			return r.leftOnMember(nil), err
		}
		r.progress(Step{Side: SideMember, Verb: VerbUndo, Object: member.MembershipRef()})
	}
	if r.made[member.NamespaceRef()] {
		var outcome member.NamespaceOutcome
		err := persist(ctx, func() (err error) { outcome, err = p.member.RemoveNamespace(ctx); return err })
		if err != nil {
			return []string{"member: " + member.NamespaceRef().String()}, err
		}
		if outcome.Deleted {
			r.progress(Step{Side: SideMember, Verb: VerbUndo, Object: member.NamespaceRef()})
		}
	}
	return nil, nil
}

// leftOnMember adds the membership record and the namespace to what could not be rolled back.
func (r *joinRun) leftOnMember(left []string) []string {
	for _, ref := range []cluster.Ref{member.MembershipRef(), member.NamespaceRef()} {
		if r.made[ref] {
			left = append(left, "member: "+ref.String())
		}
	}
	return left
}

// everything is all that this run made or may have made.
func (r *joinRun) everything() []string {
	var left []string
	for _, s := range r.plan.Steps {
		if r.made[s.Object] && s.Verb != VerbRequest && s.stage < stageProof {
			left = append(left, string(s.Side)+": "+s.Object.String())
		}
	}
	return left
}

// undoRecord deletes the MemberCluster if this run made it, and else removes the attempt from it.
func (r *joinRun) undoRecord(ctx context.Context, record *v1alpha1.MemberCluster, sealed attempt) error {
	p := r.plan
	if r.made[host.CredentialRef(p.Options.Name)] {
		// Few may delete it. It is worth nothing, since its account is gone, and it goes with its member.
		_ = p.host.DeleteCredential(ctx, p.Options.Name)
	}
	if !r.made[host.MemberRef(p.Options.Name)] {
		return persist(ctx, func() error {
			_, err := p.host.DropAttempt(ctx, p.Options.Name, sealed.String())
			return err
		})
	}
	return persist(ctx, func() error {
		now, err := p.host.FindMember(ctx, p.Options.Name)
		if err != nil || now == nil || now.UID != record.UID || now.DeletionTimestamp != nil {
			return err
		}
		if now.Annotations[v1alpha1.AnnotationAttempt] != sealed.String() {
			return fmt.Errorf("host: %s: %w", host.MemberRef(p.Options.Name), host.ErrNotOurs)
		}
		return p.host.DeleteMember(ctx, p.Options.Name, cluster.Preconditions{UID: now.UID, ResourceVersion: now.ResourceVersion}, cluster.DryRunNone)
	})
}

// persist tries f a few times: what undoes must not give up at the first lost connection. A considered no is
// final.
func persist(ctx context.Context, f func() error) error {
	wait := 50 * time.Millisecond
	for try := 1; ; try++ {
		err := f()
		if err == nil || try == 4 || ctx.Err() != nil || isRefused(err) || errors.Is(err, host.ErrNotOurs) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
			wait *= 2
		}
	}
}
