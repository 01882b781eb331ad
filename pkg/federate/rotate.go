package federate

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

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
	return command.Rotate{Member: o.Name, Cluster: o.Cluster, TokenLifetime: o.TokenLifetime}
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

// Phases of a round, in order. The second round begins where the first ends.
const (
	phaseBind   phase = iota // the Secret that the new token is bound to
	phaseToken               // the token
	phaseTry                 // it is tried at the stored endpoint
	phaseStore               // it is stored: from here on there is no way back
	phaseCut                 // the Secret that the old token is bound to is deleted
	phaseEnd                 // the member refuses the old token
	roundPhases              // how many there are
)

// round is one replacement: a token bound to one Secret is stored, and then the other Secret is deleted. A
// rotation that was cut off leaves two Secrets, and only the host knows which one counts: the first round
// makes one of them count, the second replaces it.
type round struct {
	to cluster.Ref
	// standing is the Secret to bind to when it exists already.
	standing *unstructured.Unstructured
	from     cluster.Ref
}

// RotatePlan is what a rotation will do.
type RotatePlan struct {
	Options RotateOptions
	plan

	facts rotateFacts
	// current is the replacement that is at work.
	current *replacement
	token   member.Token
	// direct says that the stored endpoint is not to be reached from here: tokens are tried where the caller
	// reaches the member.
	direct bool
	// stored says that the new credential is stored, or may be; until then there is a way back. state is then which one works,
	// and left the Secret that is still to be deleted.
	stored bool
	state  string
	left   []string
	// replaced says that a credential of an earlier round is stored, and works.
	replaced bool
	// undone says that a Secret of this run was found and deleted.
	undone bool
}

// Verb is what the plan does to the member.
func (p *RotatePlan) Verb() string { return "rotate" }

// rotateFacts are everything that a rotation's plan is made from.
type rotateFacts struct {
	Host   host.State
	Member member.State
	// Missing are rights that the caller lacks.
	Missing []missing
	Now     time.Time
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
	plan, against := planRotate(*facts, o)
	plan.host, plan.member = h, m
	if len(against) == 0 && o.DryRun == cluster.DryRunServer {
		if against, err = plan.ask(ctx); err != nil {
			return nil, err
		}
	}
	if err := refuse(o, against); err != nil {
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
	target.Federation = f.Host.Member.Federation()
	refs := member.BindingRefs()
	hostRights, memberRights := target.CredentialRights(), member.RotateRights(refs[0], refs[1])
	var hostLacks, memberLacks []cluster.Right
	if err := bothSides(cluster.Together(
		func() (err error) { hostLacks, err = h.Lacking(ctx, hostRights); return err },
		func() (err error) { memberLacks, err = m.Lacking(ctx, memberRights); return err },
	)); err != nil {
		return nil, err
	}
	var needed []cluster.Right
	for _, x := range f.rounds() {
		needed = append(needed, member.RotateRights(x.from, x.to)...)
	}
	f.Missing = append(missingOf(cluster.Host, hostLacks, hostRights), missingOf(cluster.Member, memberLacks, needed)...)
	if len(f.Missing) == 0 {
		// What was forbidden although the caller has the rights would else pass for missing.
		for _, ref := range []cluster.Ref{cluster.IdentityNamespace, member.MembershipRef(), refs[0], refs[1]} {
			if err := f.Member.Denied[ref]; err != nil {
				return nil, err
			}
		}
	}
	return f, nil
}

// rounds are the replacements that end with one Secret that is newer than all that existed.
func (f *rotateFacts) rounds() []round {
	refs := member.BindingRefs()
	newer, older, interrupted := f.both()
	switch {
	case interrupted:
		return []round{{to: newer, standing: f.Member.Objects[newer], from: older}, {to: older, from: newer}}
	case f.Member.Objects[refs[1]] != nil:
		return []round{{to: refs[0], from: refs[1]}}
	}
	return []round{{to: refs[1], from: refs[0]}}
}

// planRotate makes the plan and says what stands against it. It is pure.
func planRotate(f rotateFacts, o RotateOptions) (*RotatePlan, []Finding) {
	p := &RotatePlan{Options: o, plan: plan{of: o}, facts: f}
	if f.Host.Member == nil {
		return p, []Finding{{Side: cluster.Host, Object: host.MemberRef(o.Name).String(), Cause: "not found", Remedy: o.commands.To("list the members", command.Get{})}}
	}
	against := append(deniedRights(f.Missing), p.judgeMember()...)
	if len(against) > 0 {
		return p, against
	}
	rounds := f.rounds()
	if len(rounds) > 1 {
		p.note(Finding{Side: cluster.Member, Object: rounds[0].to.String(),
			Cause: "left over from an interrupted rotation, which is completed first"})
	}
	for i, x := range rounds {
		p.planRound(x, phase(i)*roundPhases)
	}
	return p, nil
}

// planRound plans one replacement, whose phases begin at first.
func (p *RotatePlan) planRound(x round, first phase) {
	o, record := p.Options, p.facts.Host.Member
	t := &replacement{plan: p, round: x, revokes: x.standing != nil || p.facts.Member.Objects[x.from] != nil}
	step := func(s Step, at phase, do func(context.Context) error) {
		s.phase, s.do = first+at, do
		p.Steps = append(p.Steps, s)
	}
	if x.standing == nil {
		step(Step{Side: cluster.Member, Verb: VerbCreate, Object: x.to, Manifest: member.BindingManifest(x.to).Manifest, undo: t.undo}, phaseBind, t.bind)
	}
	step(Step{Side: cluster.Member, Verb: VerbRequest, Object: member.ManagerAccountRef(), Note: "a token for " + short(o.lifetime()) + ", bound to " + x.to.String()}, phaseToken, t.request)
	step(Step{Side: cluster.Member, Verb: VerbTry, Note: "the new credential at " + record.Spec.Server}, phaseTry, t.try)
	step(Step{Side: cluster.Host, Verb: VerbStore, Object: host.CredentialRef(o.Name), Manifest: host.CredentialManifest(record)}, phaseStore, t.store)
	if t.revokes {
		step(Step{Side: cluster.Member, Verb: VerbDelete, Object: x.from, Note: "revokes the old credential"}, phaseCut, t.revoke)
		step(Step{Side: cluster.Member, Verb: VerbWait, Note: "until the old credential is refused; API servers remember accepted tokens for ten seconds"}, phaseEnd, t.awaitRefusal)
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
	account := member.ManagerAccountRef() // the caller need not have the right to read it
	if f.Member.Membership == nil || f.Member.Membership.MemberUID != record.UID || f.Member.Objects[account] == nil && f.Member.Denied[account] == nil {
		if len(f.Missing) > 0 {
			return nil // what the caller may not read is not missing
		}
		return []Finding{{Side: cluster.Member, Object: host.MemberRef(o.Name).String(), Cause: "its join is not finished, or was removed from the cluster",
			Remedy: o.commands.To("join it again", join.command())}}
	}
	for _, ref := range member.BindingRefs() {
		if o := f.Member.Objects[ref]; o != nil && !member.ByJoin(o) {
			return notByJoin(ref)
		}
	}
	return nil
}

// ask lets the member judge, with dry runs, the Secrets that are made and deleted.
func (p *RotatePlan) ask(ctx context.Context) ([]Finding, error) {
	dry := cluster.DryRunServer
	for _, s := range p.Steps {
		var err error
		switch s.phase % roundPhases {
		case phaseBind:
			if p.facts.Member.Objects[s.Object] != nil {
				continue // the first of two rounds deletes it
			}
			_, err = p.member.Create(ctx, s.Object.Resource, s.Manifest, dry)
		case phaseCut:
			err = p.member.Delete(ctx, s.Object, cluster.Preconditions{}, dry)
		}
		if isRefused(err) {
			return findingsOf(err), nil
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, nil
}
