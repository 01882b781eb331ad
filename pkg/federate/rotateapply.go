package federate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// Apply carries the plan out: the new credential is stored, and every token that the accounts on the member ever had is refused.
// Until the accounts are made anew, a failure rolls back what was made, and the old credential stays valid and stored: the error
// is then a *Refusal or an *Undone. Later it is a *Partial with the command that continues.
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
	if p.state == "" {
		left, err := p.rollBack(fresh)
		if err == nil {
			return p.refused(cause, p.undone)
		}
		partial := p.partial(rollbackFailed(cause, err))
		partial.Done, partial.Left = []string{"the old credential is stored and works"}, left
		return partial
	}
	partial := p.partial(cause)
	partial.Done = []string{p.state}
	for i, s := range p.Steps {
		if writes := s.phase >= phaseAccount && s.phase != phaseToken && s.phase != phaseTry && s.phase != phaseEnd; writes && !p.done[i] {
			partial.Left = append(partial.Left, s.place())
		}
	}
	// Without the stamp the next run begins at once. Where it cannot be removed, that one waits as long as rotateLease.
	_ = p.unstamp(fresh)
	return partial
}

// unstamp removes the attempt from the Secret that the new token is bound to: another run need not wait.
func (p *RotatePlan) unstamp(ctx context.Context) error {
	_, err := p.member.MergePatch(ctx, p.to, map[string]any{"metadata": map[string]any{
		"annotations": map[string]any{v1alpha1.AnnotationAttempt: nil},
	}}, cluster.DryRunNone)
	return err
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

// bind makes the Secret that the new token is bound to, or stamps the one that a rotation left. By POST, or on the condition that
// it is as it was read: of two rotations one learns that it was second.
func (p *RotatePlan) bind(ctx context.Context) error {
	p.attempt, p.until = newAttempt(time.Now()), time.Now().Add(rotateTimeout)
	ctx, cancel := context.WithDeadline(ctx, p.until)
	defer cancel()
	p.mark(p.to)
	o, err := p.writeSecret(ctx)
	if apierrors.IsAlreadyExists(err) || apierrors.IsConflict(err) {
		p.unmark(p.to)
		return fmt.Errorf("%w: another rotation is at work; run this one again when it has ended", err)
	}
	if err == nil {
		p.bound = member.Binding{Ref: p.to, UID: o.GetUID()}
	}
	return err
}

func (p *RotatePlan) writeSecret(ctx context.Context) (*unstructured.Unstructured, error) {
	if p.standing != nil {
		return p.member.MergePatch(ctx, p.to, map[string]any{"metadata": map[string]any{
			"resourceVersion": p.standing.GetResourceVersion(), "annotations": map[string]any{v1alpha1.AnnotationAttempt: p.attempt.String()},
		}}, cluster.DryRunNone)
	}
	manifest := member.BindingManifest(p.to).Manifest
	annotate(manifest, v1alpha1.AnnotationAttempt, p.attempt.String())
	return p.member.Create(ctx, p.to.Resource, manifest, cluster.DryRunNone)
}

// unbind removes the Secret that this run made for a token that does not exist yet, or its stamp from one that was there.
func (p *RotatePlan) unbind(ctx context.Context) error {
	o, err := p.member.Find(ctx, p.to)
	if err != nil || o == nil || o.GetAnnotations()[v1alpha1.AnnotationAttempt] != p.attempt.String() {
		return err
	}
	p.undone = true
	if p.standing != nil {
		return p.unstamp(ctx)
	}
	return p.member.Remove(ctx, p.to, cluster.Preconditions{UID: o.GetUID()})
}

// probe tries the stored endpoint before anything ends, with a token of the account as it is. The old credential itself is not for
// the caller to read: what becomes of this token shows what becomes of all others. It is used a moment before they end, so that
// whatever API servers remember of them they have forgotten when they refuse this one.
func (p *RotatePlan) probe(ctx context.Context) error {
	ctx, cancel := context.WithDeadline(ctx, p.until)
	defer cancel()
	token, err := p.member.ManagerToken(ctx, member.MinTokenLifetime, p.bound)
	if err != nil {
		return err
	}
	if err := p.trial(ctx, token.Value); err != nil {
		return err
	}
	p.canary, err = member.Connect(p.at(token.Value))
	return err
}

// trial tries a token at the stored endpoint.
func (p *RotatePlan) trial(ctx context.Context, token string) error {
	o, record := p.Options, p.facts.Host.Member
	join := o.join(record).join()
	join.Server = p.member.Server()
	if name := p.member.Endpoint().TLSServerName; name != record.Spec.TLSServerName {
		join.TLSServerName = &name
	}
	again := o.commands.To("store the member's own endpoint", join)
	trial := trial{server: record.Spec.Server, id: p.facts.Member.ID, otherCluster: again, ifRefused: again}
	err := trial.of(ctx, p.at(token))
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
		return trial.of(ctx, p.at(token))
	}
	return err
}

// commit is a context that Ctrl-C does not end at once: from the end of the old account until the new credential is stored, the
// host has none that works.
func (p *RotatePlan) commit(ctx context.Context) (context.Context, context.CancelFunc) {
	p.committed = true
	going, cancel := context.WithDeadline(context.WithoutCancel(ctx), p.until)
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(rollbackTimeout, cancel) })
	return going, func() { stop(); cancel() }
}

// renewManager makes the manager's account anew.
func (p *RotatePlan) renewManager(ctx context.Context, s Step) error {
	ctx, cancel := p.commit(ctx)
	defer cancel()
	made, err := p.renew(ctx, s, func() {
		p.state = "the account on the member is being made anew, so the stored credential may work no more"
	})
	if err == nil {
		p.account = made.GetUID()
	}
	return err
}

// renew makes an account anew, under its name: its rights are bound to the name, and its tokens to its UID. It calls gone when the
// old one is gone, or may be.
func (p *RotatePlan) renew(ctx context.Context, s Step, gone func()) (made *unstructured.Unstructured, err error) {
	m, live := p.member, s.live
	err = retry(ctx, func() (err error) {
		if live != nil {
			if err = m.Remove(ctx, s.Object, cluster.Preconditions{UID: live.GetUID()}); !isRefused(err) {
				gone()
			}
			if err != nil && !apierrors.IsConflict(err) {
				return err
			}
		}
		if made, err = m.Create(ctx, s.Object.Resource, s.Manifest, cluster.DryRunNone); !apierrors.IsAlreadyExists(err) {
			return err
		}
		// By a request whose answer was lost, or by a join: it is another one than it was.
		now, readErr := m.Find(ctx, s.Object)
		if readErr == nil && now != nil && (live == nil || now.GetUID() != live.GetUID()) {
			made, err = now, nil
		}
		return err
	})
	return made, err
}

func (p *RotatePlan) request(ctx context.Context) error {
	ctx, cancel := p.commit(ctx)
	defer cancel()
	o, asked := p.Options, time.Now()
	if err := retry(ctx, func() (err error) {
		p.token, err = p.member.ManagerToken(ctx, o.lifetime(), p.bound)
		return err
	}); err != nil {
		return err
	}
	p.learn(judgeToken(p.token, asked, o.lifetime())...)
	return nil
}

// store stores the new credential.
func (p *RotatePlan) store(ctx context.Context) error {
	ctx, cancel := p.commit(ctx)
	defer cancel()
	record := p.facts.Host.Member
	data, err := (&kubeconfig.Access{Token: p.token.Value, Endpoint: endpoint.Of(record)}).Marshal()
	if err != nil {
		return err
	}
	credential := host.Credential{Kubeconfig: data, TokenLifetime: p.Options.lifetime()}
	// Writing it twice is writing it once: a lost answer is worth another try.
	if err := retry(ctx, func() error { return p.host.WriteCredential(ctx, record, credential, true) }); err != nil {
		return err
	}
	p.unmark(p.to)
	p.committed = false
	p.state = "the new credential is stored, but it is not known to work; all older ones are revoked"
	return nil
}

func (p *RotatePlan) try(ctx context.Context) error {
	if err := p.trial(ctx, p.token.Value); err != nil {
		return err
	}
	p.state = "the new credential is stored and works; all older ones are revoked, but API servers may accept them for some seconds more"
	return nil
}

// cut deletes the Secret that the old token was bound to.
func (p *RotatePlan) cut(ctx context.Context) error {
	ctx, cancel := context.WithDeadline(ctx, p.until)
	defer cancel()
	return p.member.Remove(ctx, p.from, cluster.Preconditions{UID: p.facts.Member.Objects[p.from].GetUID()})
}

// revokeTimeout is how long a revoked token may be accepted: API servers remember for ten seconds that they accepted
// one, and a busy one needs a moment more.
const revokeTimeout = 30 * time.Second

// awaitRefusal waits until the member refuses the canary token, and makes sure that what the stored credential rests on still
// exists: another rotation that took this one for dead would have replaced it.
func (p *RotatePlan) awaitRefusal(ctx context.Context) error {
	err := poll(ctx, planInterval, revokeTimeout, func() (bool, error) {
		_, err := p.canary.ID(ctx) // a connection that is lost says nothing of the token
		return cluster.FaultOf(err) == cluster.FaultUnauthorized, nil
	})
	if errors.Is(err, errPatience) {
		return fmt.Errorf("member: %s still accepts a token whose account is gone after %s", p.member.Server(), revokeTimeout)
	}
	if err != nil {
		return err
	}
	for _, held := range []member.Binding{p.bound, {Ref: member.ManagerAccountRef(), UID: p.account}} {
		o, err := p.member.Find(ctx, held.Ref)
		if err != nil {
			return err
		}
		if o == nil || o.GetUID() != held.UID {
			return &vanished{side: cluster.Member, ref: held.Ref, during: "rotation"}
		}
	}
	return nil
}
