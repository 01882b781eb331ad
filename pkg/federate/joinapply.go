package federate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
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
	plan     *JoinPlan
	progress func(Step)

	mu         sync.Mutex
	notes      []Finding
	made       map[cluster.Ref]bool // created by this run, or perhaps: the answer was lost
	record     *v1alpha1.MemberCluster
	membership *member.Membership
	token      member.Token
	binding    member.Binding // what the token is bound to
	// took says whether the membership record of another host was taken over, and evicted what of that host's was removed.
	took    took
	evicted map[cluster.Ref]bool
	// begun says that this run began the membership: nothing that it makes can be somebody's it relies on.
	begun bool
}

// Apply carries the plan out and tells progress of each step that is done; progress may be nil and is never
// called by two goroutines at once. When it fails, what this run made is rolled back and the error is a
// *Refusal (a server's considered no) or an *Undone; where rolling back fails too, or is not this run's to do,
// it is a *Partial with the command that goes on. Ending ctx makes it fail. A plan of a dry run writes
// nothing.
func (p *JoinPlan) Apply(ctx context.Context, progress func(Step)) (*JoinResult, error) {
	if p.Options.DryRun != DryRunNone {
		return &JoinResult{Already: p.Already(), Notes: p.Notes}, nil
	}
	run := &joinRun{plan: p, made: map[cluster.Ref]bool{}, evicted: map[cluster.Ref]bool{}, notes: p.Notes, record: p.facts.Host.Member, membership: p.facts.Member.Membership}
	run.progress = serial(progress)
	run.binding.Ref = p.facts.Member.Binding()
	if live := p.facts.Member.Objects[run.binding.Ref]; live != nil {
		run.binding.UID = live.GetUID()
	}
	for at := stageRecord; at <= stageDone; at++ {
		if err := run.stage(ctx, at); err != nil {
			return nil, run.failed(ctx, err)
		}
	}
	return &JoinResult{Already: p.Already(), Member: run.record, Expires: run.token.Expires, TakenFrom: p.takenFrom, Notes: run.notes}, nil
}

// serial makes progress safe to be called by many, and never nil.
func serial(progress func(Step)) func(Step) {
	var mu sync.Mutex
	return func(s Step) {
		if progress == nil {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		progress(s)
	}
}

// stage does all steps of a stage at once, lets all of them end, and returns the first that failed.
func (r *joinRun) stage(ctx context.Context, at stage) error {
	var steps []Step
	for _, s := range r.plan.Steps {
		if s.stage == at && (!s.silent() || at == stageProof) {
			steps = append(steps, s)
		}
	}
	if len(steps) == 0 {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return cmp.Or(cluster.ForEach(len(steps), func(i int) error {
		err := r.step(ctx, steps[i])
		if err == nil {
			r.progress(steps[i])
		}
		return err
	})...)
}

func (r *joinRun) step(ctx context.Context, s Step) error {
	switch {
	case s.stage == stageRecord:
		return r.writeRecord(ctx)
	case s.stage == stageNamespace:
		return r.makeNamespace(ctx)
	case s.stage == stageMembership:
		return r.takeMembership(ctx)
	case s.stage == stageEvict:
		return r.evict(ctx, s)
	case s.Object == member.MembershipRef():
		return r.settle(ctx)
	case s.Verb == VerbRequest:
		return r.requestToken(ctx)
	case s.Verb == VerbStore:
		return r.storeCredential(ctx)
	case s.stage == stageProof:
		return r.prove(ctx)
	case s.stage == stageDone && s.Object.Resource == cluster.Events:
		r.tell(ctx)
		return nil
	case s.stage == stageDone:
		return r.finish(ctx)
	case s.Verb == VerbDelete:
		return r.plan.member.Delete(ctx, s.Object, cluster.Preconditions{UID: s.live.GetUID()}, cluster.DryRunNone)
	case s.Verb == VerbReplace:
		if err := r.plan.member.Delete(ctx, s.Object, cluster.Preconditions{UID: s.live.GetUID()}, cluster.DryRunNone); err != nil {
			return err
		}
	}
	return r.apply(ctx, s)
}

// apply writes one object on the member.
func (r *joinRun) apply(ctx context.Context, s Step) error {
	if s.Verb == VerbCreate {
		r.mark(s.Object)
	}
	var o *unstructured.Unstructured
	var err error
	if r.plan.takenFrom != "" && s.Object == r.binding.Ref {
		// One that has come since would be the other host's, whose token would outlive the take-over.
		o, err = r.plan.member.Create(ctx, s.Object.Resource, s.Manifest, cluster.DryRunNone)
	} else {
		o, err = r.plan.member.Apply(ctx, s.Object.Resource, s.Manifest, cluster.DryRunNone)
	}
	if err != nil {
		return err
	}
	if s.Object == r.binding.Ref {
		r.mu.Lock()
		r.binding.UID = o.GetUID()
		r.mu.Unlock()
	}
	return nil
}

// mark remembers an object as this run's, before the request that makes it is sent: when the answer is lost,
// it must still be looked for.
func (r *joinRun) mark(ref cluster.Ref) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.made[ref] = true
}

func (r *joinRun) unmark(ref cluster.Ref) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.made, ref)
}

func (r *joinRun) has(ref cluster.Ref) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.made[ref]
}

func (r *joinRun) note(f Finding) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notes = append(r.notes, f)
}

// writeRecord makes the MemberCluster, or brings the existing one up to date and stamps it.
func (r *joinRun) writeRecord(ctx context.Context) error {
	p := r.plan
	ref := host.MemberRef(p.Options.Name)
	if p.record != nil {
		r.mark(ref)
		m, err := p.host.CreateMember(ctx, p.record, cluster.DryRunNone)
		if err == nil {
			r.record, r.begun = m, true
			return nil
		}
		if isRefused(err) {
			r.unmark(ref)
		}
		if !apierrors.IsAlreadyExists(err) {
			return err
		}
		r.unmark(ref)
		return r.adopt(ctx)
	}
	// One that was made by hand and never joined is begun here, if the membership record is taken here too.
	existing := p.facts.Host.Member
	r.begun = existing.Annotations[v1alpha1.AnnotationAttempt] == "" && existing.Annotations[v1alpha1.AnnotationJoinedBy] == "" &&
		p.facts.Member.Membership == nil
	return r.restamp(ctx, existing)
}

// adopt goes on with a member that another run made since the plan was: if it is what this run would have
// made, its settings are left as they are and this run's attempt is stamped on it, so that the other one does
// not take it back.
func (r *joinRun) adopt(ctx context.Context) error {
	p := r.plan
	for {
		m, err := p.host.FindMember(ctx, p.Options.Name)
		if err != nil {
			return err
		}
		if m == nil {
			return &Refusal{Findings: []Finding{{Side: SideHost, Object: host.MemberRef(p.Options.Name).String(),
				Cause: "another join of this name came and went", Remedy: "run join again"}}}
		}
		if wait := (&joinFacts{Host: host.State{Member: m}, Now: time.Now()}).waitsFor(); wait != nil {
			r.progress(*wait)
			if err := pause(ctx); err != nil {
				return err
			}
			continue
		}
		if different := r.different(m); different != "" {
			return &Refusal{Findings: []Finding{{Side: SideHost, Object: host.MemberRef(p.Options.Name).String(),
				Cause: "another join has just made this member with a different " + different, Remedy: "see kubectl federate describe " + m.Name + ", then run join again to change it"}}}
		}
		err = r.restamp(ctx, m)
		if !apierrors.IsConflict(err) {
			return err
		}
	}
}

// different names what of a member is not as this run would have made it; empty when nothing is.
func (r *joinRun) different(m *v1alpha1.MemberCluster) string {
	want := r.plan.record
	switch {
	case m.Spec.ClusterID != want.Spec.ClusterID:
		return "cluster ID"
	case m.Federation() != want.Federation():
		return "federation"
	case m.Spec.Server != want.Spec.Server:
		return "server"
	case string(m.Spec.CABundle) != string(want.Spec.CABundle):
		return "caBundle"
	case m.Spec.ProxyURL != want.Spec.ProxyURL:
		return "proxyURL"
	case m.Spec.InsecureSkipTLSVerify != want.Spec.InsecureSkipTLSVerify:
		return "insecureSkipTLSVerify"
	}
	for key, value := range want.Labels {
		if m.Labels[key] != value {
			return "label " + key
		}
	}
	return ""
}

// restamp patches an existing member under the precondition that it is as it was read.
func (r *joinRun) restamp(ctx context.Context, m *v1alpha1.MemberCluster) error {
	p := r.plan
	patch := p.patch
	if patch == nil {
		patch = map[string]any{"metadata": map[string]any{"annotations": map[string]any{v1alpha1.AnnotationAttempt: p.facts.Attempt.String()}}}
	}
	for {
		metadata := map[string]any{"resourceVersion": m.ResourceVersion}
		merged(metadata, patch["metadata"])
		sent := map[string]any{"metadata": metadata}
		if spec, ok := patch["spec"]; ok {
			sent["spec"] = spec
		}
		updated, err := p.host.PatchMember(ctx, p.Options.Name, sent, cluster.DryRunNone)
		if err == nil {
			r.record = updated
			return nil
		}
		if !apierrors.IsConflict(err) {
			return err
		}
		// The manager's status moves the version too: only a change that concerns this join stands in its way.
		now, readErr := p.host.FindMember(ctx, p.Options.Name)
		if readErr != nil {
			return readErr
		}
		if now == nil || now.UID != m.UID || now.DeletionTimestamp != nil || now.Generation != m.Generation ||
			now.Annotations[v1alpha1.AnnotationAttempt] != m.Annotations[v1alpha1.AnnotationAttempt] {
			return err
		}
		m = now
	}
}

// pause waits a moment between two looks.
func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(25 * time.Millisecond):
		return nil
	}
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

// takeMembership takes the membership record with a create, so that etcd decides between two joins.
func (r *joinRun) takeMembership(ctx context.Context) error {
	p := r.plan
	want := p.membership()
	want.MemberUID = r.record.UID
	deadline := time.Now().Add(waitTimeout)
	for {
		var err error
		if r.membership != nil {
			var again bool
			if again, err = r.replaceMembership(ctx, want); err == nil && !again {
				return nil
			} else if again {
				continue
			}
		} else {
			r.mark(member.MembershipRef())
			var k *member.Membership
			k, err = p.member.CreateMembership(ctx, want)
			if err == nil {
				r.membership = k
				return nil
			}
			if apierrors.IsAlreadyExists(err) {
				r.unmark(member.MembershipRef())
				return r.share(ctx, k, want)
			}
		}
		// Somebody is removing the namespace at this moment: an unjoin, or a join that is rolling back.
		leaving := apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause)
		if !leaving && !cluster.IsAbsent(err) || time.Now().After(deadline) {
			return err
		}
		r.membership = nil
		r.progress(Step{Side: SideMember, Verb: VerbWait, Object: member.NamespaceRef(), Note: "it is being deleted"})
		if err := pause(ctx); err != nil {
			return err
		}
		if err := r.makeNamespace(ctx); err != nil {
			return err
		}
	}
}

// share judges a membership record that somebody else created since the plan was made.
func (r *joinRun) share(ctx context.Context, k *member.Membership, want member.Membership) error {
	if k == nil { // it went again
		return r.takeMembership(ctx)
	}
	if sameMembership(k, want) {
		r.membership = k
		if k.MemberUID == want.MemberUID {
			r.begun = false // another run of join is at work here as well
			return nil
		}
		return r.takeMembership(ctx)
	}
	o := r.plan.Options
	o.TakeOver = false // whoever holds the membership record since a moment is not gone
	return &Refusal{Findings: judgeMembership(k, r.plan.facts, o)}
}

func (r *joinRun) requestToken(ctx context.Context) error {
	life, asked := r.plan.Options.lifetime(), time.Now()
	token, err := r.plan.member.RequestToken(ctx, life, r.binding)
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.token = token
	r.mu.Unlock()
	o := r.plan.Options
	for _, f := range judgeToken(token, asked, life, rotateCommand(o.Name, o.MemberContext)) {
		r.note(f)
	}
	return nil
}

// collectionPatience is how long a join waits for the credential of an earlier member of the same name to be
// collected, before it writes over it: the collector may still delete by that name.
const collectionPatience = 10 * time.Second

func (r *joinRun) storeCredential(ctx context.Context) error {
	p := r.plan
	data, err := r.access().Marshal()
	if err != nil {
		return err
	}
	r.mark(host.CredentialRef(p.Options.Name))
	if !r.has(host.MemberRef(p.Options.Name)) {
		return p.host.WriteCredential(ctx, r.record, data, true)
	}
	deadline := time.Now().Add(collectionPatience)
	for told := false; ; told = true {
		err := p.host.WriteCredential(ctx, r.record, data, time.Now().After(deadline))
		if !apierrors.IsAlreadyExists(err) {
			return err
		}
		if !told {
			r.progress(Step{Side: SideHost, Verb: VerbWait, Object: host.CredentialRef(p.Options.Name), Note: "an earlier member's is being collected"})
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

// access is the new credential at the endpoint of the MemberCluster, to the letter: both are read by others
// together.
func (r *joinRun) access() *kubeconfig.Access {
	spec := r.record.Spec
	e := endpoint{Server: spec.Server, CABundle: spec.CABundle, ProxyURL: spec.ProxyURL, Insecure: spec.InsecureSkipTLSVerify}
	return e.access(r.token.Value)
}

// prove tries the credential at the stored endpoint and reads everything back.
func (r *joinRun) prove(ctx context.Context) error {
	work := []func() error{
		func() error { return r.try(ctx) },
		func() error { return r.readRecord(ctx) },
	}
	for _, s := range r.plan.Steps {
		if s.Side == SideMember && s.Manifest != nil && s.stage < stageProof && s.Object != member.MembershipRef() {
			work = append(work, func() error { return r.readBack(ctx, s) })
		}
	}
	work = append(work, func() error { return r.readMembership(ctx) })
	errs := cluster.Together(work...)
	if refusal, ok := errors.AsType[*Refusal](errs[0]); ok {
		// The endpoint is not to blame for a credential whose account somebody removed meanwhile.
		if gone, ok := errors.AsType[*vanished](cmp.Or(cluster.Together(work[1:]...)...)); ok {
			return gone
		}
		return refusal
	}
	return cmp.Or(errs...)
}

func (r *joinRun) try(ctx context.Context) error {
	e := r.access()
	err := proof{
		endpoint: e.Server, id: r.plan.facts.Member.ID,
		ifOther:   "give the member's own endpoint with --member-server",
		ifRefused: "see that the endpoint is this member's own and hands tokens on to its API server",
	}.of(ctx, e.RESTConfig())
	var failed *cluster.Error
	if errors.As(err, &failed) && failed.Fault == cluster.FaultUnreachable && !r.plan.facts.Endpoint.Proven && ctx.Err() == nil {
		r.note(Finding{Side: SideMember, Object: "endpoint " + cluster.Quoted(e.Server),
			Cause: "could not be tried from here: " + cluster.Cause(failed.Err), Remedy: "the manager on the host will tell whether the credential works from there"})
		return nil
	}
	return err
}

func (r *joinRun) readRecord(ctx context.Context) error {
	m, err := r.plan.host.FindMember(ctx, r.plan.Options.Name)
	if err != nil {
		return err
	}
	if m == nil || m.UID != r.record.UID || m.DeletionTimestamp != nil {
		return &vanished{side: SideHost, ref: host.MemberRef(r.plan.Options.Name)}
	}
	if m.Spec.Server != r.record.Spec.Server || string(m.Spec.CABundle) != string(r.record.Spec.CABundle) ||
		m.Spec.ProxyURL != r.record.Spec.ProxyURL || m.Federation() != r.plan.Options.Federation {
		return &vanished{side: SideHost, ref: host.MemberRef(r.plan.Options.Name), changed: true}
	}
	return nil
}

func (r *joinRun) readBack(ctx context.Context, s Step) error {
	o, err := r.plan.member.Find(ctx, s.Object)
	if err != nil {
		return err
	}
	gone := o == nil || o.GetDeletionTimestamp() != nil
	if s.Verb == VerbDelete || s.Verb == VerbKeep {
		return nil
	}
	if gone || !cluster.Covers(o.Object, s.Manifest.Object) {
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

// vanished is an object that this run found or made, and that is not there any more, or not as it was.
type vanished struct {
	side    Side
	ref     cluster.Ref
	changed bool
	// during is what ran; empty is a join.
	during string
	// remedy is what to do about it; empty where whoever says it says that, too.
	remedy string
	// err is the answer that told of it; nil where it was read back.
	err error
}

func (v *vanished) Error() string {
	what := "was removed"
	if v.changed {
		what = "was changed"
	}
	f := Finding{Side: v.side, Object: v.ref.String(), Cause: what + " by somebody else while this " + cmp.Or(v.during, "join") + " ran", Remedy: v.remedy}
	return f.String()
}

func (v *vanished) Unwrap() error { return v.err }

// overtaken is err, an answer to a join that does steps. Where it rests on an object that was there, somebody else removed
// that or made it anew meanwhile, which an API server cannot know.
func overtaken(steps []Step, err error) error {
	failed, ok := errors.AsType[*cluster.Error](err)
	var status apierrors.APIStatus
	if !ok || !errors.As(err, &status) || status.Status().Details == nil || cluster.IsNotServed(err) {
		return err
	}
	v := &vanished{side: failed.Side, err: err}
	if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		v.ref = member.NamespaceRef()
		return v
	}
	// A token that is bound to another Secret than the one of that name is a conflict with a kind for its resource.
	details := status.Status().Details
	v.changed = apierrors.IsConflict(err) && details.Kind == cluster.Secrets.Kind
	if !v.changed && !apierrors.IsNotFound(err) {
		return err
	}
	refs := []cluster.Ref{member.NamespaceRef(), member.MembershipRef(), member.ManagerAccountRef()}
	for _, s := range steps {
		refs = append(refs, s.Object)
	}
	for _, ref := range refs {
		if ref.Name == details.Name && (ref.Resource.Resource == details.Kind || ref.Resource.Kind == details.Kind) {
			v.ref = ref
			return v
		}
	}
	return err
}

func (r *joinRun) finish(ctx context.Context) error {
	stamp := ""
	if r.plan.stamped || r.plan.record != nil {
		stamp = r.plan.facts.Attempt.String()
	}
	by := host.JoinedBy{User: r.plan.facts.Host.User, At: time.Now()}
	m, err := r.plan.host.RecordJoin(ctx, r.plan.Options.Name, stamp, by)
	if err != nil && !isRefused(err) {
		// All else is done and proven: a lost answer is worth a second look, also when a person pressed Ctrl-C.
		fresh, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
		defer cancel()
		now, readErr := r.plan.host.FindMember(fresh, r.plan.Options.Name)
		if readErr == nil && now != nil && now.Annotations[v1alpha1.AnnotationJoinedBy] == by.String() {
			m, err = now, nil
		}
	}
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.record = m
	r.mu.Unlock()
	return nil
}

// tell writes the Event. A join is none the worse for one that is missing.
func (r *joinRun) tell(ctx context.Context) {
	p := r.plan
	message := fmt.Sprintf("joined to federation %q by %s", p.Options.Federation, p.facts.Host.User)
	if err := p.host.Tell(ctx, r.record, "Joined", message); err != nil {
		cause := cluster.Cause(err)
		if stop, ok := errors.AsType[*interrupted](stopped(ctx, err)); ok {
			cause = stop.Error()
		}
		r.note(Finding{Side: SideHost, Object: "Event", Cause: "could not be written: " + cause})
	}
}
