package federate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// UnjoinOptions say what leaves and how.
type UnjoinOptions struct {
	Name v1alpha1.MemberName
	// DropLabel removes the federation label as well.
	DropLabel bool
	// Force lets the member go without being reached: only the host is changed.
	Force  bool
	DryRun DryRun
	// MemberContext is the name of the member's context. It appears in messages only.
	MemberContext string
}

func (o UnjoinOptions) operation() string { return fmt.Sprintf("unjoin %q", o.Name) }

func (o UnjoinOptions) command() string {
	if o.Force {
		return "kubectl federate unjoin " + string(o.Name) + " --force"
	}
	s := unjoinCommand(o.Name, o.MemberContext)
	if o.DropLabel {
		s += " --drop-label"
	}
	return s
}

// Stages of an unjoin, in order.
const (
	stageRevoke  stage = iota // the token's Secret, bindings, roles, accounts, properties
	stageUnmark               // the membership record: until here nobody else can take the cluster
	stageLeave                // the namespace, the federation label
	stageDismiss              // the host's side
	stageLast
)

// UnjoinPlan is what an unjoin will do.
type UnjoinPlan struct {
	Options UnjoinOptions
	Steps   []Step
	// Notes are what a person should know and what does not stand against the unjoin.
	Notes []Finding

	host   *host.Cluster
	member *member.Cluster
	facts  unjoinFacts
}

// Text is the plan with one line per step.
func (p *UnjoinPlan) Text() string { return text(p.Steps) }

// Objects are what the plan deletes or changes, as they stand and as far as they could be read.
func (p *UnjoinPlan) Objects() []*unstructured.Unstructured {
	var all []*unstructured.Unstructured
	for _, s := range p.Steps {
		if s.live == nil {
			continue
		}
		o := s.live.DeepCopy()
		o.SetManagedFields(nil)
		if o.GetKind() == "Secret" {
			delete(o.Object, "data")
		}
		all = append(all, o)
	}
	return all
}

// Already says that there is nothing to do.
func (p *UnjoinPlan) Already() bool { return len(p.Steps) == 0 }

// UnjoinResult is an unjoin that is done.
type UnjoinResult struct {
	// Already says that there was nothing to do.
	Already bool
	// Finishing says that Kubernetes is still emptying our namespace on the member.
	Finishing bool
	Notes     []Finding
}

// unjoinFacts are everything that an unjoin's plan is made from.
type unjoinFacts struct {
	Host host.State
	// Member is nil when the member is not to be reached.
	Member *member.State
	// Missing are rights that the caller has not.
	Missing []missing
	// Refused is the host's no to deleting the MemberCluster; nil when it would.
	Refused error
	// MayDeleteCredential says whether the caller may delete the credential at once.
	MayDeleteCredential bool
}

// PlanUnjoin reads both sides at once and judges what it read. It writes nothing. The error is a *Refusal
// with everything that stands against the unjoin, or says what could not be read. m may be nil where o.Force
// is set.
func PlanUnjoin(ctx context.Context, h *host.Cluster, m *member.Cluster, o UnjoinOptions) (*UnjoinPlan, error) {
	if m == nil && !o.Force {
		return nil, &Refusal{Operation: o.operation(), Findings: []Finding{{Side: SideMember,
			Cause:  "the cluster itself must be reached, to revoke what it gave",
			Remedy: "name it with --member-context, or, if it is gone for good, let it go with --force"}}}
	}
	if findings := judgeName(cluster.MemberClusters, string(o.Name)); len(findings) > 0 {
		return nil, &Refusal{Operation: o.operation(), Findings: findings}
	}
	if o.Force {
		m = nil
	}
	facts, err := readUnjoin(ctx, h, m, o)
	if err != nil {
		return nil, err
	}
	plan, against := planUnjoin(*facts, o)
	plan.host, plan.member = h, m
	if len(against) > 0 {
		return nil, &Refusal{Operation: o.operation(), Findings: against}
	}
	return plan, nil
}

func readUnjoin(ctx context.Context, h *host.Cluster, m *member.Cluster, o UnjoinOptions) (*unjoinFacts, error) {
	f := &unjoinFacts{}
	target := host.Target{Member: o.Name}
	var hostState *host.State
	var memberRights []cluster.Right
	var mayDeleteCredential, memberMay []bool
	work := []func() error{
		func() (err error) { hostState, err = h.Read(ctx, target); return err },
		func() (err error) {
			mayDeleteCredential, err = h.Allowed(ctx, []cluster.Right{target.DeleteCredentialRight()})
			return err
		},
		func() error {
			if o.DryRun == DryRunClient {
				return nil
			}
			err := h.DeleteMember(ctx, o.Name, cluster.Preconditions{}, cluster.DryRunServer)
			if isRefused(err) {
				f.Refused = err
				return nil
			}
			return err
		},
	}
	if m != nil {
		memberRights = member.Grants{Properties: true, AccessRole: "any"}.LeaveRights()
		work = append(work,
			func() (err error) { f.Member, err = m.Read(ctx); return err },
			func() (err error) { memberMay, err = m.Allowed(ctx, memberRights); return err },
		)
	}
	errs := cluster.Together(work...)
	if err := bothSides(errs); err != nil {
		if m != nil && sideOf(err) == string(SideMember) {
			return nil, &unreachable{err: err, name: o.Name}
		}
		return nil, err
	}
	f.Host, f.MayDeleteCredential = *hostState, mayDeleteCredential[0]
	if f.Member != nil {
		needed := member.Grants{Properties: f.Member.Properties, AccessRole: "any"}.LeaveRights()
		for _, missed := range lacking(SideMember, memberRights, memberMay, needed...) {
			// Only what there is to delete takes a right to delete it.
			if missed.right.Verb == "get" || f.Member.Objects[cluster.Ref{Resource: missed.right.Resource, Namespace: missed.right.Namespace, Name: missed.right.Name}] != nil ||
				missed.right.Resource == cluster.ConfigMaps && f.Member.Membership != nil {
				f.Missing = append(f.Missing, missed)
			}
		}
		// An unjoin needs neither nodes nor the version.
		if err := f.Member.Denied.First(member.VersionRef, member.NodesRef); err != nil && len(f.Missing) == 0 {
			return nil, err
		}
	}
	if err := f.Host.Denied.First(); err != nil {
		return nil, err
	}
	return f, nil
}

// unreachable is a member that does not answer, with the way out.
type unreachable struct {
	err  error
	name v1alpha1.MemberName
}

func (u *unreachable) Error() string {
	var failed *cluster.Error
	if errors.As(u.err, &failed) && failed.Fault == cluster.FaultUnreachable {
		return u.err.Error() + "; if the cluster is gone for good, let it go with: kubectl federate unjoin " + string(u.name) + " --force"
	}
	return u.err.Error()
}

func (u *unreachable) Unwrap() error { return u.err }

// planUnjoin makes the plan and says what stands against it. It is pure.
func planUnjoin(f unjoinFacts, o UnjoinOptions) (*UnjoinPlan, []Finding) {
	p := &UnjoinPlan{Options: o, facts: f}
	var against []Finding
	for _, m := range f.Missing {
		against = append(against, Finding{Side: m.side, Cause: "you have no right to " + m.right.String()})
	}
	record := f.Host.Member
	if f.Refused != nil && record != nil {
		against = append(against, findingsOf(f.Refused)...)
	}
	if f.Member == nil {
		p.planForced()
		return p, against
	}
	against = append(against, judgeLeaving(f, o)...)
	p.planMember()
	if record != nil {
		p.planHost()
	}
	return p, against
}

// judgeLeaving says whether this cluster is the member that is to leave, and this host the one it leaves.
func judgeLeaving(f unjoinFacts, o UnjoinOptions) []Finding {
	var against []Finding
	record, k := f.Host.Member, f.Member.Membership
	ref := host.MemberRef(o.Name).String()
	if record != nil && f.Member.ID != "" && record.Spec.ClusterID != string(f.Member.ID) {
		against = append(against, Finding{Side: SideMember, Object: ref,
			Cause:  fmt.Sprintf("is another cluster (ID %s) than the one you named (ID %s)", record.Spec.ClusterID, f.Member.ID),
			Remedy: "name the member's own context with --member-context"})
		return against
	}
	switch {
	case k == nil:
	case k.HostID != f.Host.ID:
		remedy := "let it leave there: " + unjoinCommand(k.Member, o.MemberContext) + " --context OTHER-HOST"
		if record != nil {
			remedy += "; or remove this host's record alone: kubectl federate unjoin " + string(o.Name) + " --force"
		}
		against = append(against, Finding{Side: SideMember, Object: member.MembershipRef().String(),
			Cause: fmt.Sprintf("this cluster is member %q of federation %q of another host (cluster ID %s)", k.Member, k.Federation, k.HostID), Remedy: remedy})
	case k.Member != o.Name:
		against = append(against, Finding{Side: SideMember, Object: member.MembershipRef().String(),
			Cause:  fmt.Sprintf("this cluster is member %q of federation %q", k.Member, k.Federation),
			Remedy: unjoinCommand(k.Member, o.MemberContext)})
	}
	return against
}

func (p *UnjoinPlan) step(s Step) { p.Steps = append(p.Steps, s) }

// planForced plans the host's side alone and says what stays.
func (p *UnjoinPlan) planForced() {
	record := p.facts.Host.Member
	if record == nil {
		return
	}
	until := "its end, at most a year after it was made"
	if e := record.Status.CredentialExpiry; e != nil {
		until = e.UTC().Format(time.RFC3339)
	}
	p.Notes = append(p.Notes, Finding{Side: SideMember,
		Cause:  "is not touched: namespace " + cluster.Quoted(v1alpha1.MemberNamespace) + " with its accounts, roles and bindings of " + v1alpha1.MemberNamespace + ", and ClusterProperties stay there; the host's token works until " + until,
		Remedy: "should the cluster come back: " + unjoinCommand(p.Options.Name, "")})
	p.planHost()
}

func (p *UnjoinPlan) planHost() {
	o := p.Options
	if p.facts.MayDeleteCredential {
		p.step(Step{Side: SideHost, Verb: VerbDelete, Object: host.CredentialRef(o.Name), stage: stageDismiss})
	}
	s := Step{Side: SideHost, Verb: VerbDelete, Object: host.MemberRef(o.Name), stage: stageDismiss}
	if !p.facts.MayDeleteCredential {
		s.Note = "garbage collection takes its credential along"
	}
	if live, err := cluster.ToUnstructured(cluster.MemberClusters, p.facts.Host.Member); err == nil {
		s.live = live
	}
	p.step(s)
}

// requestElsewhere is the federation label that an object on the host carried when the cluster joined, and that object; it is empty where
// the cluster carries a federation label itself.
func (p *UnjoinPlan) requestElsewhere() (w member.JoinRequest, by command.Object) {
	f := p.facts.Member
	if f.JoinRequest.Federation != "" || f.Membership == nil || f.Membership.RequestedBy == by {
		return w, by
	}
	return member.JoinRequest{Federation: f.Membership.Federation, Namespace: v1alpha1.IdentityNamespace}, f.Membership.RequestedBy
}

func (p *UnjoinPlan) planMember() {
	f, o := p.facts.Member, p.Options
	for _, ref := range f.Found() {
		live := f.Objects[ref]
		if !ours(ref, live) {
			continue
		}
		p.step(Step{Side: SideMember, Verb: VerbDelete, Object: ref, stage: stageRevoke, live: live})
	}
	if k := f.Membership; k != nil {
		manifest := k.Manifest()
		manifest.SetUID(k.UID)
		p.step(Step{Side: SideMember, Verb: VerbDelete, Object: member.MembershipRef(), stage: stageUnmark, live: manifest})
	}
	request := f.JoinRequest
	if request.Federation != "" {
		ref := cluster.Ref{Resource: cluster.Namespaces, Name: request.Namespace}
		federation := v1alpha1.FederationName("")
		if f.Membership != nil {
			federation = f.Membership.Federation
		} else if m := p.facts.Host.Member; m != nil {
			federation = m.Federation()
		}
		switch {
		case o.DropLabel:
			p.step(Step{Side: SideMember, Verb: VerbUpdate, Object: ref, Note: "remove the label " + v1alpha1.LabelFederation + "=" + string(request.Federation), stage: stageLeave})
		case federation == request.Federation:
			if request.Left != request.Federation {
				p.step(Step{Side: SideMember, Verb: VerbUpdate, Object: ref, Note: "annotate that it left, beside its federation label", stage: stageLeave})
			}
			p.Notes = append(p.Notes, Finding{Side: SideMember, Object: ref.String(),
				Cause:  fmt.Sprintf("still carries the label %s=%s; discovery does not join it again", v1alpha1.LabelFederation, request.Federation),
				Remedy: "remove it with kubectl federate label --member-context " + contextWord(o.MemberContext) + " --remove"})
		}
	}
	if w, by := p.requestElsewhere(); w.Federation != "" {
		ref := cluster.Ref{Resource: cluster.Namespaces, Name: w.Namespace}
		p.step(Step{Side: SideMember, Verb: VerbUpdate, Object: ref, Note: "annotate that it left, since its federation label is on the host", stage: stageLeave})
		p.Notes = append(p.Notes, Finding{Side: SideHost, Object: by.String(),
			Cause:  fmt.Sprintf("asked for this by its label %s=%s; should that still be there, discovery does not join it again", v1alpha1.LabelFederation, w.Federation),
			Remedy: command.Host{}.To("remove it", command.KubectlLabel{Object: by, Key: v1alpha1.LabelFederation})})
	}
	dropsOwn := o.DropLabel && request.Namespace == v1alpha1.MemberNamespace
	if f.OurNamespace() && !f.Terminating() && (request.Namespace != v1alpha1.MemberNamespace || dropsOwn) {
		p.step(Step{Side: SideMember, Verb: VerbDelete, Object: member.NamespaceRef(), Note: "when nothing of others is in it", stage: stageLeave, live: f.Namespace})
	}
}

// Apply carries the plan out and tells progress of each step that is done; progress may be nil and is never
// called by two goroutines at once. When it fails after something was changed, the error is a *Partial with
// the command that goes on. A plan of a dry run writes nothing.
func (p *UnjoinPlan) Apply(ctx context.Context, progress func(Step)) (*UnjoinResult, error) {
	result := &UnjoinResult{Already: p.Already(), Notes: slices.Clone(p.Notes)}
	if p.Options.DryRun != DryRunNone || p.Already() {
		return result, nil
	}
	run := &unjoinRun{plan: p, progress: serial(progress), result: result}
	changed := false
	for at := range stageLast {
		attempted, err := run.stage(ctx, at)
		changed = changed || attempted
		if err != nil {
			return nil, run.failed(stopped(ctx, err), changed)
		}
	}
	return result, nil
}

type unjoinRun struct {
	plan     *UnjoinPlan
	progress func(Step)
	done     []bool

	mu     sync.Mutex
	result *UnjoinResult
}

// stage does all steps of a stage at once and says whether it sent anything.
func (r *unjoinRun) stage(ctx context.Context, at stage) (bool, error) {
	if r.done == nil {
		r.done = make([]bool, len(r.plan.Steps))
	}
	var index []int
	for i, s := range r.plan.Steps {
		if s.stage == at {
			index = append(index, i)
		}
	}
	if len(index) == 0 {
		return false, nil
	}
	if err := ctx.Err(); err != nil {
		return false, err
	}
	// The federation label goes before the namespace that may carry it.
	if at == stageLeave {
		for _, i := range index {
			if err := r.one(ctx, i); err != nil {
				return true, err
			}
		}
		return true, nil
	}
	return true, cmp.Or(cluster.ForEach(len(index), func(i int) error { return r.one(ctx, index[i]) })...)
}

func (r *unjoinRun) one(ctx context.Context, i int) error {
	s := r.plan.Steps[i]
	if err := r.step(ctx, s); err != nil {
		return err
	}
	r.done[i] = true
	r.progress(s)
	return nil
}

func (r *unjoinRun) step(ctx context.Context, s Step) error {
	p := r.plan
	switch {
	case s.Side == SideHost && s.Object.Resource == cluster.Secrets:
		return p.host.DeleteCredential(ctx, p.Options.Name)
	case s.Side == SideHost:
		return r.dismiss(ctx)
	case s.Object == member.NamespaceRef() && s.Verb == VerbDelete:
		outcome, err := p.member.RemoveNamespace(ctx)
		if err != nil {
			return err
		}
		r.result.Finishing = outcome.Deleted
		if outcome.Kept != "" {
			r.note(Finding{Side: SideMember, Object: s.Object.String(), Cause: "stays, since " + outcome.Kept})
		}
		return nil
	case s.Verb == VerbUpdate && p.Options.DropLabel && p.facts.Member.JoinRequest.Federation != "":
		_, err := p.member.DropJoinRequest(ctx, DryRunNone)
		return err
	case s.Verb == VerbUpdate:
		request := p.facts.Member.JoinRequest
		if elsewhere, _ := p.requestElsewhere(); elsewhere.Federation != "" {
			request = elsewhere
		}
		return p.member.MarkLeft(ctx, request)
	}
	err := p.member.Remove(ctx, s.Object, cluster.Preconditions{UID: s.live.GetUID()})
	if apierrors.IsConflict(err) {
		return fmt.Errorf("%w: another join made it anew meanwhile", err)
	}
	return err
}

// dismiss deletes the MemberCluster that was read, and not one that has come in its place.
func (r *unjoinRun) dismiss(ctx context.Context) error {
	p := r.plan
	record := p.facts.Host.Member
	err := p.host.Remove(ctx, host.MemberRef(p.Options.Name), cluster.Preconditions{UID: record.UID})
	if lingering, ok := errors.AsType[*cluster.Lingering](err); ok {
		// It gives nothing away any more, and whose finalizers they are knows what for.
		r.note(Finding{Side: SideHost, Object: lingering.Object.String(), Cause: lingering.Cause()})
		return nil
	}
	return err
}

func (r *unjoinRun) note(f Finding) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.Notes = append(r.result.Notes, f)
}

// failed says how things stand after a stage failed.
func (r *unjoinRun) failed(err error, changed bool) error {
	if !changed {
		return err
	}
	partial := &Partial{Operation: r.plan.Options.operation(), Next: r.plan.Options.command(), Err: err}
	done := 0
	for i, s := range r.plan.Steps {
		if r.done[i] {
			done++
			continue
		}
		partial.Left = append(partial.Left, string(s.Side)+": "+s.Object.String())
	}
	if done > 0 {
		partial.Done = []string{fmt.Sprintf("%d of %d steps", done, len(r.plan.Steps))}
	}
	return partial
}
