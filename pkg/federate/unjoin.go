package federate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// UnjoinOptions say what leaves and how.
type UnjoinOptions struct {
	Name v1alpha1.MemberName
	// DropLabel removes the federation label as well.
	DropLabel bool
	// Force removes the member from the host without reaching the cluster.
	Force  bool
	DryRun cluster.DryRun
	Way
	// Cluster leads to the member. It appears in messages only.
	Cluster command.Cluster

	commands command.Host
}

func (o UnjoinOptions) operation() string { return fmt.Sprintf("unjoin %q", o.Name) }

func (o UnjoinOptions) again() string {
	return o.commands.Line(o.command())
}

// command is the command that unjoins again.
func (o UnjoinOptions) command() command.Unjoin {
	return command.Unjoin{Member: o.Name, Cluster: o.Cluster, DropLabel: o.DropLabel, Force: o.Force, TrustContext: o.TrustContext}
}

// Phases of an unjoin, in order.
const (
	phaseServices  phase = iota // bindings in other namespaces: only the manager's role says where they are
	phaseRevoke                 // the token's Secret, bindings, roles, accounts, properties
	phaseRelease                // the membership record: until here no other host can take the cluster
	phaseLabel                  // the federation label, which the namespace may carry
	phaseGone                   // the namespace, and the host's credential, which has ceased to work
	phaseForgotten              // the host's side
)

// UnjoinPlan is what an unjoin will do.
type UnjoinPlan struct {
	Options UnjoinOptions
	plan

	facts     unjoinFacts
	finishing bool // Kubernetes still empties the namespace
}

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

// Verb is what the plan does to the member.
func (p *UnjoinPlan) Verb() string { return "unjoin" }

// unjoinFacts are everything that an unjoin's plan is made from.
type unjoinFacts struct {
	Host host.State
	// Member is nil when the member is not to be reached.
	Member *member.State
	// MemberLacks are rights on the member that the caller lacks, of those that the plan takes.
	MemberLacks []cluster.Right
	// Unproven says why the member's cluster is not proved to be the one that answers; nil when it is.
	Unproven *Unproven
	// Refused is the host's refusal to delete the MemberCluster; nil when it would.
	Refused error
	// NoManager says why no manager can report whether the credential has ceased to work; nil when one may.
	NoManager error
	// MayDeleteCredential says whether the caller may delete the credential at once.
	MayDeleteCredential bool
}

// PlanUnjoin reads both sides at once and judges what it read. It writes nothing. The error is a *Refusal
// with everything that stands against the unjoin, or says what could not be read. m may be nil where o.Force
// is set.
func PlanUnjoin(ctx context.Context, h *host.Cluster, m *member.Cluster, o UnjoinOptions) (*UnjoinPlan, error) {
	o.commands = h.Commands
	if m == nil && !o.Force {
		return nil, refuse(o, []Finding{{Side: cluster.Member,
			Cause:  "the cluster itself must be reached, to revoke what it granted",
			Remedy: "name it with --member-context, or remove only the host's record with --force if the cluster is gone for good"}})
	}
	if err := refuse(o, judgeName(cluster.MemberClusters, string(o.Name))); err != nil {
		return nil, err
	}
	if o.Force {
		m = nil
	}
	facts, err := readUnjoin(ctx, h, m, o)
	if err != nil {
		return nil, err
	}
	if facts.Unproven != nil {
		trusting := o.command()
		trusting.TrustContext = true
		return nil, facts.Unproven.refuse(o, o.commands.To("if it is that member all the same, say so", trusting))
	}
	plan, against := planUnjoin(*facts, o)
	plan.host, plan.member = h, m
	if m != nil && o.DryRun != cluster.DryRunClient {
		judged, err := plan.ask(ctx)
		if err != nil {
			return nil, err
		}
		against = append(against, judged...)
	}
	if err := refuse(o, introduce(ctx, h, m, against)); err != nil {
		return nil, err
	}
	return plan, nil
}

func readUnjoin(ctx context.Context, h *host.Cluster, m *member.Cluster, o UnjoinOptions) (*unjoinFacts, error) {
	f := &unjoinFacts{}
	target := host.Target{Member: o.Name}
	var hostState *host.State
	var hostLacks []cluster.Right
	var administers bool // on the member
	work := []func() error{
		func() (err error) { hostState, err = h.Read(ctx, target); return err },
		func() (err error) { hostLacks, err = h.Lacking(ctx, target.DeleteCredentialRights()); return err },
		func() error {
			if o.DryRun == cluster.DryRunClient {
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
		work = append(work,
			func() (err error) { f.Member, err = m.Read(ctx); return err },
			func() error {
				if o.DryRun != cluster.DryRunClient {
					f.NoManager = h.Enforcing(ctx)
				}
				return nil
			},
			func() (err error) { administers, err = m.HasAllRights(ctx); return err },
		)
	}
	if err := bothSides(cluster.Together(work...)); err != nil {
		if m != nil && sideOf(err) == cluster.Member {
			return nil, &unreachable{err: err, options: o}
		}
		return nil, err
	}
	f.Host, f.MayDeleteCredential = *hostState, len(hostLacks) == 0
	if f.Member == nil {
		return f, f.Host.Denied.First()
	}
	var err error
	if f.Unproven, err = o.unproven(ctx, m, f.Host.Member, f.Member.ID); err != nil || f.Unproven != nil {
		return f, err
	}
	if administers {
		// An unjoin needs neither nodes nor the version.
		if err := f.Member.Denied.First(member.VersionRef, member.NodesRef); err != nil {
			return nil, err
		}
	} else {
		// The plan says which rights it takes.
		plan, _ := planUnjoin(*f, o)
		if f.MemberLacks, err = m.LackingOf(ctx, plan.rights()); err != nil {
			return nil, err
		}
	}
	return f, f.Host.Denied.First()
}

// unread are the reads that the member denied, of what an unjoin has to see: it needs neither nodes nor the version.
func (f *unjoinFacts) unread() []missing {
	refs := member.Grants{Properties: f.Member.Properties, AccessRole: "any", Services: member.JoinNamespaces(f.Member.ServiceNamespaces)}.ReadRefs()
	return unread(f.Member.Denied, slices.DeleteFunc(refs, func(r cluster.Ref) bool { return r == member.NodesRef }))
}

// unreachable is a member that does not answer, with the way out.
type unreachable struct {
	err     error
	options UnjoinOptions
}

func (u *unreachable) Error() string {
	if cluster.FaultOf(u.err) == cluster.FaultUnreachable {
		return u.options.commands.To(u.err.Error()+"; if the cluster is gone for good, remove only the host's record", command.Unjoin{Member: u.options.Name, Force: true})
	}
	return u.err.Error()
}

func (u *unreachable) Unwrap() error { return u.err }

// planUnjoin makes the plan and says what stands against it. It is pure.
func planUnjoin(f unjoinFacts, o UnjoinOptions) (*UnjoinPlan, []Finding) {
	p := &UnjoinPlan{Options: o, plan: plan{of: o}, facts: f}
	var against []Finding
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
		p.planCeased()
		p.planHost()
	}
	lacking, _ := p.lacking(f.MemberLacks)
	return p, append(deniedRights(append(f.unread(), lacking...)), against...)
}

// judgeLeaving says whether this cluster is the member that is to leave, and this host the one it leaves.
func judgeLeaving(f unjoinFacts, o UnjoinOptions) []Finding {
	record, k := f.Host.Member, f.Member.Membership
	if record != nil && f.Member.ID != "" && record.Spec.ClusterID != string(f.Member.ID) {
		return []Finding{otherCluster(record, f.Member.ID)}
	}
	switch {
	case k == nil || k.HostID == f.Host.ID && k.Member == o.Name:
		return nil
	case k.HostID == f.Host.ID:
		return []Finding{about(cluster.Member, member.MembershipRef(), fmt.Sprintf("this cluster is member %q of federation %q", k.Member, k.Federation),
			o.commands.To("unjoin it by that name", command.Unjoin{Member: k.Member, Cluster: o.Cluster}))}
	}
	remedy := leaveThere(k, o.Cluster)
	if record != nil {
		remedy += "; or " + o.commands.To("remove only this host's record", command.Unjoin{Member: o.Name, Force: true})
	}
	return []Finding{about(cluster.Member, member.MembershipRef(), "this cluster is "+k.String(), remedy)}
}

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
	p.note(Finding{Side: cluster.Member,
		Cause: "is not touched: namespace " + cluster.Quoted(v1alpha1.MemberNamespace) + " with its accounts, roles and bindings of " + v1alpha1.MemberNamespace + ", and ClusterProperties stay there; the host's token works until " + until,
		Remedy: p.Options.commands.To("should the cluster come back",
			// Without a record it is found among the contexts no more.
			command.Unjoin{Member: p.Options.Name, Cluster: command.Cluster{Context: p.Options.commands.ContextOf(endpoint.Of(record).ServerKey())}})})
	p.planHost()
}

// planCeased plans to wait until the host's credential is refused, where there is a manager to report it.
func (p *UnjoinPlan) planCeased() {
	if err := p.facts.NoManager; errors.Is(err, host.ErrWebhookDown) || errors.Is(err, host.ErrNotEnforcing) {
		p.note(p.uncertain("no manager is running"))
		return
	}
	p.step(Step{Side: cluster.Member, Verb: VerbTry, Note: "whether it refuses the host's credential", phase: phaseGone, do: p.awaitCeased})
}

func (p *UnjoinPlan) planHost() {
	name := p.Options.Name
	record := Step{Side: cluster.Host, Verb: VerbDelete, Object: host.MemberRef(name), phase: phaseForgotten,
		do: func(ctx context.Context) error { return p.forget(ctx, p.facts.Host.Member) }}
	if p.facts.MayDeleteCredential {
		p.step(Step{Side: cluster.Host, Verb: VerbDelete, Object: host.CredentialRef(name), phase: phaseForgotten,
			do: func(ctx context.Context) error { return p.host.DeleteCredential(ctx, name) }})
	} else {
		record.Note = "garbage collection removes its credential"
	}
	if live, err := cluster.ToUnstructured(cluster.MemberClusters, p.facts.Host.Member); err == nil {
		record.live = live
	}
	p.step(record)
}

func (p *UnjoinPlan) planMember() {
	f := p.facts.Member
	for _, ref := range f.Found() {
		live := f.Objects[ref]
		s := Step{Side: cluster.Member, Verb: VerbDelete, Object: ref, phase: phaseRevoke, live: live, do: p.remove(ref, live)}
		if member.IsServicesBinding(ref) {
			s.phase = phaseServices
		}
		if !member.ByJoin(live) {
			// A join makes no member of a cluster where others have made the account: it was made for this membership.
			k := f.Membership
			if ref.Resource != cluster.ServiceAccounts || k == nil || k.HostID != p.facts.Host.ID {
				p.noteUnlabeled(ref, live)
				continue
			}
			s.Note = "although it has lost its label"
		}
		p.step(s)
	}
	if f.PoliciesDenied {
		p.note(about(cluster.Member, member.PolicyRefs()[1], "is not removed, if it exists, since you are not allowed to get it", ""))
	}
	if k := f.Membership; k != nil {
		live := k.Manifest()
		live.SetUID(k.UID)
		p.step(Step{Side: cluster.Member, Verb: VerbDelete, Object: member.MembershipRef(), phase: phaseRelease, live: live, do: p.remove(member.MembershipRef(), live)})
	}
	p.planLabel()
	p.planLabelElsewhere()
	request := f.JoinRequest
	dropsOwn := p.Options.DropLabel && request.Namespace == v1alpha1.MemberNamespace
	removable := f.Namespace != nil && member.ByJoin(f.Namespace) && f.Namespace.GetDeletionTimestamp() == nil
	if removable && (request.Namespace != v1alpha1.MemberNamespace || dropsOwn) {
		p.planNamespaceEnd()
	}
}

// noteUnlabeled says that an object stays which has the name of one that a join makes and lacks its label. What others prepared
// outside of the namespace, which no join ever wrote, is theirs.
func (p *UnjoinPlan) noteUnlabeled(ref cluster.Ref, live *unstructured.Unstructured) {
	if ref.Namespace == "" && !member.Written(live) {
		return
	}
	label, stays := v1alpha1.LabelManagedBy+"="+v1alpha1.ManagedByJoin, "stays"
	switch ref.Resource {
	case cluster.ClusterProperties:
		label = v1alpha1.LabelFederation
	case cluster.ServiceAccounts:
		stays = "stays, and its tokens remain valid"
	}
	p.note(about(cluster.Member, ref, stays+", since it lacks the label "+label+", which a join sets",
		p.Options.commands.To("if it is not needed, delete it", command.KubectlDelete{Object: ref.Object(), Cluster: &p.Options.Cluster})))
}

// planNamespaceEnd plans to remove the namespace. All grants are revoked without that, so it is left to others where the caller
// may not do it.
func (p *UnjoinPlan) planNamespaceEnd() {
	s := Step{Side: cluster.Member, Verb: VerbDelete, Object: member.NamespaceRef(), Note: "if nothing else is in it", phase: phaseGone, live: p.facts.Member.Namespace, do: p.removeNamespace}
	lacks := missingOf(cluster.Member, p.facts.MemberLacks, s.rights())
	if len(lacks) == 0 {
		p.step(s)
		return
	}
	p.note(about(cluster.Member, s.Object, "stays, since you are not allowed to "+lacks[0].right.String(),
		p.Options.commands.To("if nothing else is in it, an administrator of the cluster can delete it", command.KubectlDelete{Object: s.Object.Object(), Cluster: &p.Options.Cluster})))
}

// planLabel plans what becomes of the federation label on the cluster.
func (p *UnjoinPlan) planLabel() {
	f, o := p.facts.Member, p.Options
	request := f.JoinRequest
	if request.Federation == "" {
		return
	}
	s := Step{Side: cluster.Member, Verb: VerbUpdate, Object: cluster.Ref{Resource: cluster.Namespaces, Name: request.Namespace}, phase: phaseLabel}
	federation := v1alpha1.FederationName("")
	if f.Membership != nil {
		federation = f.Membership.Federation
	} else if m := p.facts.Host.Member; m != nil {
		federation = m.Federation()
	}
	switch {
	case o.DropLabel:
		s.Note = "remove the label " + v1alpha1.LabelFederation + "=" + string(request.Federation)
		remove := func(d cluster.DryRun) func(context.Context) error {
			return func(ctx context.Context) error {
				_, err := p.member.RemoveLabel(ctx, d)
				return err
			}
		}
		s.do, s.ask = remove(cluster.DryRunNone), remove(cluster.DryRunServer)
		p.step(s)
	case federation == request.Federation:
		if request.Left != request.Federation {
			s.Note = "annotate that it left, beside its federation label"
			s.do = func(ctx context.Context) error { return p.member.MarkLeft(ctx, request, cluster.DryRunNone) }
			s.ask = func(ctx context.Context) error { return p.member.MarkLeft(ctx, request, cluster.DryRunServer) }
			p.step(s)
		}
		p.note(about(cluster.Member, s.Object, fmt.Sprintf("still carries the label %s=%s; discovery does not join it again", v1alpha1.LabelFederation, request.Federation),
			o.commands.To("remove it", command.Label{Cluster: o.Cluster, Remove: true})))
	}
}

// planLabelElsewhere plans what becomes of the federation label that an object carried when the cluster joined.
func (p *UnjoinPlan) planLabelElsewhere() {
	f := p.facts.Member
	if f.JoinRequest.Federation != "" || f.Membership == nil || f.Membership.RequestedBy == (command.Object{}) {
		return
	}
	by, side, holder := f.Membership.RequestedBy, cluster.Host, "the host"
	remove := command.KubectlLabel{Object: by, Key: v1alpha1.LabelFederation}
	if by.Elsewhere {
		side, holder, remove.Cluster = "sources", "another API server", &command.Cluster{} // whose context is not known
	}
	by.Elsewhere = false
	left := member.JoinRequest{Federation: f.Membership.Federation, Namespace: v1alpha1.IdentityNamespace}
	s := Step{Side: cluster.Member, Verb: VerbUpdate, Object: cluster.Ref{Resource: cluster.Namespaces, Name: left.Namespace},
		Note: "annotate that it left, since its federation label is on " + holder, phase: phaseLabel,
		ask: func(ctx context.Context) error { return p.member.MarkLeft(ctx, left, cluster.DryRunServer) },
		do:  func(ctx context.Context) error { return p.member.MarkLeft(ctx, left, cluster.DryRunNone) }}
	then := "discovery does not join the cluster again"
	if lacks := missingOf(cluster.Member, p.facts.MemberLacks, s.rights()); len(lacks) > 0 {
		// Some platforms do not let users do that, and the label is within reach.
		then = "discovery joins the cluster again, since you are not allowed to " + lacks[0].right.String()
	} else {
		p.step(s)
	}
	p.note(Finding{Side: side, Object: by.String(),
		Cause:  fmt.Sprintf("carried the label %s=%s, which asked to join; if it still does, %s", v1alpha1.LabelFederation, left.Federation, then),
		Remedy: p.Options.commands.To("remove the label", remove)})
}

// ask lets both servers judge, by dry runs, all that the unjoin deletes and changes, except the MemberCluster, which the host
// has judged already.
func (p *UnjoinPlan) ask(ctx context.Context) ([]Finding, error) {
	questions := p.questions(p.facts.MemberLacks, nil)
	if name := p.Options.Name; p.facts.Host.Member != nil && p.facts.MayDeleteCredential {
		questions = append(questions, question{about: host.CredentialRef(name), ask: func(ctx context.Context) error {
			return p.host.Delete(ctx, host.CredentialRef(name), cluster.Preconditions{}, cluster.DryRunServer)
		}})
	}
	findings, _, err := answers(ctx, questions)
	return findings, err
}

// Apply carries the plan out. When it fails after something was changed, the error is a *Partial with the command that
// continues.
func (p *UnjoinPlan) Apply(ctx context.Context, progress func(Step)) (*Result, error) {
	if err := p.run(ctx, p.Options.DryRun, progress, p.failed); err != nil {
		return nil, err
	}
	r := &Result{Done: "unjoined", Notes: slices.Concat(p.notes, p.learned)}
	if p.Already() {
		r.Done = "already unjoined"
	}
	if p.finishing {
		r.Reason = "namespace " + v1alpha1.MemberNamespace + " on the member is still terminating; all grants are already removed"
	}
	return r, nil
}

// remove deletes the object that was read, and not one that has come in its place.
func (p *UnjoinPlan) remove(ref cluster.Ref, live *unstructured.Unstructured) func(context.Context) error {
	return func(ctx context.Context) error {
		err := p.member.Remove(ctx, ref, cluster.Preconditions{UID: live.GetUID()})
		if apierrors.IsConflict(err) {
			return fmt.Errorf("%w: another join has created it again", err)
		}
		return err
	}
}

func (p *UnjoinPlan) removeNamespace(ctx context.Context) error {
	outcome, err := p.member.RemoveNamespace(ctx)
	if err != nil {
		return err
	}
	p.finishing = outcome.Deleted
	if outcome.Kept != "" {
		remedy := ""
		if outcome.Holds {
			remedy = p.Options.commands.To("if it is not needed, delete it", command.KubectlDelete{Object: member.NamespaceRef().Object(), Cluster: &p.Options.Cluster})
		}
		p.learn(about(cluster.Member, member.NamespaceRef(), "stays: "+outcome.Kept, remedy))
	}
	return nil
}

// lingerTimeout is how long an unjoin, or a move, waits for finalizers of the MemberCluster.
const lingerTimeout = 5 * time.Second

// forget deletes the MemberCluster that was read, and not one that has come in its place. It returns when that is gone: until
// then its name, its cluster ID and its place in the federation are taken.
func (p *plan) forget(ctx context.Context, record *v1alpha1.MemberCluster) error {
	var lingering *cluster.Lingering
	err := poll(ctx, planInterval, lingerTimeout, func() (bool, error) {
		err := p.host.Remove(ctx, host.MemberRef(v1alpha1.MemberName(record.Name)), cluster.Preconditions{UID: record.UID})
		if errors.As(err, &lingering) {
			return false, nil
		}
		return true, err
	})
	if errors.Is(err, errPatience) {
		return lingering
	}
	return err
}

// failed says how things stand after a step failed. What was revoked stays revoked.
func (p *UnjoinPlan) failed(_ context.Context, err error) error {
	if !p.begun {
		return err
	}
	partial := p.partial(err)
	steps := 0
	for i, s := range p.Steps {
		if s.Verb == VerbTry {
			continue
		}
		if steps++; !p.done[i] {
			partial.Left = append(partial.Left, s.place())
		}
	}
	if done := steps - len(partial.Left); done > 0 {
		partial.Done = []string{fmt.Sprintf("%d of %d steps", done, steps)}
	}
	if errors.Is(err, errStillWorks) {
		again := p.Options.command()
		again.Cluster, again.TrustContext = command.Cluster{Kubeconfig: again.Cluster.Kubeconfig}, false
		partial.Next = p.Options.commands.Line(again)
	}
	return partial
}
