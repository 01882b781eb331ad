package federate

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// RotateResult is a rotation that is done: the new credential is stored and the old one is refused.
type RotateResult struct {
	// Member is the member as the host keeps it.
	Member *v1alpha1.MemberCluster
	// Expires is when the new credential ends.
	Expires time.Time
	Notes   []Finding
}

// rotateRun is one application of a plan.
type rotateRun struct {
	plan     *RotatePlan
	progress func(Step)
	attempt  attempt
	notes    []Finding
	token    member.Token
	// direct says that the stored endpoint is not to be reached from here: tokens are tried where the caller
	// reaches the member.
	direct bool
}

// Apply carries the plan out and tells progress of each step that is done; progress may be nil. Until the new
// credential is stored a failure rolls back what was made, and the old one stays valid and stored: the error is
// then a *Refusal or an *Undone. Later it is a *Partial with the command that goes on. A plan of a dry run writes
// nothing.
func (p *RotatePlan) Apply(ctx context.Context, progress func(Step)) (*RotateResult, error) {
	run := &rotateRun{plan: p, progress: serial(progress), notes: p.Notes}
	if p.Options.DryRun == DryRunNone {
		for _, x := range p.passes {
			if err := run.pass(ctx, x); err != nil {
				return nil, err
			}
		}
	}
	return &RotateResult{Member: p.facts.Host.Member, Expires: run.token.Expires, Notes: run.notes}, nil
}

// pass stores a token that is bound to x.to, and then revokes all that are bound to x.from.
func (r *rotateRun) pass(ctx context.Context, x pass) error {
	r.attempt = newAttempt(time.Now())
	critical, cancel := context.WithTimeout(ctx, rotateTimeout)
	defer cancel()
	to := member.Binding{Ref: x.to}
	made := x.standing == nil
	if !made {
		to.UID = x.standing.GetUID()
	} else if err := r.bind(critical, &to); apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("%w: another rotation is at work; run this one again when it has ended", err)
	} else if err != nil {
		return r.takenBack(ctx, x, err)
	}
	err := r.request(critical, to)
	if err == nil {
		err = r.prove(critical)
	}
	if err != nil && made {
		return r.takenBack(ctx, x, err)
	}
	if err != nil {
		return r.refused(stopped(ctx, err), false)
	}
	if err := r.store(critical); err != nil {
		if isRefused(err) && made {
			return r.takenBack(ctx, x, err)
		}
		r.release(ctx, x.to)
		return r.partial(ctx, err, "it is not known which credential the host has stored; the old one and the new one both work", x.from)
	}
	return r.revoke(ctx, x, to)
}

// bind makes the Secret that the new token is bound to. By POST: of two rotations one learns that it was second.
func (r *rotateRun) bind(ctx context.Context, to *member.Binding) error {
	manifest := member.BindingManifest(to.Ref).Manifest
	manifest.SetAnnotations(map[string]string{v1alpha1.AnnotationAttempt: r.attempt.String()})
	o, err := r.plan.member.Create(ctx, to.Ref.Resource, manifest, cluster.DryRunNone)
	if err != nil {
		return err
	}
	to.UID = o.GetUID()
	r.progress(Step{Side: SideMember, Verb: VerbCreate, Object: to.Ref})
	return nil
}

func (r *rotateRun) request(ctx context.Context, to member.Binding) error {
	o, asked := r.plan.Options, time.Now()
	token, err := r.plan.member.RequestToken(ctx, o.lifetime(), to)
	if err != nil {
		return err
	}
	if r.token.Value == "" {
		r.notes = append(r.notes, judgeToken(token, asked, o.lifetime(), o.command())...)
	}
	r.token = token
	r.progress(Step{Side: SideMember, Verb: VerbRequest, Object: member.ManagerAccountRef()})
	return nil
}

// at is the way to the member with a token: the stored endpoint, or the caller's own where that one is not to be
// reached from here.
func (r *rotateRun) at(token string) *rest.Config {
	if r.direct {
		config := rest.AnonymousClientConfig(r.plan.member.Config())
		config.BearerToken = token
		return config
	}
	return r.endpoint().access(token).RESTConfig()
}

func (r *rotateRun) endpoint() endpoint {
	spec := r.plan.facts.Host.Member.Spec
	return endpoint{Server: spec.Server, CABundle: spec.CABundle, ProxyURL: spec.ProxyURL, Insecure: spec.InsecureSkipTLSVerify}
}

// prove tries the new credential at the stored endpoint.
func (r *rotateRun) prove(ctx context.Context) error {
	o, record := r.plan.Options, r.plan.facts.Host.Member
	again := "bring the member's own endpoint and CA to the host: " +
		JoinOptions{Name: o.Name, Federation: record.Federation(), MemberContext: o.MemberContext}.command()
	p := proof{endpoint: record.Spec.Server, id: r.plan.facts.Member.ID, ifOther: again, ifRefused: again}
	err := p.of(ctx, r.at(r.token.Value))
	failed, ok := errors.AsType[*cluster.Error](err)
	switch {
	case ok && failed.Fault == cluster.FaultCertificate:
		return &Refusal{Findings: []Finding{{Side: SideMember, Object: "endpoint " + cluster.Quoted(p.endpoint),
			Cause: "the certificate does not verify: " + cluster.Cause(failed.Err), Remedy: again}}}
	case ok && failed.Fault == cluster.FaultUnreachable && !r.direct && ctx.Err() == nil:
		r.direct = true
		r.notes = append(r.notes, Finding{Side: SideMember, Object: "endpoint " + cluster.Quoted(p.endpoint),
			Cause: "could not be tried from here: " + cluster.Cause(failed.Err) + "; the credential was tried at " + r.plan.member.Server()})
		p.endpoint = r.plan.member.Server()
		err = p.of(ctx, r.at(r.token.Value))
	}
	if err == nil {
		r.progress(Step{Side: SideMember, Verb: VerbTry, Note: "the new credential at " + p.endpoint})
	}
	return err
}

func (r *rotateRun) store(ctx context.Context) error {
	data, err := r.endpoint().access(r.token.Value).Marshal()
	if err != nil {
		return err
	}
	// Writing it twice is writing it once: a lost answer is worth another try.
	err = persist(ctx, func() error { return r.plan.host.WriteCredential(ctx, r.plan.facts.Host.Member, data, true) })
	if err == nil {
		r.progress(Step{Side: SideHost, Verb: VerbStore, Object: host.CredentialRef(r.plan.Options.Name)})
	}
	return err
}

// canaryLifetime is the shortest that API servers give.
const canaryLifetime = member.MinTokenLifetime

// revoke deletes the Secret that the old tokens are bound to, and returns when the member refuses them. The old
// credential itself is not for the caller to read: a canary token, a token of our own that is bound to the same
// Secret, shows what becomes of it. It is used a moment before, so that whatever API servers remember of the old
// one they have forgotten when they refuse the canary token.
func (r *rotateRun) revoke(ctx context.Context, x pass, to member.Binding) error {
	p := r.plan
	still := func(err error) error {
		r.release(ctx, to.Ref)
		return r.partial(ctx, err, "the new credential is stored; the old one still works", x.from)
	}
	old, err := p.member.Find(ctx, x.from)
	if err != nil {
		return still(err)
	}
	if old == nil {
		return r.standing(ctx, to)
	}
	var canary *member.Cluster
	token, err := p.member.RequestToken(ctx, canaryLifetime, member.Binding{Ref: x.from, UID: old.GetUID()})
	if err == nil {
		canary, err = member.Connect(r.at(token.Value))
	}
	if err == nil {
		_, err = canary.ID(ctx)
	}
	if err != nil {
		return still(err)
	}
	if err := p.member.Remove(ctx, x.from, cluster.Preconditions{UID: old.GetUID()}); err != nil {
		return still(err)
	}
	r.progress(Step{Side: SideMember, Verb: VerbDelete, Object: x.from, Note: "revokes the old credential"})
	if err := r.refusing(ctx, canary); err != nil {
		return r.partial(ctx, err, "the new credential is stored; the old one is revoked, but was still taken when last tried")
	}
	return r.standing(ctx, to)
}

// revokePatience is how long a revoked token may be taken: API servers remember for ten seconds that they took
// one, and a busy one needs a moment more.
const revokePatience = 30 * time.Second

// refusing waits until the member refuses the canary token.
func (r *rotateRun) refusing(ctx context.Context, canary *member.Cluster) error {
	ctx, cancel := context.WithTimeoutCause(ctx, revokePatience,
		fmt.Errorf("member: %s still takes a token whose Secret is gone after %s", r.plan.member.Server(), revokePatience))
	defer cancel()
	r.progress(Step{Side: SideMember, Verb: VerbWait, Note: "until the old credential is refused; API servers remember for ten seconds that they took it"})
	for {
		_, err := canary.ID(ctx)
		if unauthorized(err) {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		// A connection that is lost says nothing of the token.
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// standing makes sure that what the stored credential is bound to is still there: another rotation that took
// this one for dead would have deleted it.
func (r *rotateRun) standing(ctx context.Context, to member.Binding) error {
	o, err := r.plan.member.Find(ctx, to.Ref)
	if err == nil && (o == nil || o.GetUID() != to.UID) {
		err = &vanished{side: SideMember, ref: to.Ref, during: "rotation"}
	}
	if err != nil {
		return r.partial(ctx, err, "the new credential is stored, but it is not known to work")
	}
	return nil
}

// takenBack removes the Secret that this run made for a credential that was not stored.
func (r *rotateRun) takenBack(ctx context.Context, x pass, cause error) error {
	cause = stopped(ctx, cause)
	fresh, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	undone := false
	err := persist(fresh, func() error {
		o, err := r.plan.member.Find(fresh, x.to)
		if err != nil || o == nil || o.GetAnnotations()[v1alpha1.AnnotationAttempt] != r.attempt.String() {
			return err
		}
		undone = true
		return r.plan.member.Remove(fresh, x.to, cluster.Preconditions{UID: o.GetUID()})
	})
	if err != nil {
		return &Partial{Operation: r.plan.Options.operation(), Err: fmt.Errorf("%w\n* rolling it back failed as well: %w", cause, err),
			Done: []string{"the old credential is stored and works"}, Left: []string{"member: " + x.to.String()}, Next: r.plan.Options.command()}
	}
	return r.refused(cause, undone)
}

// release lets the next run begin at once.
func (r *rotateRun) release(ctx context.Context, to cluster.Ref) {
	fresh, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	// Whoever cannot is waited for: see rotateLease.
	_, _ = r.plan.member.MergePatch(fresh, to, map[string]any{"metadata": map[string]any{
		"annotations": map[string]any{v1alpha1.AnnotationAttempt: nil},
	}}, cluster.DryRunNone)
}

// refused is cause of a run that changed nothing, or has taken it back: the old credential is as it was.
func (r *rotateRun) refused(cause error, undone bool) error {
	o := r.plan.Options
	refusal, ok := errors.AsType[*Refusal](cause)
	switch {
	case ok:
		return &Refusal{Operation: o.operation(), Findings: refusal.Findings, Undone: undone, Err: refusal.Err}
	case isRefused(cause):
		return &Refusal{Operation: o.operation(), Findings: findingsOf(cause), Undone: undone, Err: cause}
	case undone:
		return &Undone{Operation: o.operation(), Err: cause}
	}
	return cause
}

// partial is a run that ended between two credentials, with what is still to be deleted.
func (r *rotateRun) partial(ctx context.Context, cause error, state string, left ...cluster.Ref) error {
	p := &Partial{Operation: r.plan.Options.operation(), Err: stopped(ctx, cause), Done: []string{state}, Next: r.plan.Options.command()}
	for _, ref := range left {
		p.Left = append(p.Left, "member: "+ref.String())
	}
	return p
}
