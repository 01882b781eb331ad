package controller

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// federationReconciler keeps the counts in the status of Federations.
type federationReconciler struct{ client client.Client }

func setupFederation(mgr ctrl.Manager) error {
	r := &federationReconciler{client: mgr.GetClient()}
	return ctrl.NewControllerManagedBy(mgr).
		Named("federation-status").
		For(&v1alpha1.Federation{}).
		Watches(&v1alpha1.MemberCluster{}, recount()).
		Complete(r)
}

// countDelay is how long a count waits for more members to change, so that a thousand joins at once are not
// counted a thousand times.
const countDelay = 300 * time.Millisecond

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// recount requests the federation of a member that changed, once for all that change within countDelay.
func recount() handler.EventHandler {
	add := func(q queue, member client.Object) {
		if name := member.GetLabels()[v1alpha1.LabelFederation]; name != "" {
			q.AddAfter(reconcile.Request{NamespacedName: client.ObjectKey{Name: name}}, countDelay)
		}
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q queue) { add(q, e.Object) },
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q queue) {
			// Probes change statuses far more often than counts.
			if counted(e.ObjectOld) == counted(e.ObjectNew) {
				return
			}
			add(q, e.ObjectOld)
			add(q, e.ObjectNew)
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q queue) { add(q, e.Object) },
	}
}

// counted is what a count depends on.
func counted(member client.Object) (c struct {
	federation string
	phase      v1alpha1.Phase
}) {
	c.federation = member.GetLabels()[v1alpha1.LabelFederation]
	if m, ok := member.(*v1alpha1.MemberCluster); ok {
		c.phase = m.Status.Phase
	}
	return c
}

// count is the status of a federation with these members.
func count(federation *v1alpha1.Federation, members []v1alpha1.MemberCluster) v1alpha1.FederationStatus {
	status := *federation.Status.DeepCopy()
	status.ObservedGeneration = federation.Generation
	status.Members, status.Ready, status.Pending = int32(len(members)), 0, 0
	for i := range members {
		switch members[i].Status.Phase {
		case v1alpha1.PhaseReady:
			status.Ready++
		case v1alpha1.PhasePending:
			status.Pending++
		}
	}
	return status
}

// Reconcile counts the members of one federation.
func (r *federationReconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	federation := &v1alpha1.Federation{}
	if err := r.client.Get(ctx, request.NamespacedName, federation); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	var members v1alpha1.MemberClusterList
	// The list is read only, so it need not be copied out of the cache.
	err := r.client.List(ctx, &members, client.MatchingLabels{v1alpha1.LabelFederation: federation.Name}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return reconcile.Result{}, err
	}
	status := count(federation, members.Items)
	if equality.Semantic.DeepEqual(status, federation.Status) {
		return reconcile.Result{}, nil
	}
	updated := federation.DeepCopy()
	updated.Status = status
	// Not a patch: a first status of zeros differs from none, but not in what a patch would send.
	err = r.client.Status().Update(ctx, updated, client.FieldOwner(v1alpha1.ManagerFieldOwner))
	if apierrors.IsConflict(err) {
		return reconcile.Result{RequeueAfter: conflictDelay}, nil
	}
	return reconcile.Result{}, client.IgnoreNotFound(err)
}
