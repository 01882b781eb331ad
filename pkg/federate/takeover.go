package federate

import (
	"cmp"
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

// A take-over is a join of a cluster whose membership record names another host, which is gone. First the record is changed,
// on the condition that it is as it was read: of two take-overs one wins, and the other has changed nothing on the cluster.
// From then on joins and unjoins of the other host are refused. The record also names the host from which the cluster was
// taken until everything is removed that this host had there: a take-over that ended halfway continues with that when it is
// run again, and does not rely on what it finds.

// takingOver are the options of the same join that takes the cluster over.
func (o JoinOptions) takingOver() JoinOptions {
	o.TakeOver, o.moves, o.Federation = true, false, cmp.Or(o.from, o.Federation)
	return o
}

// takenFrom is the host from which a join takes the cluster over; empty when it does not.
func takenFrom(f joinFacts, o JoinOptions) v1alpha1.ClusterID {
	k := f.Member.Membership
	switch {
	case k == nil && f.Leaving != nil, k != nil && k.Federation != o.Federation && f.stale(o):
		return f.Host.ID // what this host gave to another federation is made anew
	case k == nil:
		return ""
	case k.HostID == f.Host.ID:
		return k.TakenFrom // a take-over that ended halfway continues
	case o.TakeOver:
		return k.HostID
	}
	return ""
}

// planEviction plans to remove what the other host put on the member. What follows is planned as if it were gone.
func (p *JoinPlan) planEviction() {
	if p.takenFrom == "" {
		return
	}
	if p.takenFrom != p.facts.Host.ID {
		p.notes = append(p.notes, Finding{Side: cluster.Member,
			Cause: fmt.Sprintf("is taken over from the host with cluster ID %s; what that host could do here ends", p.takenFrom)})
	}
	left := maps.Clone(p.facts.Member.Objects)
	for _, ref := range p.facts.Member.Found() {
		if live := left[ref]; member.ByJoin(live) && !slices.Contains(member.PolicyRefs(), ref) { // a policy gives nothing
			at := phaseEvict
			if member.IsServicesBinding(ref) {
				at = phaseEvictServices
			}
			p.step(Step{Side: cluster.Member, Verb: VerbDelete, Object: ref, Note: p.evicted() + "'s", phase: at, live: live,
				do: func(ctx context.Context) error { return p.evict(ctx, ref, live) }})
			delete(left, ref)
		}
	}
	p.facts.Member.Objects = left
}

// evicted is whose objects are removed.
func (p *JoinPlan) evicted() string {
	if p.takenFrom == p.facts.Host.ID {
		return "the former federation"
	}
	return "the other host"
}

// evict removes one object of the other host.
func (p *JoinPlan) evict(ctx context.Context, ref cluster.Ref, live *unstructured.Unstructured) error {
	err := p.member.Remove(ctx, ref, cluster.Preconditions{UID: live.GetUID()})
	if apierrors.IsConflict(err) {
		return nil // what was planned to go is gone; what has come since belongs to a join that shares this membership record
	}
	return err
}

// endTakeOver removes from the membership record that another host's objects are being removed.
func (p *JoinPlan) endTakeOver(ctx context.Context) error {
	want := p.wanted()
	want.MemberUID, want.TakenFrom = p.record.UID, ""
	return poll(ctx, pollInterval, waitTimeout, func() (bool, error) {
		done, err := p.replaceMembership(ctx, want)
		if err == nil && p.membership == nil {
			err = &vanished{side: cluster.Member, ref: member.MembershipRef()}
		}
		return done, err
	})
}

// halfway is how a take-over stands that failed after it had taken the membership record, or perhaps had. There is no way
// back: the other host's grants are gone or going. What was made stays for the run that continues.
func (p *JoinPlan) halfway(cause error) error {
	partial := p.partial(cause)
	partial.Next = p.Options.takingOver().again()
	if p.takeOver == takeOverUnknown {
		partial.Left = []string{"member: " + member.MembershipRef().String() + " may name this host by now"}
		return partial
	}
	partial.Done = []string{fmt.Sprintf("member: %s was taken over from the host with cluster ID %s", member.MembershipRef(), p.takenFrom)}
	for i, s := range p.Steps {
		if (s.phase == phaseEvict || s.phase == phaseEvictServices) && !p.done[i] {
			partial.Left = append(partial.Left, s.place()+" of that host")
		}
	}
	return partial
}

// takeOver says whether a run has taken the membership record of another host over.
type takeOver int

const (
	takeOverNone takeOver = iota
	// takeOverUnknown is when the answer was lost.
	takeOverUnknown
	takeOverDone
)
