package controller

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// memberReconciler writes the status of MemberClusters, and nothing else does. The status follows from what is on the host
// and what the prober observed.
type memberReconciler struct {
	client client.Client
	// direct reads past the cache.
	direct      client.Reader
	credentials *credentials
	prober      *prober
	renewer     *renewer
	recorder    events.EventRecorder
	phases      *phaseEvents
	judgements  *judgements
	publisher   *publisher
	namer       *namer
}

func setupMember(mgr ctrl.Manager, p *prober, renewer *renewer, judgements *judgements, publisher *publisher, namer *namer) error {
	r := &memberReconciler{
		client: mgr.GetClient(), direct: mgr.GetAPIReader(), credentials: newCredentials(mgr.GetAPIReader()), prober: p, renewer: renewer,
		recorder:   mgr.GetEventRecorder(v1alpha1.ManagerFieldOwner),
		judgements: judgements, publisher: publisher, namer: namer,
	}
	r.phases = &phaseEvents{recorder: r.recorder, held: map[string]heldEvent{}}
	return ctrl.NewControllerManagedBy(mgr).
		Named("member-status").
		For(&v1alpha1.MemberCluster{}).
		// A credential has its member's name.
		Watches(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(func(_ context.Context, secret client.Object) []reconcile.Request {
			if secret.GetNamespace() != v1alpha1.CredentialsNamespace {
				return nil
			}
			return []reconcile.Request{{NamespacedName: client.ObjectKey{Name: secret.GetName()}}}
		}), builder.OnlyMetadata).
		// A manager that starts reads each credential; workers wait for the host most of their time.
		WithOptions(controller.Options{MaxConcurrentReconciles: 16}).
		// Not for each new count in its status: that would reconcile every member for each one that joins or leaves.
		Watches(&v1alpha1.Federation{}, handler.EnqueueRequestsFromMapFunc(r.members), builder.WithPredicates(predicate.Funcs{UpdateFunc: touchesMembers})).
		WatchesRawSource(source.Channel(p.changes, handler.TypedEnqueueRequestsFromMapFunc(func(_ context.Context, name string) []reconcile.Request {
			return []reconcile.Request{{NamespacedName: client.ObjectKey{Name: name}}}
		}))).
		Complete(r)
}

// touchesMembers says whether the status of members may follow from what changed in their federation.
func touchesMembers(e event.UpdateEvent) bool {
	before, after := e.ObjectOld, e.ObjectNew
	// Rules read the labels of a federation, too.
	return before.GetUID() != after.GetUID() || before.GetGeneration() != after.GetGeneration() || !maps.Equal(before.GetLabels(), after.GetLabels())
}

// members are the requests for every member of a federation: its acceptance or its rules may have changed.
func (r *memberReconciler) members(ctx context.Context, federation client.Object) []reconcile.Request {
	var list v1alpha1.MemberClusterList
	// Names are taken from the list, so it need not be copied out of the cache.
	err := r.client.List(ctx, &list, client.MatchingLabels{v1alpha1.LabelFederation: federation.GetName()}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return nil
	}
	requests := make([]reconcile.Request, len(list.Items))
	for i := range list.Items {
		requests[i].Name = list.Items[i].Name
	}
	return requests
}

// conflictDelay is how long a reconciler waits for its cache to show what another write has changed.
const conflictDelay = 100 * time.Millisecond

// Reconcile writes the status of one member when it differs, and comes back when the credential is to be renewed or expires.
func (r *memberReconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	o := memberState{member: &v1alpha1.MemberCluster{}, federation: &v1alpha1.Federation{}, now: time.Now()}
	secret, err := r.metadata(ctx, request.Name)
	if err != nil {
		return reconcile.Result{}, err
	}
	if err := r.client.Get(ctx, client.ObjectKey{Name: request.Name}, o.member); err != nil {
		if !apierrors.IsNotFound(err) {
			return reconcile.Result{}, err
		}
		r.prober.drop(request.Name)
		r.credentials.forget(request.Name)
		r.renewer.forget(request.Name)
		r.judgements.forget(request.Name)
		r.phases.forget(request.Name)
		return reconcile.Result{}, r.removeOrphan(ctx, secret)
	}
	err = r.client.Get(ctx, client.ObjectKey{Name: string(o.member.Federation())}, o.federation)
	if apierrors.IsNotFound(err) {
		o.federation = nil
	} else if err != nil {
		return reconcile.Result{}, fmt.Errorf("read federation %q: %w", o.member.Federation(), err)
	}
	if err := r.removeForeign(ctx, o, secret); err != nil {
		return reconcile.Result{}, err
	}
	read, err := r.credentials.read(ctx, o, secret)
	if err != nil {
		return reconcile.Result{}, err
	}
	if read != nil && read.reason == v1alpha1.ReasonCredentialNotOwned {
		if err := r.removeOrphan(ctx, secret); err != nil {
			return reconcile.Result{}, err
		}
	}
	stored := o.judge(read)
	if t := o.target(stored); t == nil {
		r.prober.drop(request.Name)
	} else if o.probe, err = r.prober.follow(request.Name, *t, r.credentials.open(ctx, o, read), o.known(stored)); err != nil {
		return reconcile.Result{}, err
	}
	o.renewed = r.renewer.last(request.Name, stored.hash)
	o.published = r.publisher.condition(request.Name)
	o.servicesLack = r.namer.lacks(request.Name)
	status := o.status(stored)
	var result reconcile.Result
	if next := o.nextChange(stored); !next.IsZero() {
		result.RequeueAfter = next.Sub(o.now) + time.Second
	}
	again := func(left time.Duration) {
		if result.RequeueAfter == 0 || left < result.RequeueAfter {
			result.RequeueAfter = left
		}
	}
	if wait := r.phases.due(o.member, o.now); wait > 0 {
		again(wait)
	}
	if due, ok := o.renewalTime(stored, o.renewed, r.renewer.schedule); ok && !due.After(o.now) {
		r.renewer.request(request.Name)
	} else if ok {
		again(due.Sub(o.now))
	}
	violating := len(status.Violations) > 0
	if equality.Semantic.DeepEqual(status, o.member.Status) {
		r.judgements.note(o, violating)
		return result, nil
	}
	updated := o.member.DeepCopy()
	updated.Status = status
	// Only what changed is sent, against the state that was read: two replicas never write over each other.
	patch := client.MergeFromWithOptions(o.member, client.MergeFromWithOptimisticLock{})
	err = r.client.Status().Patch(ctx, updated, patch, client.FieldOwner(v1alpha1.ManagerFieldOwner))
	if apierrors.IsConflict(err) {
		return reconcile.Result{RequeueAfter: conflictDelay}, nil
	}
	if err == nil {
		r.phases.changed(updated, o.member.Status.Phase, o.now)
		if wait := r.phases.due(updated, o.now); wait > 0 {
			again(wait)
		}
		recordProperties(r.recorder, updated, o.member.Status.Conditions)
		r.judgements.note(o, violating)
	}
	return result, client.IgnoreNotFound(err)
}

// metadata is the cached part of a member's credential: its metadata alone, so that what others store does not fill the
// memory of the manager. It is nil when there is none.
func (r *memberReconciler) metadata(ctx context.Context, name string) (*metav1.PartialObjectMetadata, error) {
	secret := &metav1.PartialObjectMetadata{}
	secret.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	err := r.client.Get(ctx, client.ObjectKey{Namespace: v1alpha1.CredentialsNamespace, Name: name}, secret)
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // there is none
	}
	if err != nil {
		return nil, fmt.Errorf("read the credential of member %q: %w", name, err)
	}
	return secret, nil
}

// removeForeign deletes a credential that was made for another federation than its member is in. A joiner of
// that other federation can make one under any name, and no joiner of this one could replace it. The cache may be
// behind, so exactly what was judged is deleted and nothing newer.
func (r *memberReconciler) removeForeign(ctx context.Context, o memberState, secret *metav1.PartialObjectMetadata) error {
	if secret == nil || secret.DeletionTimestamp != nil || secret.Labels[v1alpha1.LabelFederation] == string(o.member.Federation()) {
		return nil
	}
	return r.remove(ctx, secret, "a credential of another federation")
}

// removeOrphan deletes a credential that belongs to no MemberCluster: that was deleted and its credential kept, or made anew.
// Kubernetes collects others. Both are read past the cache first.
func (r *memberReconciler) removeOrphan(ctx context.Context, secret *metav1.PartialObjectMetadata) error {
	if secret == nil || secret.DeletionTimestamp != nil {
		return nil
	}
	var live corev1.Secret
	if err := r.direct.Get(ctx, client.ObjectKeyFromObject(secret), &live); err != nil {
		return client.IgnoreNotFound(err)
	}
	var owner v1alpha1.MemberCluster
	err := r.direct.Get(ctx, client.ObjectKey{Name: secret.Name}, &owner)
	switch {
	case err != nil && !apierrors.IsNotFound(err):
		return fmt.Errorf("read member %q: %w", secret.Name, err)
	case live.UID != secret.UID || live.Type != v1alpha1.CredentialType,
		err == nil && slices.ContainsFunc(live.OwnerReferences, func(o metav1.OwnerReference) bool { return o.UID == owner.UID }):
		return nil
	}
	secret.ResourceVersion = live.ResourceVersion
	return r.remove(ctx, secret, "a credential without a member")
}

func (r *memberReconciler) remove(ctx context.Context, secret *metav1.PartialObjectMetadata, what string) error {
	err := r.client.Delete(ctx, secret, client.Preconditions{UID: &secret.UID, ResourceVersion: &secret.ResourceVersion})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("delete %s, %q: %w", what, secret.Name, err)
	}
	ctrl.LoggerFrom(ctx).Info("deleted "+what, "member", secret.Name, "federation", secret.Labels[v1alpha1.LabelFederation])
	return nil
}
