package federate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// A move is a join to another federation of the same host whose first step deletes the MemberCluster in the former one. The
// membership record stays and is changed, on the condition that it is as it was read, so that no other host can join the cluster
// in between; what was made for the former federation is then removed and made anew, as in a take-over, so that no token of it
// remains valid. A move that fails is rolled back by the same steps in the other direction.

// moving is what makes a join a move, or the way back of one.
type moving struct {
	// moves says that the MemberCluster is deleted first where it is in another federation.
	moves bool
	// from is the federation that the cluster leaves, once that is known.
	from v1alpha1.FederationName
	// returns is what the MemberCluster of a move that is rolled back was; nil in the move itself.
	returns *v1alpha1.MemberCluster
	// keptLifetime is how long the credential was asked to live before; 0 where that is not known.
	keptLifetime time.Duration
}

// MovePlan is what a move will do.
type MovePlan struct {
	*JoinPlan
	// stays is the member that is in the federation already; nil where there is something to do.
	stays *v1alpha1.MemberCluster
	// back is what the MemberCluster will be if the move is rolled back; nil where it goes on with one that was interrupted.
	back *v1alpha1.MemberCluster
	// returned says that the run has begun to undo the join.
	returned bool
}

// PlanMove reads both sides at once and judges what it read, for the federation that the member leaves and for the one that it joins,
// which is o.Federation. It writes nothing. The error is a *Refusal with everything that stands against the move, or says what could
// not be read.
func PlanMove(ctx context.Context, h *host.Cluster, m *member.Cluster, o JoinOptions) (*MovePlan, error) {
	o.commands, o.moves = h.Commands, true
	if err := refuse(o, append(judgeName(cluster.MemberClusters, string(o.Name)), judgeName(cluster.Federations, string(o.Federation))...)); err != nil {
		return nil, err
	}
	facts, err := readJoin(ctx, h, m, o)
	if err != nil {
		return nil, err
	}
	leaving, record := facts.Leaving, facts.Host.Member
	switch {
	case facts.Unproven != nil, record == nil && len(facts.HostMissing) > 0:
	case leaving == nil && record == nil:
		return nil, cmp.Or(facts.Host.Denied.First(), refuse(o, []Finding{facts.notFound(o)}))
	case leaving == nil && facts.joined():
		return &MovePlan{JoinPlan: unchanged(*facts, o), stays: record}, nil
	case leaving != nil:
		o.from = leaving.Federation()
	}
	if facts.Unproven == nil { // a rollback asks for it, whatever the move does
		o.keptLifetime = member.LifetimeOf(facts.Member.Objects[member.PolicyRefs()[1]])
	}
	join, err := judgeJoin(ctx, h, m, facts, o)
	if err != nil {
		return nil, err
	}
	p := &MovePlan{JoinPlan: join}
	if o.TokenLifetime == 0 && o.keptLifetime == 0 {
		p.note(Finding{Side: cluster.Member, Object: "token", Cause: fmt.Sprintf("it is not known how long the credential was asked to live, so %s are asked for", short(o.lifetime())),
			Remedy: "ask for another time with --token-lifetime"})
	}
	if leaving != nil {
		err = p.judgeReturn(ctx)
	}
	return p, err
}

// notFound is the finding that the host has no such member.
func (f *joinFacts) notFound(o JoinOptions) Finding {
	remedy := o.commands.To("list the members", command.Get{})
	if k := f.Member.Membership; f.stale(o) {
		o.Federation, o.moves = k.Federation, false
		remedy = o.commands.To("an unjoin or a move of it was interrupted; join it again", o.command())
	}
	return about(cluster.Host, host.MemberRef(o.Name), "not found", remedy)
}

// joined says that the member's join has ended, and that its membership record is that of the join.
func (f *joinFacts) joined() bool {
	m, k := f.Host.Member, f.Member.Membership
	return m.Annotations[v1alpha1.AnnotationAttempt] == "" && m.Annotations[v1alpha1.AnnotationJoinedBy] != "" &&
		k != nil && k.HostID == f.Host.ID && k.Federation == m.Federation() && k.MemberUID == m.UID && k.TakenFrom == ""
}

// unchanged is the plan of a move to the federation that the member is in.
func unchanged(f joinFacts, o JoinOptions) *JoinPlan {
	p := &JoinPlan{Options: o, plan: plan{of: o}, facts: f}
	p.step(Step{Side: cluster.Host, Verb: VerbUnchanged, Object: host.MemberRef(o.Name), Note: inAlready(o.Federation)})
	return p
}

func inAlready(federation v1alpha1.FederationName) string {
	return fmt.Sprintf("is in federation %q already", federation)
}

// leave makes the facts of a move: what the host is without the member that leaves.
func (f *joinFacts) leave(ctx context.Context, h *host.Cluster, o JoinOptions) error {
	f.Leaving, f.Host.Member = f.Host.Member, nil
	if o.returns != nil {
		return nil // what a rollback may not do fails when it is done
	}
	former := host.Target{Member: o.Name, Federation: f.Leaving.Federation()}
	lacks, err := h.Lacking(ctx, append(former.LeaveRights(), former.JoinRights()...))
	for _, m := range missingOf(cluster.Host, lacks, former.LeaveRights()) {
		if !slices.Contains(f.HostMissing, m) {
			f.HostMissing = append(f.HostMissing, m)
		}
	}
	for _, m := range missingOf(cluster.Host, lacks, former.JoinRights()) {
		if !slices.Contains(f.UndoMissing, m) {
			f.UndoMissing = append(f.UndoMissing, m)
		}
	}
	return err
}

// as is what the MemberCluster is made as, instead of anew: as the one that leaves, but that a person moves it, and that the other
// federation has not accepted it; or as the one that comes back. It is nil in any other join.
func (f *joinFacts) as(o JoinOptions) *v1alpha1.MemberCluster {
	switch {
	case o.returns != nil:
		return o.returns.DeepCopy()
	case f.Leaving == nil:
		return nil
	}
	m := f.Leaving.DeepCopy()
	m.Spec.Accepted, m.Spec.Discovered, m.Spec.JoinedWith = false, nil, nil
	return m
}

// planLeave plans the end of the MemberCluster in the former federation.
func (p *JoinPlan) planLeave() []Finding {
	leaving, o := p.facts.Leaving, p.Options
	if leaving == nil {
		return nil
	}
	ref, from := host.MemberRef(o.Name), leaving.Federation()
	p.step(Step{Side: cluster.Host, Verb: VerbDelete, Object: ref, Note: fmt.Sprintf("leaves federation %q", from), phase: phaseLeave,
		do: func(ctx context.Context) error { return p.leave(ctx, leaving) }})
	if d := leaving.Spec.Discovered; d != nil && o.returns == nil {
		p.note(about(cluster.Host, ref, "was joined by discovery, which neither changes it nor lets it leave after the move: spec.discovered goes", ""))
	}
	p.noteLabel()
	switch {
	case leaving.Spec.ClusterID != string(p.facts.Member.ID) && p.facts.Member.ID != "":
		return []Finding{otherCluster(leaving, p.facts.Member.ID)}
	case len(leaving.Finalizers) > 0:
		return []Finding{about(cluster.Host, ref, "has finalizers, so that its deletion would not end at once: "+strings.Join(leaving.Finalizers, ", "), "remove them first")}
	}
	return nil
}

// leave deletes the MemberCluster of the former federation as it was read: a label or a suspension that it got since then would be
// lost. Its status may have changed.
func (p *JoinPlan) leave(ctx context.Context, leaving *v1alpha1.MemberCluster) error {
	o, ref := p.Options, host.MemberRef(p.Options.Name)
	if o.returns != nil {
		return p.forget(ctx, leaving)
	}
	var conflict error
	err := poll(ctx, planInterval, lingerTimeout, func() (bool, error) {
		now, err := p.host.FindMember(ctx, o.Name)
		switch {
		case err != nil:
			return false, err
		case now == nil, now.UID != leaving.UID, now.DeletionTimestamp != nil:
			return true, p.forget(ctx, leaving)
		case now.Generation != leaving.Generation || !maps.Equal(now.Labels, leaving.Labels) || !slices.Equal(now.Finalizers, leaving.Finalizers):
			return false, &Refusal{Findings: []Finding{about(cluster.Host, ref, "was changed while the move was planned", o.repeat())}}
		}
		err = p.host.Remove(ctx, ref, cluster.Preconditions{UID: now.UID, ResourceVersion: now.ResourceVersion})
		if apierrors.IsConflict(err) {
			conflict = err
			return false, nil
		}
		return true, err
	})
	if errors.Is(err, errPatience) {
		return conflict
	}
	return err
}

// noteLabel says that the cluster's own label asks for another federation than the one that it moves to.
func (p *JoinPlan) noteLabel() {
	o, request := p.Options, p.facts.Member.JoinRequest
	if request.Federation == "" || request.Federation == o.Federation || o.returns != nil {
		return
	}
	p.note(about(cluster.Member, cluster.Ref{Resource: cluster.Namespaces, Name: request.Namespace},
		fmt.Sprintf("carries the label %s=%s", v1alpha1.LabelFederation, request.Federation),
		o.commands.To("change it after the move", command.Label{Cluster: o.Cluster, Federation: o.Federation, Overwrite: true})))
}

// askLeave asks the host whether the member may leave the former federation.
func (p *JoinPlan) askLeave(ctx context.Context) error {
	if p.facts.Leaving == nil {
		return nil
	}
	err := p.host.DeleteMember(ctx, p.Options.Name, cluster.Preconditions{}, cluster.DryRunServer)
	if apierrors.IsNotFound(err) {
		return nil // since it was read; applying looks at what there is then
	}
	return err
}

// judgeReturn asks the host whether the member could return to the former federation as it is. Who may not accept it there, or
// join it as discovery did, lets it return without that.
func (p *MovePlan) judgeReturn(ctx context.Context) error {
	leaving, o := p.facts.Leaving, p.Options
	p.back = &v1alpha1.MemberCluster{Spec: *leaving.Spec.DeepCopy()}
	p.back.Name, p.back.Labels = leaving.Name, maps.Clone(leaving.Labels)
	if o.DryRun == cluster.DryRunClient {
		return nil
	}
	refused := p.askReturn(ctx, p.back)
	if refused == nil || !isRefused(refused) {
		return refused
	}
	less := p.back.DeepCopy()
	less.Spec.Accepted, less.Spec.Discovered = false, nil
	how := "could not return"
	switch err := p.askReturn(ctx, less); {
	case err == nil:
		p.back, how = less, "would return without spec.accepted and spec.discovered"
	case !isRefused(err):
		return err
	}
	for _, f := range findingsOf(refused) {
		p.note(about(cluster.Host, host.MemberRef(o.Name), fmt.Sprintf("if the move fails halfway, it %s to federation %q: %s", how, o.from, f.Cause), ""))
	}
	return nil
}

func (p *MovePlan) askReturn(ctx context.Context, m *v1alpha1.MemberCluster) error {
	whole, err := cluster.ToUnstructured(cluster.MemberClusters, m)
	if err != nil {
		return err
	}
	if _, err = p.host.PostMember(ctx, whole, cluster.DryRunServer); apierrors.IsAlreadyExists(err) {
		return nil // the server found that after all had judged
	}
	return err
}

// Verb is what the plan does to the member.
func (p *MovePlan) Verb() string {
	if p.stays != nil {
		return "not change"
	}
	return "move"
}

// Apply carries the plan out. When it fails, the member returns to the former federation and the error is a *Refusal (a server
// refused) or an *Undone; where that fails too, or must not happen, it is a *Partial with the command that continues.
func (p *MovePlan) Apply(ctx context.Context, progress func(Step)) (*Result, error) {
	o := p.Options
	if p.stays != nil {
		return &Result{Done: "unchanged", Reason: inAlready(o.Federation), Member: p.stays}, nil
	}
	if err := p.run(ctx, o.DryRun, progress, p.failed); err != nil {
		return nil, err
	}
	return &Result{Done: "moved", Member: p.record, Expires: p.token.Expires, Notes: slices.Concat(p.notes, p.learned)}, nil
}

// returnTimeout is how long rolling back a move may take, which is a join. It is not cut short when a person presses Ctrl-C again.
const returnTimeout = 30 * time.Second

// failed ends a run that failed with cause: the member returns to the former federation.
func (p *MovePlan) failed(ctx context.Context, cause error) error {
	leaving, o := p.facts.Leaving, p.Options
	if leaving == nil {
		return p.JoinPlan.failed(ctx, cause) // what the former MemberCluster was is not known any more
	}
	if !p.begun {
		return p.refused(cause, false)
	}
	cause = overtaken(p.Steps, cause)
	if gone, ok := errors.AsType[*vanished](cause); ok {
		gone.during, gone.remedy = "move", o.repeat()
	}
	fresh, cancel := context.WithTimeout(context.WithoutCancel(ctx), returnTimeout)
	defer cancel()
	now, err := p.find(fresh)
	switch {
	case err == nil && now != nil && now.UID == leaving.UID && now.DeletionTimestamp == nil:
		return p.refused(cause, false)
	case err == nil:
		err = p.comeBack(fresh, now)
	}
	if err == nil {
		return p.refused(cause, true)
	}
	return p.stranded(ctx, cause, err)
}

func (p *MovePlan) find(ctx context.Context) (now *v1alpha1.MemberCluster, err error) {
	err = retry(ctx, func() (err error) { now, err = p.host.FindMember(ctx, p.Options.Name); return err })
	return now, err
}

// own says whether a MemberCluster is the one that this run deletes or has made, and that no other run has taken over.
func (p *MovePlan) own(m *v1alpha1.MemberCluster) bool {
	return m == nil || m.UID == p.facts.Leaving.UID || parseAttempt(m.Annotations[v1alpha1.AnnotationAttempt]).id == p.facts.Attempt.id
}

// returning are the options of the join by which the member returns.
func (p *MovePlan) returning() JoinOptions {
	o := p.Options
	o.Federation, o.Labels, o.Progress, o.moving = o.from, maps.Clone(p.back.Labels), nil, moving{moves: true, returns: p.back}
	delete(o.Labels, v1alpha1.LabelFederation)
	o.TokenLifetime, o.TrustContext = p.Options.keptLifetime, true // it was proved before
	o.ResetEndpoint, o.Server, o.CABundle, o.ProxyURL, o.TLSServerName, o.CertificateAuthority = false, "", nil, nil, nil, nil
	return o
}

// errTaken means that another host has taken the cluster.
var errTaken = errors.New("another host has taken the cluster")

// comeBack lets the member return to the former federation. Now is the MemberCluster as it is; it may be nil.
func (p *MovePlan) comeBack(ctx context.Context, now *v1alpha1.MemberCluster) error {
	o, ref := p.returning(), host.MemberRef(p.Options.Name)
	var k *member.Membership
	if err := retry(ctx, func() (err error) { k, err = p.member.Membership(ctx); return err }); err != nil {
		return err
	}
	other := fmt.Errorf("host: %s: %w", ref, host.ErrAnotherAttempt)
	switch {
	case !p.own(now):
		return other
	case k != nil && k.HostID != p.facts.Host.ID:
		// What this run made on the cluster is gone with its membership record, or the other host's by now.
		if now != nil {
			if err := p.forget(ctx, now); err != nil {
				return err
			}
		}
		o.TrustContext = p.Options.TrustContext
		return &Refusal{Findings: judgeMembership(k, p.facts.Host.ID, o), Err: errTaken}
	}
	back, err := PlanJoin(ctx, p.host, p.member, o)
	if err != nil {
		return err
	}
	if !p.own(back.facts.Leaving) {
		return other
	}
	p.returned = true
	return back.run(ctx, cluster.DryRunNone, p.progress, func(_ context.Context, err error) error { return err })
}

// stranded is how things stand after a move failed with cause and its rollback with err.
func (p *MovePlan) stranded(ctx context.Context, cause, err error) error {
	partial := p.partial(rollbackFailed(cause, err))
	if _, refused := errors.AsType[*Refusal](cause); refused && errors.Is(err, errTaken) {
		partial.Err = err // the cause is the same
	}
	fresh, cancel := afterwards(ctx)
	defer cancel()
	o, ref := p.Options, host.MemberRef(p.Options.Name)
	now, readErr := p.find(fresh)
	switch {
	case readErr == nil && now != nil && now.Federation() == o.Federation, readErr != nil && p.created && !p.returned:
		partial.Left = []string{fmt.Sprintf("host: %s is in federation %q, where its join is not finished", ref, o.Federation)}
	default:
		partial.Left = []string{fmt.Sprintf("host: %s is to return to federation %q", ref, o.from)}
		partial.Next = o.commands.Line(p.rejoin())
		partial.Left = append(partial.Left, p.decided()...)
	}
	return partial
}

// decided are what people had decided about the member, which a join does not restore.
func (p *MovePlan) decided() (left []string) {
	was, o, ref := p.facts.Leaving, p.Options, host.MemberRef(p.Options.Name)
	if was.Spec.Suspended {
		suspend := command.Suspend{Member: o.Name}
		if s := was.Spec.Suspension; s != nil {
			suspend.Reason = s.Reason
			if s.Until != nil {
				suspend.Until = s.Until.UTC().Format(time.RFC3339)
			}
		}
		left = append(left, o.commands.To(fmt.Sprintf("host: %s was suspended; after the join, suspend it again", ref), suspend))
	}
	if was.Spec.Accepted {
		left = append(left, o.commands.To(fmt.Sprintf("host: %s was approved; after the join, approve it again", ref), command.Approve{Member: o.Name}))
	}
	return left
}

// rejoin is the command that makes the member what it was.
func (p *MovePlan) rejoin() command.Join {
	join, e, caller := p.returning().join(), endpoint.Of(p.back), p.facts.Caller
	join.TrustContext = p.Options.TrustContext
	if !e.Equal(caller) {
		join.Server, join.ProxyURL, join.TLSServerName = e.Server, &e.ProxyURL, &e.TLSServerName
		if string(e.CABundle) != string(caller.CABundle) {
			join.CertificateAuthority = new("FILE")
			if len(e.CABundle) == 0 {
				join.CertificateAuthority = new("") // that of the system
			}
		}
	}
	return join
}
