package federate

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// RotateOptions say whose credential is replaced and how.
type RotateOptions struct {
	Name v1alpha1.MemberName
	// TokenLifetime is how long the new credential is asked to live, within the bounds of pkg/member; 0 means
	// DefaultTokenLifetime.
	TokenLifetime time.Duration
	DryRun        cluster.DryRun
	Way
	// Cluster leads to the member. It appears in messages only.
	Cluster command.Cluster
	// Progress is called for every wait while planning; it may be nil.
	Progress func(Step)

	commands command.Host
}

func (o RotateOptions) operation() string { return fmt.Sprintf("rotate the credential of %q", o.Name) }

func (o RotateOptions) lifetime() time.Duration { return cmp.Or(o.TokenLifetime, DefaultTokenLifetime) }

// command is the command that rotates again.
func (o RotateOptions) command() command.Rotate {
	return command.Rotate{Member: o.Name, Cluster: o.Cluster, TokenLifetime: o.TokenLifetime, TrustContext: o.TrustContext}
}

func (o RotateOptions) again() string { return o.commands.Line(o.command()) }

// join are the options of a join of the same cluster.
func (o RotateOptions) join(record *v1alpha1.MemberCluster) JoinOptions {
	return JoinOptions{Name: o.Name, Federation: record.Federation(), Cluster: o.Cluster, commands: o.commands}
}

// rotateLease is how long another rotation of the same member is waited for. A rotation ends its writes within
// rotateTimeout, so that one that died blocks others for no longer.
const (
	rotateTimeout = 45 * time.Second
	rotateLease   = time.Minute
)

// Phases of a rotation, in order.
const (
	phaseBind    phase = iota // the Secret that the new token is bound to
	phaseProbe                // the stored endpoint takes tokens of the account as it is
	phaseAccount              // the manager's account is made anew, which ends every token that it ever had: there is no way back
	phaseToken                // the new token
	phaseStore                // it is stored
	phaseTry                  // it is tried at the stored endpoint
	phaseCut                  // the Secret that the old token was bound to goes, and the consumer's account is made anew
	phaseEnd                  // the member refuses old tokens
)

// RotatePlan is what a rotation will do.
type RotatePlan struct {
	Options RotateOptions
	plan

	facts rotateFacts
	// to is the Secret that the new token is bound to, standing that Secret where it exists already, and from the other one.
	to, from cluster.Ref
	standing *unstructured.Unstructured

	attempt attempt
	// until is when the writes must have ended, so that others need not wait longer than rotateLease.
	until time.Time
	bound member.Binding
	// account is the UID of the manager's account, once it is made anew.
	account types.UID
	token   cluster.Token
	// canary reaches the member with a token of the account as it was; nil where there was none.
	canary *member.Cluster
	// direct says that the stored endpoint is not to be reached from here: tokens are tried where the caller
	// reaches the member.
	direct bool
	// state says how things stand when there is no way back any more; it is empty until then.
	state string
	// undone says that a Secret of this run was found and deleted.
	undone bool
}

// Verb is what the plan does to the member.
func (p *RotatePlan) Verb() string { return "rotate" }

// rotateFacts are everything that a rotation's plan is made from.
type rotateFacts struct {
	Host   host.State
	Member member.State
	// HostMissing are rights that the caller lacks on the host, and MemberLacks those on the member, of all that the plan takes.
	HostMissing []missing
	MemberLacks []cluster.Right
	// Unproven says why the member's cluster is not proved to be the one that answers; nil when it is.
	Unproven *Unproven
	Now      time.Time
}

// PlanRotate reads both sides and judges what it read. It writes nothing. The error is a *Refusal with everything
// that stands against the rotation, or says what could not be read.
func PlanRotate(ctx context.Context, h *host.Cluster, m *member.Cluster, o RotateOptions) (*RotatePlan, error) {
	o.commands = h.Commands
	if err := refuse(o, judgeName(cluster.MemberClusters, string(o.Name))); err != nil {
		return nil, err
	}
	var facts *rotateFacts
	err := await(ctx, planInterval, o.Progress, func() (s *Step, err error) {
		if facts, err = readRotate(ctx, h, m, o); err == nil {
			s = facts.waitsFor()
		}
		return s, err
	})
	if err != nil {
		return nil, err
	}
	if facts.Unproven != nil {
		trusting := o.command()
		trusting.TrustContext = true
		return nil, facts.Unproven.refuse(o, o.commands.To("if it is that member all the same, say so", trusting))
	}
	plan, against := planRotate(*facts, o)
	plan.host, plan.member = h, m
	if o.DryRun != cluster.DryRunClient && facts.Host.Member != nil {
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

// both are the two Secrets, the one that was made last first, while a rotation is at work or was interrupted.
func (f *rotateFacts) both() (newer, older cluster.Ref, ok bool) {
	refs := member.BindingRefs()
	first, second := f.Member.Objects[refs[0]], f.Member.Objects[refs[1]]
	switch {
	case first == nil || second == nil:
		return newer, older, false
	case first.GetCreationTimestamp().After(second.GetCreationTimestamp().Time):
		return refs[0], refs[1], true
	}
	return refs[1], refs[0], true
}

// waitsFor is another rotation that is at work; nil when none is. While one is, both Secrets exist and the newer one carries
// its stamp.
func (f *rotateFacts) waitsFor() *Step {
	newer, _, ok := f.both()
	if !ok {
		return nil
	}
	a := parseAttempt(f.Member.Objects[newer].GetAnnotations()[v1alpha1.AnnotationAttempt])
	if f.Now.Sub(a.at) >= rotateLease {
		return nil
	}
	return &Step{Side: cluster.Member, Verb: VerbWait, Object: newer, Note: "another rotation has been at work since " + a.at.UTC().Format(time.RFC3339)}
}

func readRotate(ctx context.Context, h *host.Cluster, m *member.Cluster, o RotateOptions) (*rotateFacts, error) {
	f := &rotateFacts{Now: time.Now()}
	target := host.Target{Member: o.Name}
	var hostState *host.State
	var memberState *member.State
	if err := bothSides(cluster.Together(
		func() (err error) { hostState, err = h.Read(ctx, target); return err },
		func() (err error) { memberState, err = m.Read(ctx); return err },
	)); err != nil {
		return nil, err
	}
	f.Host, f.Member = *hostState, *memberState
	if f.Host.Member == nil {
		return f, f.Host.Denied.First()
	}
	var err error
	if f.Unproven, err = o.unproven(ctx, m, f.Host.Member, f.Member.ID); err != nil || f.Unproven != nil {
		return f, err
	}
	target.Federation = f.Host.Member.Federation()
	hostRights := target.CredentialRights()
	var hostLacks []cluster.Right
	var administers bool // on the member
	if err := bothSides(cluster.Together(
		func() (err error) { hostLacks, err = h.Lacking(ctx, hostRights); return err },
		func() (err error) { administers, err = m.HasAllRights(ctx); return err },
	)); err != nil {
		return nil, err
	}
	f.HostMissing = missingOf(cluster.Host, hostLacks, hostRights)
	if administers {
		if err := f.Member.Denied.First(member.VersionRef, member.NodesRef); err != nil {
			return nil, err
		}
	} else {
		// The plan says which rights it takes.
		plan, _ := planRotate(*f, o)
		var err error
		if f.MemberLacks, err = m.LackingOf(ctx, plan.rights()); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// planRotate makes the plan and says what stands against it. It is pure.
func planRotate(f rotateFacts, o RotateOptions) (*RotatePlan, []Finding) {
	p := &RotatePlan{Options: o, plan: plan{of: o}, facts: f}
	refs := member.BindingRefs()
	if f.Host.Member == nil {
		return p, []Finding{{Side: cluster.Host, Object: host.MemberRef(o.Name).String(), Cause: "not found", Remedy: o.commands.To("list the members", command.Get{})}}
	}
	against := p.judgeMember()
	p.planSecret()
	p.planPolicy()
	p.planAccounts()
	lacking, _ := p.lacking(f.MemberLacks)
	reads := append([]cluster.Ref{cluster.IdentityNamespace, member.MembershipRef(), member.ManagerAccountRef(), member.ConsumerRefs()[1], member.ServicesAccountRef()}, refs[:]...)
	denied := slices.Concat(f.HostMissing, unread(f.Member.Denied, reads), lacking)
	return p, append(deniedRights(denied), against...)
}

// planSecret chooses the Secret that the new token is bound to: one that does not exist yet or, where a rotation was
// interrupted, the newer one. Every token that was bound to that one ends with the account.
func (p *RotatePlan) planSecret() {
	f := &p.facts
	refs := member.BindingRefs()
	newer, older, interrupted := f.both()
	s := Step{Side: cluster.Member, Verb: VerbCreate, phase: phaseBind, posted: true, do: p.bind, undo: p.unbind}
	switch {
	case interrupted:
		p.to, p.from, p.standing = newer, older, f.Member.Objects[newer]
		s.Verb, s.Note = VerbUpdate, "left over from an interrupted rotation, which this one completes"
	case f.Member.Objects[refs[1]] != nil:
		p.to, p.from = refs[0], refs[1]
	default:
		p.to, p.from = refs[1], refs[0]
	}
	s.Object = p.to
	if p.standing == nil {
		s.Manifest = member.BindingManifest(p.to).Manifest
	}
	p.step(s)
}

// planPolicy adapts the policy to another lifetime; a join makes it where it does not exist.
func (p *RotatePlan) planPolicy() {
	f := p.facts
	for _, o := range (member.Grants{TokenLifetime: p.Options.lifetime()}).Policy() {
		live := f.Member.Objects[o.Ref]
		if live == nil || cluster.Covers(live.Object, o.Manifest.Object) {
			continue
		}
		s := Step{Side: cluster.Member, Verb: VerbUpdate, Object: o.Ref, Manifest: o.Manifest, phase: phaseBind, live: live, Note: "tokens for " + short(p.Options.lifetime())}
		s.do = func(ctx context.Context) error {
			_, err := p.member.Apply(ctx, s.Object.Resource, s.Manifest, cluster.DryRunNone)
			return err
		}
		if lacks := missingOf(cluster.Member, f.MemberLacks, s.rights()); !member.ByJoin(live) || len(lacks) > 0 {
			p.note(about(cluster.Member, o.Ref, "is not yours to change: tokens that the manager requests live as long as it allows", ""))
			continue
		}
		p.step(s)
	}
}

// planAccounts plans everything from the trial of the endpoint to the end of the old tokens.
func (p *RotatePlan) planAccounts() {
	o, f, record := p.Options, p.facts, p.facts.Host.Member
	account, from := f.Member.Objects[member.ManagerAccountRef()], f.Member.Objects[p.from]
	if account != nil {
		p.step(Step{Side: cluster.Member, Verb: VerbTry, Note: "the endpoint " + record.Spec.Server + ", with a token for " + short(member.MinTokenLifetime), phase: phaseProbe, do: p.probe})
	}
	const ends = "ends every token that it ever had"
	accounts := member.Grants{AccessRole: "any", Services: "any"}.Accounts()
	manager := Step{Side: cluster.Member, Verb: VerbReplace, Object: accounts[0].Ref, Manifest: accounts[0].Manifest, Note: ends, phase: phaseAccount, posted: true, live: account}
	if account == nil {
		manager.Verb, manager.Note = VerbCreate, ""
	}
	manager.do = func(ctx context.Context) error { return p.renewManager(ctx, manager) }
	p.step(manager)
	p.step(Step{Side: cluster.Member, Verb: VerbRequest, Object: member.ManagerAccountRef(), Note: "a token for " + short(o.lifetime()) + ", bound to " + p.to.String(),
		phase: phaseToken, live: account, boundTo: from, do: p.request})
	p.step(Step{Side: cluster.Host, Verb: VerbStore, Object: host.CredentialRef(o.Name), Manifest: host.CredentialManifest(record), phase: phaseStore, do: p.store})
	p.step(Step{Side: cluster.Member, Verb: VerbTry, Note: "the new credential at " + record.Spec.Server, phase: phaseTry, do: p.try})
	if from != nil {
		p.step(Step{Side: cluster.Member, Verb: VerbDelete, Object: p.from, Note: "the old credential was bound to it", phase: phaseCut, live: from, do: p.cut})
	}
	for _, other := range accounts[1:] {
		live := f.Member.Objects[other.Ref]
		if live == nil {
			continue
		}
		s := Step{Side: cluster.Member, Verb: VerbReplace, Object: other.Ref, Manifest: other.Manifest, Note: ends, phase: phaseCut, posted: true, live: live}
		s.do = func(ctx context.Context) error {
			_, err := p.renew(ctx, s, func() {})
			return err
		}
		p.step(s)
	}
	if account != nil {
		p.step(Step{Side: cluster.Member, Verb: VerbWait, Note: "until old tokens are refused; API servers remember accepted ones for ten seconds", phase: phaseEnd, do: p.awaitRefusal})
	}
}

// judgeMember says whether the cluster that was named is the member, and whether it can have a new credential.
func (p *RotatePlan) judgeMember() []Finding {
	f, o, record := p.facts, p.Options, p.facts.Host.Member
	join := o.join(record)
	if record.Spec.ClusterID != string(f.Member.ID) && f.Member.ID != "" {
		return []Finding{otherCluster(record, f.Member.ID)}
	}
	if k := f.Member.Membership; k != nil {
		if against := judgeMembership(k, f.Host.ID, join); len(against) > 0 {
			return against
		}
	}
	if f.Member.Denied[member.MembershipRef()] != nil {
		return nil // what the caller may not read is not missing
	}
	if f.Member.Membership == nil || f.Member.Membership.MemberUID != record.UID || f.bare() {
		return []Finding{{Side: cluster.Member, Object: host.MemberRef(o.Name).String(), Cause: "its join is not finished, or was removed from the cluster",
			Remedy: o.commands.To("join it again", join.join())}}
	}
	refs := member.BindingRefs()
	for _, ref := range append(refs[:], member.ManagerAccountRef(), member.ConsumerRefs()[1], member.ServicesAccountRef()) {
		o := f.Member.Objects[ref]
		if o == nil {
			continue
		}
		if !member.ByJoin(o) {
			return notByJoin(ref)
		}
		if finalizers := o.GetFinalizers(); len(finalizers) > 0 {
			return []Finding{about(cluster.Member, ref, "has finalizers, so that its deletion would not end: "+strings.Join(finalizers, ", "), "remove them first")}
		}
	}
	return nil
}

// bare says that the account is gone and so is what gives it rights: a rotation makes the account anew, but not those.
func (f *rotateFacts) bare() bool {
	if f.Member.Objects[member.ManagerAccountRef()] != nil {
		return false
	}
	return slices.ContainsFunc(member.Grants{}.Bindings(), func(o member.Object) bool {
		return f.Member.Objects[o.Ref] == nil && f.Member.Denied[o.Ref] == nil
	})
}

// ask lets both servers judge, by dry runs, all that the rotation writes.
func (p *RotatePlan) ask(ctx context.Context) ([]Finding, error) {
	questions := p.questions(p.facts.MemberLacks, nil)
	if len(p.facts.HostMissing) == 0 {
		record := p.facts.Host.Member
		questions = append(questions, question{about: host.CredentialRef(p.Options.Name), ask: func(ctx context.Context) error { return p.host.JudgeCredential(ctx, record) }})
	}
	findings, _, err := answers(ctx, questions)
	return findings, err
}
