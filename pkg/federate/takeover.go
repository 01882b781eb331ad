package federate

import (
	"context"
	"fmt"
	"maps"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// A take-over is a join of a cluster whose membership record names another host, one that is gone. The membership record is changed first, on
// the condition that it is as it was read: of two take-overs one wins, and the other has changed nothing on the cluster.
// From then on the other host's joins and unjoins are refused. The membership record also says from whom the cluster was taken,
// until everything is removed that the other host had there: so a take-over that ended halfway goes on with that when
// it is run again, and never takes what it finds for its own.

// takingOver are the options of the same join that takes the cluster over.
func (o JoinOptions) takingOver() JoinOptions {
	o.TakeOver = true
	return o
}

// takenFrom is the host from which a join takes the cluster over; empty when it does not.
func takenFrom(f joinFacts, o JoinOptions) v1alpha1.ClusterID {
	k := f.Member.Membership
	switch {
	case k == nil:
		return ""
	case k.HostID == f.Host.ID:
		return k.TakenFrom // one that ended halfway goes on, whoever runs it again
	case o.TakeOver:
		return k.HostID
	}
	return ""
}

// ours says whether a membership made an object of the member, and not somebody else.
func ours(ref cluster.Ref, live *unstructured.Unstructured) bool {
	if ref.Resource == cluster.ClusterProperties {
		_, labelled := live.GetLabels()[v1alpha1.LabelFederation]
		return labelled
	}
	return managed(live)
}

// judgeEviction says what the caller may not remove of the other host's. For other joins these rights are only a
// matter of rolling back.
func (p *JoinPlan) judgeEviction() []Finding {
	if p.takenFrom == "" {
		return nil
	}
	var against []Finding
	for _, m := range p.facts.UndoMissing {
		live := p.facts.Member.Objects[cluster.Ref{Resource: m.right.Resource, Namespace: m.right.Namespace, Name: m.right.Name}]
		if m.side == SideMember && m.right.Verb == "delete" && live != nil {
			against = append(against, Finding{Side: SideMember, Cause: "you have no right to " + m.right.String(), Remedy: "a take-over removes what the other host put there"})
		}
	}
	return against
}

// planEviction plans to remove what the other host put on the member. What follows is planned as if it were gone.
func (p *JoinPlan) planEviction() {
	if p.takenFrom == "" {
		return
	}
	p.Notes = append(p.Notes, Finding{Side: SideMember,
		Cause: fmt.Sprintf("is taken over from the host with cluster ID %s; what that host could do here ends", p.takenFrom)})
	left := maps.Clone(p.facts.Member.Objects)
	for _, ref := range p.facts.Member.Found() {
		if live := left[ref]; ours(ref, live) {
			p.step(Step{Side: SideMember, Verb: VerbDelete, Object: ref, Note: "the other host's", stage: stageEvict, live: live})
			delete(left, ref)
		}
	}
	p.facts.Member.Objects = left
}

// evicts says whether an object of the other host is to be removed.
func (p *JoinPlan) evicts(ref cluster.Ref) bool {
	return slices.ContainsFunc(p.Steps, func(s Step) bool { return s.stage == stageEvict && s.Object == ref })
}

// evict removes one object of the other host.
func (r *joinRun) evict(ctx context.Context, s Step) error {
	err := r.plan.member.Remove(ctx, s.Object, cluster.Preconditions{UID: s.live.GetUID()})
	if apierrors.IsConflict(err) {
		err = nil // what was planned to go is gone; what has come since is of a join that shares this membership record
	}
	if err == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.evicted[s.Object] = true
	}
	return err
}

// settle takes the word off the membership record that another host's things are being removed.
func (r *joinRun) settle(ctx context.Context) error {
	want := r.plan.membership()
	want.MemberUID, want.TakenFrom = r.record.UID, ""
	for {
		k, err := r.plan.member.ReplaceMembership(ctx, r.membership, want)
		if err == nil {
			r.membership = k
			return nil
		}
		if !apierrors.IsConflict(err) {
			return err
		}
		if k, readErr := r.plan.member.Membership(ctx); readErr != nil || k == nil || !sameMembership(k, want) {
			return err
		} else if r.membership = k; k.TakenFrom == "" {
			return nil
		}
	}
}

func sameMembership(k *member.Membership, want member.Membership) bool {
	return k.HostID == want.HostID && k.Member == want.Member && k.Federation == want.Federation
}

// halfway is how a take-over stands that failed after it had taken the membership record, or perhaps had. There is no way back: the
// other host's grants are gone or going. What was made stays for the run that goes on.
func (r *joinRun) halfway(cause error) error {
	p := &Partial{Operation: r.plan.Options.operation(), Next: r.plan.Options.takingOver().command(), Err: cause}
	if r.took == tookPerhaps {
		p.Left = []string{"member: " + member.MembershipRef().String() + " may name this host by now"}
		return p
	}
	p.Done = []string{fmt.Sprintf("member: %s was taken over from the host with cluster ID %s", member.MembershipRef(), r.plan.takenFrom)}
	for _, s := range r.plan.Steps {
		if s.stage == stageEvict && !r.evicted[s.Object] {
			p.Left = append(p.Left, "member: "+s.Object.String()+" of that host")
		}
	}
	return p
}

// took says whether a run has taken a membership record over.
type took int

const (
	tookNot took = iota
	// tookPerhaps is when the answer was lost.
	tookPerhaps
	tookIt
)

// replaceMembership writes want over the membership record that stands. When that has changed meanwhile, it is judged again: again says
// that there is another membership record now to be taken, or none.
func (r *joinRun) replaceMembership(ctx context.Context, want member.Membership) (again bool, err error) {
	p := r.plan
	over := r.membership.HostID != want.HostID
	k, err := p.member.ReplaceMembership(ctx, r.membership, want)
	if err != nil && !isRefused(err) {
		now, readErr := p.member.Membership(ctx)
		switch {
		case readErr != nil:
			if over && !apierrors.IsConflict(err) {
				r.took = tookPerhaps
			}
			return false, err
		case now != nil && sameMembership(now, want) && now.MemberUID == want.MemberUID && now.Attempt == want.Attempt:
			k, err = now, nil // only the answer was lost
		case apierrors.IsConflict(err) && now != nil && now.HostID == r.membership.HostID && now.Member == r.membership.Member && now.Federation == r.membership.Federation:
			r.membership = now
			return true, nil
		case apierrors.IsConflict(err):
			return false, r.share(ctx, now, want)
		}
	}
	if err != nil {
		return false, err
	}
	if over {
		r.took = tookIt
	}
	r.membership = k
	return false, nil
}
