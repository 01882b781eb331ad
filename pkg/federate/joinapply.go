package federate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// Apply carries the plan out. When it fails, what this run made is rolled back and the error is a *Refusal (a server refused) or
// an *Undone; where rolling back fails too, or must not happen, it is a *Partial with the command that continues. Ending ctx
// makes it fail.
func (p *JoinPlan) Apply(ctx context.Context, progress func(Step)) (*Result, error) {
	if err := p.run(ctx, p.Options.DryRun, progress, p.failed); err != nil {
		return nil, err
	}
	r := &Result{Done: "joined", Member: p.record, Expires: p.token.Expires, Notes: slices.Concat(p.notes, p.learned)}
	switch {
	case p.Already():
		r.Done, r.Line = "renewed", "already joined, credential renewed"
	case p.takenFrom != "" && p.takenFrom != p.facts.Host.ID:
		r.Reason = "taken over from the host with cluster ID " + string(p.takenFrom)
		r.Line = "joined, " + r.Reason
	}
	return r, nil
}

// createRecord creates the MemberCluster.
func (p *JoinPlan) createRecord(ctx context.Context) error {
	ref := host.MemberRef(p.Options.Name)
	p.mark(ref)
	p.created = true
	m, err := p.host.PostMember(ctx, p.sent, cluster.DryRunNone)
	if err == nil {
		p.record, p.first = m, true
		return nil
	}
	if isRefused(err) || apierrors.IsAlreadyExists(err) {
		p.unmark(ref)
		p.created = false
	}
	if apierrors.IsAlreadyExists(err) {
		return p.adopt(ctx)
	}
	return err
}

// updateRecord brings the existing MemberCluster up to date and stamps this run's attempt on it.
func (p *JoinPlan) updateRecord(ctx context.Context) error {
	existing := p.facts.Host.Member
	// One that was written by hand and never joined is begun here, if the membership record is taken here too.
	if existing.Annotations[v1alpha1.AnnotationAttempt] == "" && existing.Annotations[v1alpha1.AnnotationJoinedBy] == "" && p.facts.Member.Membership == nil {
		p.first = true
		p.mark(host.MemberRef(p.Options.Name))
	}
	return p.patchRecord(ctx, existing, p.sent)
}

// adopt continues with a member that another run made since the plan was: if it is what this run would have
// made, its settings are left as they are and this run's attempt is stamped on it, so that the other one does
// not roll it back.
func (p *JoinPlan) adopt(ctx context.Context) error {
	ref := host.MemberRef(p.Options.Name)
	refuse := func(cause, remedy string) error {
		return &Refusal{Findings: []Finding{about(cluster.Host, ref, cause, remedy)}}
	}
	return await(ctx, pollInterval, p.progress, func() (*Step, error) {
		m, err := p.host.FindMember(ctx, p.Options.Name)
		if err != nil {
			return nil, err
		}
		if m == nil {
			return nil, refuse("another join of this member failed and was rolled back", p.Options.repeat())
		}
		if s := waitsForMember(m, time.Now(), nil); s != nil {
			return s, nil
		}
		if different := differs(m, p.creates); different != "" {
			return nil, refuse("another join has just made this member with a different "+different,
				p.Options.commands.To("run join again to change it; first see it", command.Describe{Member: p.Options.Name}))
		}
		patch := cluster.MemberClusters.New("", m.Name)
		annotate(patch, v1alpha1.AnnotationAttempt, p.facts.Attempt.String())
		if err = p.patchRecord(ctx, m, patch); apierrors.IsConflict(err) {
			return &Step{Side: cluster.Host, Verb: VerbWait, Object: ref, Note: "another join changes it"}, nil
		}
		return nil, err
	})
}

// differs names what of a member is not as this run would have made it; empty when nothing is.
func differs(m, want *v1alpha1.MemberCluster) string {
	switch {
	case m.Spec.ClusterID != want.Spec.ClusterID:
		return "cluster ID"
	case m.Federation() != want.Federation():
		return "federation"
	case otherObject(m, want.Spec.Discovered):
		return "spec.discovered"
	}
	if field := endpoint.Of(m).Difference(endpoint.Of(want)); field != "" {
		return field
	}
	for key, value := range want.Labels {
		if m.Labels[key] != value {
			return "label " + key
		}
	}
	return ""
}

// patchRecord patches an existing member on the condition that it is as it was read.
func (p *JoinPlan) patchRecord(ctx context.Context, m *v1alpha1.MemberCluster, patch *unstructured.Unstructured) error {
	patch = patch.DeepCopy()
	return poll(ctx, pollInterval, waitTimeout, func() (bool, error) {
		patch.SetResourceVersion(m.ResourceVersion)
		updated, err := p.host.PatchMember(ctx, p.Options.Name, patch.Object, cluster.DryRunNone)
		if err == nil {
			p.record = updated
			return true, nil
		}
		if !apierrors.IsConflict(err) {
			return false, err
		}
		// The manager's status changes the version too: only a change that concerns this join stands in its way.
		now, readErr := p.host.FindMember(ctx, p.Options.Name)
		if readErr != nil {
			return false, readErr
		}
		if now == nil || now.UID != m.UID || now.DeletionTimestamp != nil || now.Generation != m.Generation ||
			now.Annotations[v1alpha1.AnnotationAttempt] != m.Annotations[v1alpha1.AnnotationAttempt] {
			return false, err
		}
		m = now
		return false, nil
	})
}

func (p *JoinPlan) makeNamespace(ctx context.Context) error {
	ref := member.NamespaceRef()
	p.mark(ref)
	_, err := p.member.Create(ctx, ref.Resource, member.NamespaceManifest(), cluster.DryRunNone)
	if apierrors.IsAlreadyExists(err) {
		p.unmark(ref)
		return nil
	}
	return err
}

// takeMembership takes the membership record with a create, so that etcd decides between two joins. While another client
// removes the namespace, an unjoin or a join that is rolling back, it waits.
func (p *JoinPlan) takeMembership(ctx context.Context) error {
	want := p.wanted()
	want.MemberUID = p.record.UID
	last := error(&vanished{side: cluster.Member, ref: member.MembershipRef(), changed: true})
	err := poll(ctx, pollInterval, waitTimeout, func() (bool, error) {
		done, err := p.tryMembership(ctx, want)
		if !apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) && !apierrors.IsNotFound(err) {
			return done, err
		}
		last, p.membership = err, nil
		p.progress(Step{Side: cluster.Member, Verb: VerbWait, Object: member.NamespaceRef(), Note: "it is being deleted"})
		return false, p.makeNamespace(ctx)
	})
	if errors.Is(err, errPatience) {
		return last
	}
	return err
}

// tryMembership tries once to take the membership record. It is not done when the record has changed meanwhile.
func (p *JoinPlan) tryMembership(ctx context.Context, want member.Membership) (done bool, err error) {
	if p.membership != nil {
		return p.replaceMembership(ctx, want)
	}
	p.mark(member.MembershipRef())
	k, err := p.member.CreateMembership(ctx, want)
	if err == nil {
		p.membership = k
		return true, nil
	}
	if !apierrors.IsAlreadyExists(err) {
		return false, err
	}
	p.unmark(member.MembershipRef())
	return p.share(k, want)
}

// share judges a membership record that another client wrote since the plan was made; nil is one that was removed.
func (p *JoinPlan) share(k *member.Membership, want member.Membership) (done bool, err error) {
	if k == nil || sameMembership(k, want) {
		p.membership = k
		done = k != nil && k.MemberUID == want.MemberUID
		p.first = p.first && !done // another run of join is at work here as well
		return done, nil
	}
	o := p.Options
	o.TakeOver = false // the host that has just taken the membership record is not gone
	return false, &Refusal{Findings: judgeMembership(k, p.facts.Host.ID, o)}
}

// replaceMembership writes want over the membership record that was read. It is not done when that has changed meanwhile and
// is to be tried again.
func (p *JoinPlan) replaceMembership(ctx context.Context, want member.Membership) (done bool, err error) {
	over := p.membership.HostID != want.HostID
	k, err := p.member.ReplaceMembership(ctx, p.membership, want)
	if err != nil && !isRefused(err) {
		now, readErr := p.member.Membership(ctx)
		conflict := apierrors.IsConflict(err)
		switch {
		case readErr != nil:
			if over && !conflict {
				p.takeOver = takeOverUnknown
			}
			return false, err
		case now != nil && sameMembership(now, want) && now.MemberUID == want.MemberUID && now.TakenFrom == want.TakenFrom && now.Attempt == want.Attempt:
			k, err = now, nil // only the answer was lost
		case conflict && now != nil && sameMembership(now, *p.membership):
			p.membership = now
			return false, nil
		case conflict:
			return p.share(now, want)
		}
	}
	if err != nil {
		return false, err
	}
	if over {
		p.takeOver = takeOverDone
	}
	p.membership = k
	return true, nil
}

func sameMembership(k *member.Membership, want member.Membership) bool {
	return k.HostID == want.HostID && k.Member == want.Member && k.Federation == want.Federation
}

func (p *JoinPlan) delete(ctx context.Context, ref cluster.Ref, live *unstructured.Unstructured) error {
	return p.member.Delete(ctx, ref, cluster.Preconditions{UID: live.GetUID()}, cluster.DryRunNone)
}

// write writes one object on the member.
func (p *JoinPlan) write(ctx context.Context, s Step) error {
	switch s.Verb {
	case VerbCreate:
		p.mark(s.Object)
	case VerbReplace:
		if err := p.delete(ctx, s.Object, s.live); err != nil {
			return err
		}
	}
	write := p.member.Apply
	if p.takenFrom != "" && s.Object == p.binding.Ref {
		// One that has come since would be the other host's, whose token would outlive the take-over.
		write = p.member.Create
	}
	o, err := write(ctx, s.Object.Resource, s.Manifest, cluster.DryRunNone)
	if err == nil && s.Object == p.binding.Ref {
		p.binding.UID = o.GetUID()
	}
	return err
}

func (p *JoinPlan) requestToken(ctx context.Context) error {
	o, asked := p.Options, time.Now()
	token, err := p.member.ManagerToken(ctx, o.lifetime(), p.binding)
	if err != nil {
		return err
	}
	p.token = token
	p.learn(judgeToken(token, asked, o.lifetime())...)
	return nil
}

// collectionTimeout is how long a join waits for the credential of an earlier member of the same name to be
// collected, before it writes over it: the collector may still delete by that name.
const collectionTimeout = 10 * time.Second

func (p *JoinPlan) storeCredential(ctx context.Context) error {
	ref := host.CredentialRef(p.Options.Name)
	data, err := (&kubeconfig.Access{Token: p.token.Value, Endpoint: endpoint.Of(p.record)}).Marshal()
	if err != nil {
		return err
	}
	credential := host.Credential{Kubeconfig: data, TokenLifetime: p.Options.lifetime()}
	p.mark(ref)
	if !p.created {
		return p.host.WriteCredential(ctx, p.record, credential, true)
	}
	waits := false
	err = poll(ctx, pollInterval, collectionTimeout, func() (bool, error) {
		err := p.host.WriteCredential(ctx, p.record, credential, false)
		if !apierrors.IsAlreadyExists(err) {
			return true, err
		}
		if !waits {
			waits = true
			p.progress(Step{Side: cluster.Host, Verb: VerbWait, Object: ref, Note: "an earlier member's is being collected"})
		}
		return false, nil
	})
	if errors.Is(err, errPatience) {
		return p.host.WriteCredential(ctx, p.record, credential, true)
	}
	return err
}

// confirm tries the credential at the stored endpoint and reads everything back.
func (p *JoinPlan) confirm(ctx context.Context) error {
	reads := []func() error{func() error { return p.readRecord(ctx) }}
	for _, s := range p.Steps {
		if s.Side == cluster.Member && s.Manifest != nil && s.phase < phaseTrial && s.Object != member.MembershipRef() {
			reads = append(reads, func() error { return p.readBack(ctx, s) })
		}
	}
	reads = append(reads, func() error { return p.readMembership(ctx) })
	errs := cluster.Together(append(reads, func() error { return p.try(ctx) })...)
	last := len(reads)
	if refusal, ok := errors.AsType[*Refusal](errs[last]); ok {
		// The endpoint is not to blame for a credential whose account another client removed meanwhile.
		if gone, ok := errors.AsType[*vanished](cmp.Or(cluster.Together(reads...)...)); ok {
			return gone
		}
		return refusal
	}
	return cmp.Or(append(errs[last:], errs[:last]...)...)
}

func (p *JoinPlan) try(ctx context.Context) error {
	e := endpoint.Of(p.record)
	err := trial{
		server: e.Server, id: p.facts.Member.ID,
		otherCluster: "give the member's own endpoint with --member-server",
		ifRefused:    "check that the endpoint is this member's own and passes tokens on to its API server",
	}.of(ctx, p.Options.config(e, p.token.Value))
	if cluster.FaultOf(err) == cluster.FaultUnreachable && !p.facts.proven() && ctx.Err() == nil {
		p.learn(atEndpoint(e.Server, "could not be tried from here: "+cluster.Cause(err), "the manager on the host will report whether the credential works from there"))
		return nil
	}
	return err
}

func (p *JoinPlan) readRecord(ctx context.Context) error {
	o := p.Options
	m, err := p.host.FindMember(ctx, o.Name)
	if err != nil {
		return err
	}
	gone := m == nil || m.UID != p.record.UID || m.DeletionTimestamp != nil
	if gone || !endpoint.Of(m).Equal(endpoint.Of(p.record)) || m.Federation() != o.Federation {
		return &vanished{side: cluster.Host, ref: host.MemberRef(o.Name), changed: !gone}
	}
	return nil
}

func (p *JoinPlan) readBack(ctx context.Context, s Step) error {
	o, err := p.member.Find(ctx, s.Object)
	if err != nil {
		return err
	}
	if gone := o == nil || o.GetDeletionTimestamp() != nil; gone || !cluster.Covers(o.Object, s.Manifest.Object) {
		return &vanished{side: cluster.Member, ref: s.Object, changed: !gone}
	}
	return nil
}

func (p *JoinPlan) readMembership(ctx context.Context) error {
	k, err := p.member.Membership(ctx)
	if err != nil {
		return err
	}
	if k == nil || k.MemberUID != p.record.UID {
		return &vanished{side: cluster.Member, ref: member.MembershipRef(), changed: k != nil}
	}
	return nil
}

// recordJoin writes who joined the member, and ends the attempt.
func (p *JoinPlan) recordJoin(ctx context.Context) error {
	by := host.JoinedBy{User: p.facts.Host.User, At: time.Now()}
	m, err := p.host.RecordJoin(ctx, p.Options.Name, p.facts.Attempt.String(), by)
	if err != nil && !isRefused(err) {
		// All else is done and confirmed: a lost answer is worth another request, also when a person pressed Ctrl-C.
		fresh, cancel := afterwards(ctx)
		defer cancel()
		now, readErr := p.host.FindMember(fresh, p.Options.Name)
		if readErr == nil && now != nil && now.Annotations[v1alpha1.AnnotationJoinedBy] == by.String() {
			m, err = now, nil
		}
	}
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.record = m
	return nil
}

// writeEvent writes the Event. A join without one is a good join.
func (p *JoinPlan) writeEvent(ctx context.Context) error {
	p.mu.Lock()
	record := p.record
	p.mu.Unlock()
	message := fmt.Sprintf("joined to federation %q by %s", p.Options.Federation, p.facts.Host.User)
	if err := p.host.RecordEvent(ctx, record, "Joined", message); err != nil {
		cause := cluster.Cause(err)
		if stop, ok := errors.AsType[*interrupted](stopped(ctx, err)); ok {
			cause = stop.Error()
		}
		p.learn(Finding{Side: cluster.Host, Object: "Event", Cause: "could not be written: " + cause})
	}
	return nil
}
