package federate

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// RotateOptions say whose credential is replaced and how.
type RotateOptions struct {
	Name v1alpha1.MemberName
	// TokenLifetime is how long the new credential is asked to live, within the bounds of pkg/member; 0 means
	// DefaultTokenLifetime.
	TokenLifetime time.Duration
	DryRun        DryRun
	// MemberContext is the name of the member's context. It appears in messages only.
	MemberContext string
	// Progress is told of every wait while planning; it may be nil.
	Progress func(Step)
}

func (o RotateOptions) operation() string { return fmt.Sprintf("rotate the credential of %q", o.Name) }

func (o RotateOptions) command() string { return rotateCommand(o.Name, o.MemberContext) }

func (o RotateOptions) lifetime() time.Duration { return cmp.Or(o.TokenLifetime, DefaultTokenLifetime) }

// rotateCommand is the command line that replaces a member's credential.
func rotateCommand(name v1alpha1.MemberName, context string) string {
	return "kubectl federate rotate " + string(name) + " --member-context " + contextWord(context)
}

// rotateLease is how long another rotation of the same member is waited for. Its own writes end before
// rotateTimeout, so that one that died holds nobody up for longer.
const (
	rotateTimeout = 45 * time.Second
	rotateLease   = time.Minute
)

// pass is one replacement: a token bound to one Secret is stored, and then the other Secret is deleted. A
// rotation that was cut off leaves two Secrets, and nobody but the host knows which one counts: the first pass
// makes one of them count, the second replaces it.
type pass struct {
	to cluster.Ref
	// standing is the Secret to bind to when it is there already.
	standing *unstructured.Unstructured
	from     cluster.Ref
}

// RotatePlan is what a rotation will do.
type RotatePlan struct {
	Options RotateOptions
	Steps   []Step
	// Notes are what a person should know and what does not stand against the rotation.
	Notes []Finding

	host   *host.Cluster
	member *member.Cluster
	facts  rotateFacts
	passes []pass
}

// Text is the plan with one line per step.
func (p *RotatePlan) Text() string { return text(p.Steps) }

// Objects are what the plan writes, in order. The credential is there without its content.
func (p *RotatePlan) Objects() []*unstructured.Unstructured { return objects(p.Steps) }

// rotateFacts are everything that a rotation's plan is made from.
type rotateFacts struct {
	Host   host.State
	Member member.State
	// Missing are rights that the caller has not.
	Missing []missing
	Now     time.Time
}

// PlanRotate reads both sides and judges what it read. It writes nothing. The error is a *Refusal with everything
// that stands against the rotation, or says what could not be read.
func PlanRotate(ctx context.Context, h *host.Cluster, m *member.Cluster, o RotateOptions) (*RotatePlan, error) {
	if findings := judgeName(cluster.MemberClusters, string(o.Name)); len(findings) > 0 {
		return nil, &Refusal{Operation: o.operation(), Findings: findings}
	}
	facts, err := readRotate(ctx, h, m, o)
	if err != nil {
		return nil, err
	}
	plan, against := planRotate(*facts, o)
	plan.host, plan.member = h, m
	if len(against) == 0 && o.DryRun == DryRunServer {
		if against, err = plan.ask(ctx); err != nil {
			return nil, err
		}
	}
	if len(against) > 0 {
		return nil, &Refusal{Operation: o.operation(), Findings: against}
	}
	return plan, nil
}

// readRotate reads both sides until no other rotation of the member is at work.
func readRotate(ctx context.Context, h *host.Cluster, m *member.Cluster, o RotateOptions) (*rotateFacts, error) {
	told := false
	for {
		f, err := readRotateOnce(ctx, h, m, o)
		if err != nil {
			return nil, err
		}
		wait := f.waitsFor()
		if wait == nil {
			return f, nil
		}
		if !told && o.Progress != nil {
			o.Progress(*wait)
			told = true
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%s: %s: %s: %w", wait.Side, wait.Object, wait.Note, stopped(ctx, ctx.Err()))
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// waitsFor is another rotation that is at work; nil when none is. While one is, both Secrets are there and the
// newer one carries its stamp.
func (f *rotateFacts) waitsFor() *Step {
	refs := member.BindingRefs()
	if f.Member.Objects[refs[0]] == nil || f.Member.Objects[refs[1]] == nil {
		return nil
	}
	newer := f.newer()
	a := parseAttempt(newer.GetAnnotations()[v1alpha1.AnnotationAttempt])
	if f.Now.Sub(a.at) >= rotateLease {
		return nil
	}
	return &Step{Side: SideMember, Verb: VerbWait, Object: cluster.Secrets.Of(newer),
		Note: "another rotation has been at work since " + a.at.UTC().Format(time.RFC3339)}
}

// newer is the one of two Secrets that was made last.
func (f *rotateFacts) newer() *unstructured.Unstructured {
	refs := member.BindingRefs()
	first, second := f.Member.Objects[refs[0]], f.Member.Objects[refs[1]]
	if first.GetCreationTimestamp().After(second.GetCreationTimestamp().Time) {
		return first
	}
	return second
}

func readRotateOnce(ctx context.Context, h *host.Cluster, m *member.Cluster, o RotateOptions) (*rotateFacts, error) {
	f := &rotateFacts{Now: time.Now()}
	target := host.Target{Member: o.Name}
	var hostState *host.State
	var memberState *member.State
	reads := []func() error{
		func() (err error) { hostState, err = h.Read(ctx, target); return err },
		func() (err error) { memberState, err = m.Read(ctx); return err },
	}
	errs := cluster.Together(reads...)
	if err := bothSides(errs); err != nil {
		return nil, err
	}
	f.Host, f.Member = *hostState, *memberState
	if f.Host.Member == nil {
		return f, f.Host.Denied.First()
	}
	target.Federation = f.Host.Member.Federation()
	refs := member.BindingRefs()
	hostRights, memberRights := target.CredentialRights(), member.RotateRights(refs[0], refs[1])
	var hostMay, memberMay []bool
	asks := []func() error{
		func() (err error) { hostMay, err = h.Allowed(ctx, hostRights); return err },
		func() (err error) { memberMay, err = m.Allowed(ctx, memberRights); return err },
	}
	errs = cluster.Together(asks...)
	if err := bothSides(errs); err != nil {
		return nil, err
	}
	var needed []cluster.Right
	for _, p := range f.passes() {
		needed = append(needed, member.RotateRights(p.from, p.to)...)
	}
	f.Missing = append(lacking(SideHost, hostRights, hostMay), lacking(SideMember, memberRights, memberMay, needed...)...)
	if len(f.Missing) == 0 {
		// What was forbidden, and by rights is not, would else pass for missing.
		for _, ref := range []cluster.Ref{{Resource: cluster.Namespaces, Name: v1alpha1.IdentityNamespace}, member.MembershipRef(), refs[0], refs[1]} {
			if err := f.Member.Denied[ref]; err != nil {
				return nil, err
			}
		}
	}
	return f, nil
}

// passes are the replacements that end with one Secret that is newer than all that were there.
func (f *rotateFacts) passes() []pass {
	refs := member.BindingRefs()
	first, second := f.Member.Objects[refs[0]], f.Member.Objects[refs[1]]
	switch {
	case first != nil && second != nil && f.newer() == first:
		return []pass{{to: refs[0], standing: first, from: refs[1]}, {to: refs[1], from: refs[0]}}
	case first != nil && second != nil:
		return []pass{{to: refs[1], standing: second, from: refs[0]}, {to: refs[0], from: refs[1]}}
	case second != nil:
		return []pass{{to: refs[0], from: refs[1]}}
	}
	return []pass{{to: refs[1], from: refs[0]}}
}

// planRotate makes the plan and says what stands against it. It is pure.
func planRotate(f rotateFacts, o RotateOptions) (*RotatePlan, []Finding) {
	p := &RotatePlan{Options: o, facts: f, passes: f.passes()}
	record := f.Host.Member
	if record == nil {
		return p, []Finding{{Side: SideHost, Object: host.MemberRef(o.Name).String(), Cause: "not found", Remedy: "choose one of kubectl federate get"}}
	}
	var against []Finding
	for _, m := range f.Missing {
		against = append(against, Finding{Side: m.side, Cause: "you have no right to " + m.right.String()})
	}
	against = append(against, judgeLifetime(o.lifetime())...)
	against = append(against, p.judgeMember()...)
	if len(against) > 0 {
		return p, against
	}
	if len(p.passes) > 1 {
		p.Notes = append(p.Notes, Finding{Side: SideMember, Object: p.passes[0].to.String(),
			Cause: "is left by a rotation that did not end; it is finished first"})
	}
	there := f.Member.Objects
	for _, x := range p.passes {
		if x.standing == nil {
			p.step(Step{Side: SideMember, Verb: VerbCreate, Object: x.to, Manifest: member.BindingManifest(x.to).Manifest})
		}
		p.step(Step{Side: SideMember, Verb: VerbRequest, Object: member.ManagerAccountRef(), Note: "a token for " + short(o.lifetime()) + ", bound to " + x.to.String()})
		p.step(Step{Side: SideMember, Verb: VerbTry, Note: "the new credential at " + record.Spec.Server})
		p.step(Step{Side: SideHost, Verb: VerbStore, Object: host.CredentialRef(o.Name), Manifest: host.CredentialManifest(record)})
		if x.standing != nil || there[x.from] != nil {
			p.step(Step{Side: SideMember, Verb: VerbDelete, Object: x.from, Note: "revokes the old credential"})
			p.step(Step{Side: SideMember, Verb: VerbWait, Note: "until the old credential is refused"})
		}
	}
	return p, nil
}

// judgeMember says whether the cluster that was named is the member, and whether it can have a new credential.
func (p *RotatePlan) judgeMember() []Finding {
	f, o, record := p.facts, p.Options, p.facts.Host.Member
	ref := host.MemberRef(o.Name).String()
	join := JoinOptions{Name: o.Name, Federation: record.Federation(), MemberContext: o.MemberContext}
	if record.Spec.ClusterID != string(f.Member.ID) && f.Member.ID != "" {
		return []Finding{{Side: SideMember, Object: ref,
			Cause:  fmt.Sprintf("is another cluster (ID %s) than the one you named (ID %s)", record.Spec.ClusterID, f.Member.ID),
			Remedy: "name the member's own context with --member-context"}}
	}
	if k := f.Member.Membership; k != nil {
		if against := judgeMembership(k, joinFacts{Host: f.Host}, join); len(against) > 0 {
			return against
		}
	}
	account := member.ManagerAccountRef() // who rotates need not have the right to read it
	if f.Member.Membership == nil || f.Member.Membership.MemberUID != record.UID || f.Member.Objects[account] == nil && f.Member.Denied[account] == nil {
		if len(f.Missing) > 0 {
			return nil // what the caller may not read is not missing
		}
		return []Finding{{Side: SideMember, Object: ref, Cause: "its join is not finished, or was taken off the cluster", Remedy: join.command()}}
	}
	for _, at := range member.BindingRefs() {
		if o := f.Member.Objects[at]; o != nil && !managed(o) {
			return []Finding{{Side: SideMember, Object: at.String(),
				Cause:  "is there already and not ours (it lacks the label " + v1alpha1.LabelManagedBy + "=" + v1alpha1.ManagedByJoin + ")",
				Remedy: "see whose it is, then delete or rename it"}}
		}
	}
	return nil
}

func (p *RotatePlan) step(s Step) { p.Steps = append(p.Steps, s) }

// ask lets the member judge, with dry runs, the Secrets that are made and deleted.
func (p *RotatePlan) ask(ctx context.Context) ([]Finding, error) {
	dry := cluster.DryRunServer
	for _, x := range p.passes {
		var err error
		if p.facts.Member.Objects[x.to] == nil {
			_, err = p.member.Create(ctx, x.to.Resource, member.BindingManifest(x.to).Manifest, dry)
		}
		if err == nil {
			err = p.member.Delete(ctx, x.from, cluster.Preconditions{}, dry)
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
