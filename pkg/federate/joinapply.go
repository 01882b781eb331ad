package federate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
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

// JoinResult is a join that is done.
type JoinResult struct {
	// Already says that nothing but the credential had to change.
	Already bool
	// Member is the member as the host keeps it.
	Member *v1alpha1.MemberCluster
	// Expires is when the stored credential ends.
	Expires time.Time
	// TakenFrom is the host from which the cluster was taken over; empty when it was not.
	TakenFrom v1alpha1.ClusterID
	Notes     []Finding
}

// joinRun is one application of a plan.
type joinRun struct {
	engine
	plan *JoinPlan

	record     *v1alpha1.MemberCluster
	membership *member.Membership
	token      member.Token
	binding    member.Binding // what the token is bound to
	// took says whether the membership record of another host was taken over.
	took took
	// first says that this run began the membership: nothing that it makes can be something that others rely on.
	first bool
	// created says that this run created the MemberCluster, or perhaps did.
	created bool
	// sealed is the attempt on the MemberCluster while this run rolls back; empty where there is no MemberCluster.
	sealed string
}

// Apply carries the plan out and calls progress with each step that is done; progress may be nil and is never called by two
// goroutines at once. When it fails, what this run made is rolled back and the error is a *Refusal (a server refused) or an
// *Undone; where rolling back fails too, or must not happen, it is a *Partial with the command that continues. Ending ctx
// makes it fail. A plan of a dry run writes nothing.
func (p *JoinPlan) Apply(ctx context.Context, progress func(Step)) (*JoinResult, error) {
	if p.Options.DryRun != cluster.DryRunNone {
		return &JoinResult{Already: p.Already(), Notes: p.Notes}, nil
	}
	r := &p.run
	*r = joinRun{engine: start(p.Options, p.Steps, p.Notes, progress), plan: p, record: p.facts.Host.Member, membership: p.facts.Member.Membership}
	r.binding.Ref = p.facts.Member.Binding()
	if live := p.facts.Member.Objects[r.binding.Ref]; live != nil {
		r.binding.UID = live.GetUID()
	}
	if err := r.apply(ctx); err != nil {
		return nil, r.failed(ctx, err)
	}
	return &JoinResult{Already: p.Already(), Member: r.record, Expires: r.token.Expires, TakenFrom: p.takenFrom, Notes: r.notes}, nil
}

// createRecord creates the MemberCluster.
func (r *joinRun) createRecord(ctx context.Context) error {
	p, ref := r.plan, host.MemberRef(r.plan.Options.Name)
	r.mark(ref)
	r.created = true
	m, err := p.host.PostMember(ctx, p.sent, cluster.DryRunNone)
	if err == nil {
		r.record, r.first = m, true
		return nil
	}
	if isRefused(err) || apierrors.IsAlreadyExists(err) {
		r.unmark(ref)
		r.created = false
	}
	if apierrors.IsAlreadyExists(err) {
		return r.adopt(ctx)
	}
	return err
}

// updateRecord brings the existing MemberCluster up to date and stamps this run's attempt on it.
func (r *joinRun) updateRecord(ctx context.Context) error {
	existing := r.plan.facts.Host.Member
	// One that was written by hand and never joined is begun here, if the membership record is taken here too.
	if existing.Annotations[v1alpha1.AnnotationAttempt] == "" && existing.Annotations[v1alpha1.AnnotationJoinedBy] == "" && r.plan.facts.Member.Membership == nil {
		r.first = true
		r.mark(host.MemberRef(r.plan.Options.Name))
	}
	return r.patchRecord(ctx, existing, r.plan.sent)
}

// adopt continues with a member that another run made since the plan was: if it is what this run would have
// made, its settings are left as they are and this run's attempt is stamped on it, so that the other one does
// not roll it back.
func (r *joinRun) adopt(ctx context.Context) error {
	p, ref := r.plan, host.MemberRef(r.plan.Options.Name)
	refuse := func(cause, remedy string) error {
		return &Refusal{Findings: []Finding{about(SideHost, ref, cause, remedy)}}
	}
	return await(ctx, pollInterval, r.progress, func() (*Step, error) {
		m, err := p.host.FindMember(ctx, p.Options.Name)
		if err != nil {
			return nil, err
		}
		if m == nil {
			return nil, refuse("another join of this member failed and was rolled back", p.Options.commands.To("join again", p.Options.command()))
		}
		if s := waitsForMember(m, time.Now(), nil); s != nil {
			return s, nil
		}
		if different := differs(m, p.record); different != "" {
			return nil, refuse("another join has just made this member with a different "+different,
				p.Options.commands.To("run join again to change it; first see it", command.Describe{Member: p.Options.Name}))
		}
		patch := cluster.MemberClusters.New("", m.Name)
		stamp(patch, p.facts.Attempt)
		if err = r.patchRecord(ctx, m, patch); apierrors.IsConflict(err) {
			return &Step{Side: SideHost, Verb: VerbWait, Object: ref, Note: "another join changes it"}, nil
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
func (r *joinRun) patchRecord(ctx context.Context, m *v1alpha1.MemberCluster, patch *unstructured.Unstructured) error {
	p := r.plan
	patch = patch.DeepCopy()
	return poll(ctx, pollInterval, waitTimeout, func() (bool, error) {
		patch.SetResourceVersion(m.ResourceVersion)
		updated, err := p.host.PatchMember(ctx, p.Options.Name, patch.Object, cluster.DryRunNone)
		if err == nil {
			r.record = updated
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

func (r *joinRun) makeNamespace(ctx context.Context) error {
	ref := member.NamespaceRef()
	r.mark(ref)
	_, err := r.plan.member.Create(ctx, ref.Resource, member.NamespaceManifest(), cluster.DryRunNone)
	if apierrors.IsAlreadyExists(err) {
		r.unmark(ref)
		return nil
	}
	return err
}

// takeMembership takes the membership record with a create, so that etcd decides between two joins. While another client
// removes the namespace, an unjoin or a join that is rolling back, it waits.
func (r *joinRun) takeMembership(ctx context.Context) error {
	want := r.plan.membership()
	want.MemberUID = r.record.UID
	last := error(&vanished{side: SideMember, ref: member.MembershipRef(), changed: true})
	err := poll(ctx, pollInterval, waitTimeout, func() (bool, error) {
		done, err := r.tryMembership(ctx, want)
		if !apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) && !cluster.IsAbsent(err) {
			return done, err
		}
		last, r.membership = err, nil
		r.progress(Step{Side: SideMember, Verb: VerbWait, Object: member.NamespaceRef(), Note: "it is being deleted"})
		return false, r.makeNamespace(ctx)
	})
	if errors.Is(err, errPatience) {
		return last
	}
	return err
}

// tryMembership tries once to take the membership record. It is not done when the record has changed meanwhile.
func (r *joinRun) tryMembership(ctx context.Context, want member.Membership) (done bool, err error) {
	if r.membership != nil {
		return r.replaceMembership(ctx, want)
	}
	r.mark(member.MembershipRef())
	k, err := r.plan.member.CreateMembership(ctx, want)
	if err == nil {
		r.membership = k
		return true, nil
	}
	if !apierrors.IsAlreadyExists(err) {
		return false, err
	}
	r.unmark(member.MembershipRef())
	return r.share(k, want)
}

// share judges a membership record that another client wrote since the plan was made; nil is one that was removed.
func (r *joinRun) share(k *member.Membership, want member.Membership) (done bool, err error) {
	if k == nil || sameMembership(k, want) {
		r.membership = k
		done = k != nil && k.MemberUID == want.MemberUID
		r.first = r.first && !done // another run of join is at work here as well
		return done, nil
	}
	o := r.plan.Options
	o.TakeOver = false // the host that has just taken the membership record is not gone
	return false, &Refusal{Findings: judgeMembership(k, r.plan.facts.Host.ID, o)}
}

// replaceMembership writes want over the membership record that was read. It is not done when that has changed meanwhile and
// is to be tried again.
func (r *joinRun) replaceMembership(ctx context.Context, want member.Membership) (done bool, err error) {
	p, over := r.plan, r.membership.HostID != want.HostID
	k, err := p.member.ReplaceMembership(ctx, r.membership, want)
	if err != nil && !isRefused(err) {
		now, readErr := p.member.Membership(ctx)
		conflict := apierrors.IsConflict(err)
		switch {
		case readErr != nil:
			if over && !conflict {
				r.took = tookPerhaps
			}
			return false, err
		case now != nil && sameMembership(now, want) && now.MemberUID == want.MemberUID && now.TakenFrom == want.TakenFrom && now.Attempt == want.Attempt:
			k, err = now, nil // only the answer was lost
		case conflict && now != nil && sameMembership(now, *r.membership):
			r.membership = now
			return false, nil
		case conflict:
			return r.share(now, want)
		}
	}
	if err != nil {
		return false, err
	}
	if over {
		r.took = tookIt
	}
	r.membership = k
	return true, nil
}

func sameMembership(k *member.Membership, want member.Membership) bool {
	return k.HostID == want.HostID && k.Member == want.Member && k.Federation == want.Federation
}

func (r *joinRun) delete(ctx context.Context, ref cluster.Ref, live *unstructured.Unstructured) error {
	return r.plan.member.Delete(ctx, ref, cluster.Preconditions{UID: live.GetUID()}, cluster.DryRunNone)
}

// write writes one object on the member.
func (r *joinRun) write(ctx context.Context, s Step) error {
	switch s.Verb {
	case VerbCreate:
		r.mark(s.Object)
	case VerbReplace:
		if err := r.delete(ctx, s.Object, s.live); err != nil {
			return err
		}
	}
	write := r.plan.member.Apply
	if r.plan.takenFrom != "" && s.Object == r.binding.Ref {
		// One that has come since would be the other host's, whose token would outlive the take-over.
		write = r.plan.member.Create
	}
	o, err := write(ctx, s.Object.Resource, s.Manifest, cluster.DryRunNone)
	if err == nil && s.Object == r.binding.Ref {
		r.binding.UID = o.GetUID()
	}
	return err
}

func (r *joinRun) requestToken(ctx context.Context) error {
	o, asked := r.plan.Options, time.Now()
	token, err := r.plan.member.RequestToken(ctx, o.lifetime(), r.binding)
	if err != nil {
		return err
	}
	r.token = token
	r.note(judgeToken(token, asked, o.lifetime(), o.commands, command.Rotate{Member: o.Name, Cluster: o.Cluster, TokenLifetime: o.TokenLifetime})...)
	return nil
}

// collectionTimeout is how long a join waits for the credential of an earlier member of the same name to be
// collected, before it writes over it: the collector may still delete by that name.
const collectionTimeout = 10 * time.Second

func (r *joinRun) storeCredential(ctx context.Context) error {
	p, ref := r.plan, host.CredentialRef(r.plan.Options.Name)
	data, err := (&kubeconfig.Access{Token: r.token.Value, Endpoint: endpoint.Of(r.record)}).Marshal()
	if err != nil {
		return err
	}
	r.mark(ref)
	if !r.created {
		return p.host.WriteCredential(ctx, r.record, data, true)
	}
	waits := false
	err = poll(ctx, pollInterval, collectionTimeout, func() (bool, error) {
		err := p.host.WriteCredential(ctx, r.record, data, false)
		if !apierrors.IsAlreadyExists(err) {
			return true, err
		}
		if !waits {
			waits = true
			r.progress(Step{Side: SideHost, Verb: VerbWait, Object: ref, Note: "an earlier member's is being collected"})
		}
		return false, nil
	})
	if errors.Is(err, errPatience) {
		return p.host.WriteCredential(ctx, r.record, data, true)
	}
	return err
}

// confirm tries the credential at the stored endpoint and reads everything back.
func (r *joinRun) confirm(ctx context.Context) error {
	reads := []func() error{func() error { return r.readRecord(ctx) }}
	for _, s := range r.steps {
		if s.Side == SideMember && s.Manifest != nil && s.phase < phaseTrial && s.Object != member.MembershipRef() {
			reads = append(reads, func() error { return r.readBack(ctx, s) })
		}
	}
	reads = append(reads, func() error { return r.readMembership(ctx) })
	errs := cluster.Together(append(reads, func() error { return r.try(ctx) })...)
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

func (r *joinRun) try(ctx context.Context) error {
	e := endpoint.Of(r.record)
	err := trial{
		server: e.Server, id: r.plan.facts.Member.ID,
		ifOther:   "give the member's own endpoint with --member-server",
		ifRefused: "check that the endpoint is this member's own and passes tokens on to its API server",
	}.of(ctx, config(e, r.token.Value))
	if cluster.FaultOf(err) == cluster.FaultUnreachable && !r.plan.facts.proven() && ctx.Err() == nil {
		r.note(atEndpoint(e.Server, "could not be tried from here: "+cluster.Cause(err), "the manager on the host will report whether the credential works from there"))
		return nil
	}
	return err
}

func (r *joinRun) readRecord(ctx context.Context) error {
	o := r.plan.Options
	m, err := r.plan.host.FindMember(ctx, o.Name)
	if err != nil {
		return err
	}
	gone := m == nil || m.UID != r.record.UID || m.DeletionTimestamp != nil
	if gone || !endpoint.Of(m).Equal(endpoint.Of(r.record)) || m.Federation() != o.Federation {
		return &vanished{side: SideHost, ref: host.MemberRef(o.Name), changed: !gone}
	}
	return nil
}

func (r *joinRun) readBack(ctx context.Context, s Step) error {
	o, err := r.plan.member.Find(ctx, s.Object)
	if err != nil {
		return err
	}
	if gone := o == nil || o.GetDeletionTimestamp() != nil; gone || !cluster.Covers(o.Object, s.Manifest.Object) {
		return &vanished{side: SideMember, ref: s.Object, changed: !gone}
	}
	return nil
}

func (r *joinRun) readMembership(ctx context.Context) error {
	k, err := r.plan.member.Membership(ctx)
	if err != nil {
		return err
	}
	if k == nil || k.MemberUID != r.record.UID {
		return &vanished{side: SideMember, ref: member.MembershipRef(), changed: k != nil}
	}
	return nil
}

// recordJoin writes who joined the member, and ends the attempt.
func (r *joinRun) recordJoin(ctx context.Context) error {
	p := r.plan
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
	r.mu.Lock()
	defer r.mu.Unlock()
	r.record = m
	return nil
}

// writeEvent writes the Event. A join without one is a good join.
func (r *joinRun) writeEvent(ctx context.Context) error {
	p := r.plan
	r.mu.Lock()
	record := r.record
	r.mu.Unlock()
	message := fmt.Sprintf("joined to federation %q by %s", p.Options.Federation, p.facts.Host.User)
	if err := p.host.RecordEvent(ctx, record, "Joined", message); err != nil {
		cause := cluster.Cause(err)
		if stop, ok := errors.AsType[*interrupted](stopped(ctx, err)); ok {
			cause = stop.Error()
		}
		r.note(Finding{Side: SideHost, Object: "Event", Cause: "could not be written: " + cause})
	}
	return nil
}
