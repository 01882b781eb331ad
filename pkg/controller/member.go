package controller

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
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
	prober *prober
}

func setupMember(mgr ctrl.Manager, p *prober) error {
	r := &memberReconciler{client: mgr.GetClient(), prober: p}
	return ctrl.NewControllerManagedBy(mgr).
		Named("member-status").
		For(&v1alpha1.MemberCluster{}).
		// A credential has its member's name.
		Watches(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(func(_ context.Context, secret client.Object) []reconcile.Request {
			if secret.GetNamespace() != v1alpha1.CredentialsNamespace {
				return nil
			}
			return []reconcile.Request{{NamespacedName: client.ObjectKey{Name: secret.GetName()}}}
		})).
		// Not for each new count in its status: that would reconcile every member for each one that joins or leaves.
		Watches(&v1alpha1.Federation{}, handler.EnqueueRequestsFromMapFunc(r.members), builder.WithPredicates(predicate.Funcs{UpdateFunc: touchesMembers})).
		WatchesRawSource(source.Channel(p.changes, handler.TypedEnqueueRequestsFromMapFunc(func(_ context.Context, name string) []reconcile.Request {
			return []reconcile.Request{{NamespacedName: client.ObjectKey{Name: name}}}
		}))).
		Complete(r)
}

// touchesMembers says whether the status of members may follow from what changed in their federation.
func touchesMembers(e event.UpdateEvent) bool {
	before, after := e.ObjectOld.(*v1alpha1.Federation), e.ObjectNew.(*v1alpha1.Federation)
	return before.UID != after.UID || before.Spec.Acceptance != after.Spec.Acceptance ||
		before.Spec.AllowInsecureTLS != after.Spec.AllowInsecureTLS
}

// members are the requests for every member of a federation: its acceptance may have changed.
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

// Reconcile writes the status of one member when it differs, and comes back when the credential is due for renewal or expires.
func (r *memberReconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	o := memberState{member: &v1alpha1.MemberCluster{}, federation: &v1alpha1.Federation{}, credential: &corev1.Secret{}, now: time.Now()}
	if err := r.client.Get(ctx, client.ObjectKey{Name: request.Name}, o.member); err != nil {
		if apierrors.IsNotFound(err) {
			r.prober.drop(request.Name)
		}
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	err := r.client.Get(ctx, client.ObjectKey{Name: string(o.member.Federation())}, o.federation)
	if apierrors.IsNotFound(err) {
		o.federation = nil
	} else if err != nil {
		return reconcile.Result{}, fmt.Errorf("read federation %q: %w", o.member.Federation(), err)
	}
	err = r.client.Get(ctx, client.ObjectKey{Namespace: v1alpha1.CredentialsNamespace, Name: request.Name}, o.credential)
	if apierrors.IsNotFound(err) {
		o.credential = nil
	} else if err != nil {
		return reconcile.Result{}, fmt.Errorf("read the credential of member %q: %w", request.Name, err)
	}

	if err := r.removeForeign(ctx, o); err != nil {
		return reconcile.Result{}, err
	}
	stored := o.judgeCredential()
	if t := o.target(stored); t == nil {
		r.prober.drop(request.Name)
	} else if o.probe, err = r.prober.follow(request.Name, *t, stored.access, o.known(stored)); err != nil {
		return reconcile.Result{}, err
	}
	status := o.status(stored)
	var result reconcile.Result
	if next := o.nextChange(stored); !next.IsZero() {
		result.RequeueAfter = next.Sub(o.now) + time.Second
	}
	if equality.Semantic.DeepEqual(status, o.member.Status) {
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
	return result, client.IgnoreNotFound(err)
}

// removeForeign deletes a credential that was made for another federation than its member is in. A joiner of
// that other federation can make one under any name, and no joiner of this one could replace it. The cache may be
// behind, so exactly what was judged is deleted and nothing newer.
func (r *memberReconciler) removeForeign(ctx context.Context, o memberState) error {
	if o.credential == nil || o.credential.DeletionTimestamp != nil ||
		o.credential.Labels[v1alpha1.LabelFederation] == string(o.member.Federation()) {
		return nil
	}
	err := r.client.Delete(ctx, o.credential, client.Preconditions{UID: &o.credential.UID, ResourceVersion: &o.credential.ResourceVersion})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("delete a credential of another federation that has the name of member %q: %w", o.member.Name, err)
	}
	ctrl.LoggerFrom(ctx).Info("deleted a credential of another federation",
		"member", o.member.Name, "federation", o.credential.Labels[v1alpha1.LabelFederation])
	return nil
}
