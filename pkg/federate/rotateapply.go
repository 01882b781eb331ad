package federate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// Apply carries the plan out: the new credential is stored and the old one is refused. Until the new one is stored a failure
// rolls back what was made, and the old one stays valid and stored: the error is then a *Refusal or an *Undone. Later it is a
// *Partial with the command that continues.
func (p *RotatePlan) Apply(ctx context.Context, progress func(Step)) (*Result, error) {
	if err := p.run(ctx, p.Options.DryRun, progress, p.failed); err != nil {
		return nil, err
	}
	return &Result{Done: "rotated", Member: p.facts.Host.Member, Expires: p.token.Expires, Notes: slices.Concat(p.notes, p.learned)}, nil
}

// failed ends a run that failed with cause, and says which credential works.
func (p *RotatePlan) failed(ctx context.Context, cause error) error {
	fresh, cancel := afterwards(ctx)
	defer cancel()
	partial := p.partial(cause)
	partial.Done, partial.Left = []string{p.state}, p.left
	if !p.stored {
		left, err := p.rollBack(fresh)
		partial.Done, partial.Left = []string{"the old credential is stored and works"}, left
		switch {
		case err != nil:
			partial.Err = rollbackFailed(cause, err)
		case !p.replaced:
			return p.refused(cause, p.undone)
		}
		if p.replaced {
			partial.Done = []string{"the credential was replaced once; the new one is stored and works"}
		}
	} else if len(p.left) > 0 {
		// Without the stamp the next run begins at once. Where it cannot be removed, that one waits as long as rotateLease.
		_, _ = p.member.MergePatch(fresh, p.current.to, map[string]any{"metadata": map[string]any{
			"annotations": map[string]any{v1alpha1.AnnotationAttempt: nil},
		}}, cluster.DryRunNone)
	}
	return partial
}

// at is the way to the member with a token: the stored endpoint, or the caller's own where that one is not to be
// reached from here.
func (p *RotatePlan) at(token string) *rest.Config {
	if p.direct {
		config := rest.AnonymousClientConfig(p.member.Config())
		config.BearerToken = token
		return config
	}
	return config(endpoint.Of(p.facts.Host.Member), token)
}

// stands is how things stand once the new credential is stored or may be, with the Secrets that are still to be deleted.
func (p *RotatePlan) stands(state string, left ...cluster.Ref) {
	p.stored, p.state, p.left = true, state, nil
	for _, ref := range left {
		p.left = append(p.left, "member: "+ref.String())
	}
}

// replacement is a round at work.
type replacement struct {
	round
	plan *RotatePlan
	// revokes says that there is an old credential to revoke.
	revokes bool

	attempt attempt
	// until is when the writes must have ended, so that others need not wait longer than rotateLease.
	until time.Time
	bound member.Binding
	// canary reaches the member with a token that is bound to the same Secret as the old credential; nil where there is none.
	canary *member.Cluster
}

// critical is ctx with the end of the writes. The first call begins the round.
func (t *replacement) critical(ctx context.Context) (context.Context, context.CancelFunc) {
	if p := t.plan; p.current != t {
		p.current = t
		t.attempt = newAttempt(time.Now())
		t.until = time.Now().Add(rotateTimeout)
		t.bound = member.Binding{Ref: t.to}
		if t.standing != nil {
			t.bound.UID = t.standing.GetUID()
		}
	}
	return context.WithDeadline(ctx, t.until)
}

// bind makes the Secret that the new token is bound to. By POST: of two rotations one learns that it was second.
func (t *replacement) bind(ctx context.Context) error {
	ctx, cancel := t.critical(ctx)
	defer cancel()
	manifest := member.BindingManifest(t.to).Manifest
	stamp(manifest, t.attempt)
	t.plan.mark(t.to)
	o, err := t.plan.member.Create(ctx, t.to.Resource, manifest, cluster.DryRunNone)
	if apierrors.IsAlreadyExists(err) {
		t.plan.unmark(t.to)
		return fmt.Errorf("%w: another rotation is at work; run this one again when it has ended", err)
	}
	if err == nil {
		t.bound.UID = o.GetUID()
	}
	return err
}

// undo removes the Secret that this run made for a credential that was not stored.
func (t *replacement) undo(ctx context.Context) error {
	p := t.plan
	o, err := p.member.Find(ctx, t.to)
	if err != nil || o == nil || o.GetAnnotations()[v1alpha1.AnnotationAttempt] != t.attempt.String() {
		return err
	}
	p.undone = true
	return p.member.Remove(ctx, t.to, cluster.Preconditions{UID: o.GetUID()})
}

func (t *replacement) request(ctx context.Context) error {
	ctx, cancel := t.critical(ctx)
	defer cancel()
	p, o, asked := t.plan, t.plan.Options, time.Now()
	token, err := p.member.RequestToken(ctx, o.lifetime(), t.bound)
	if err != nil {
		return err
	}
	if p.token.Value == "" {
		p.learn(judgeToken(token, asked, o.lifetime(), o.commands, o.command())...)
	}
	p.token = token
	return nil
}

// try tries the new credential at the stored endpoint.
func (t *replacement) try(ctx context.Context) error {
	ctx, cancel := t.critical(ctx)
	defer cancel()
	p, o, record := t.plan, t.plan.Options, t.plan.facts.Host.Member
	join := o.join(record).command()
	join.Server = p.member.Server()
	if name := p.member.Endpoint().TLSServerName; name != record.Spec.TLSServerName {
		join.TLSServerName = &name
	}
	again := o.commands.To("store the member's own endpoint", join)
	trial := trial{server: record.Spec.Server, id: p.facts.Member.ID, otherCluster: again, ifRefused: again}
	err := trial.of(ctx, p.at(p.token.Value))
	switch fault := cluster.FaultOf(err); {
	case fault == cluster.FaultCertificate:
		remedy := certificateRemedies[cluster.CertificateFaultOf(err)]
		if cluster.CertificateFaultOf(err) == cluster.CertificateAuthority {
			join.CertificateAuthority = new("FILE")
			remedy = o.commands.To("store the member's own endpoint and CA", join)
		}
		return &Refusal{Findings: []Finding{atEndpoint(trial.server, "the certificate does not verify: "+cluster.Cause(err), remedy)}}
	case fault == cluster.FaultUnreachable && !p.direct && ctx.Err() == nil:
		p.direct = true
		p.learn(atEndpoint(trial.server, "could not be tried from here: "+cluster.Cause(err)+"; the credential was tried at "+p.member.Server(), ""))
		trial.server = p.member.Server()
		return trial.of(ctx, p.at(p.token.Value))
	}
	return err
}

// store stores the new credential. Unless the host refuses it, there is no way back.
func (t *replacement) store(ctx context.Context) error {
	critical, cancel := t.critical(ctx)
	defer cancel()
	p, record := t.plan, t.plan.facts.Host.Member
	data, err := (&kubeconfig.Access{Token: p.token.Value, Endpoint: endpoint.Of(record)}).Marshal()
	if err != nil {
		return err
	}
	// Writing it twice is writing it once: a lost answer is worth another try.
	err = retry(critical, func() error { return p.host.WriteCredential(critical, record, data, true) })
	switch {
	case isRefused(err) && t.standing == nil:
		return err
	case err != nil:
		p.stands("it is not known which credential the host has stored; the old one and the new one both work", t.from)
		return err
	}
	p.unmark(t.to)
	if !t.revokes {
		return t.confirm(ctx)
	}
	p.stands("the new credential is stored; the old one still works", t.from)
	return nil
}

// canaryLifetime is the shortest that API servers grant.
const canaryLifetime = member.MinTokenLifetime

// revoke deletes the Secret that the old tokens are bound to. The old credential itself is not for the caller to read: a
// canary token that is bound to the same Secret shows what becomes of it. It is used a moment before, so that whatever API
// servers remember of the old one they have forgotten when they refuse the canary token.
func (t *replacement) revoke(ctx context.Context) error {
	m := t.plan.member
	old, err := m.Find(ctx, t.from)
	if err != nil || old == nil {
		return err
	}
	token, err := m.RequestToken(ctx, canaryLifetime, member.Binding{Ref: t.from, UID: old.GetUID()})
	if err == nil {
		t.canary, err = member.Connect(t.plan.at(token.Value))
	}
	if err == nil {
		_, err = t.canary.ID(ctx)
	}
	if err == nil {
		err = m.Remove(ctx, t.from, cluster.Preconditions{UID: old.GetUID()})
	}
	if err == nil {
		t.plan.stands("the new credential is stored; the old one is revoked, but was still accepted when last tried")
	}
	return err
}

// revokeTimeout is how long a revoked token may be accepted: API servers remember for ten seconds that they accepted
// one, and a busy one needs a moment more.
const revokeTimeout = 30 * time.Second

// awaitRefusal waits until the member refuses the canary token.
func (t *replacement) awaitRefusal(ctx context.Context) error {
	if t.canary == nil {
		return t.confirm(ctx)
	}
	err := poll(ctx, planInterval, revokeTimeout, func() (bool, error) {
		_, err := t.canary.ID(ctx) // a connection that is lost says nothing of the token
		return cluster.FaultOf(err) == cluster.FaultUnauthorized, nil
	})
	if errors.Is(err, errPatience) {
		return fmt.Errorf("member: %s still accepts a token whose Secret is gone after %s", t.plan.member.Server(), revokeTimeout)
	}
	if err != nil {
		return err
	}
	return t.confirm(ctx)
}

// confirm makes sure that what the stored credential is bound to still exists: another rotation that took
// this one for dead would have deleted it.
func (t *replacement) confirm(ctx context.Context) error {
	p := t.plan
	p.stands("the new credential is stored, but it is not known to work")
	o, err := p.member.Find(ctx, t.to)
	if err == nil && (o == nil || o.GetUID() != t.bound.UID) {
		err = &vanished{side: cluster.Member, ref: t.to, during: "rotation"}
	}
	if err == nil {
		p.stored, p.replaced = false, true // nothing of this round is left to say
	}
	return err
}
