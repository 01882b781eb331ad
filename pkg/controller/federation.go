package controller

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
)

// federationReconciler keeps the counts in the status of Federations.
type federationReconciler struct {
	client     client.Client
	judgements *judgements
	publisher  *publisher
	namer      *namer
}

func setupFederation(mgr ctrl.Manager, judgements *judgements, publisher *publisher, namer *namer) error {
	r := &federationReconciler{client: mgr.GetClient(), judgements: judgements, publisher: publisher, namer: namer}
	named := handler.TypedEnqueueRequestsFromMapFunc(func(_ context.Context, name string) []reconcile.Request {
		return []reconcile.Request{{NamespacedName: client.ObjectKey{Name: name}}}
	})
	return ctrl.NewControllerManagedBy(mgr).
		Named("federation-status").
		For(&v1alpha1.Federation{}).
		Watches(&v1alpha1.MemberCluster{}, federationOf(countDelay, recounts)).
		WatchesRawSource(source.Channel(publisher.federations, named)).
		WatchesRawSource(source.Channel(namer.federations, named)).
		Complete(r)
}

// countDelay is how long a count waits for more members to change, so that a thousand joins at once are not
// counted a thousand times.
const countDelay = 300 * time.Millisecond

// judgeDelay is how long a count waits for members that have not been judged by new rules yet.
const judgeDelay = time.Second

// recounts says whether a count may follow from what changed of a member. Probes change statuses far more often than that.
func recounts(e event.UpdateEvent) bool {
	return counted(e.ObjectOld) != counted(e.ObjectNew) || !maps.Equal(e.ObjectOld.GetLabels(), e.ObjectNew.GetLabels())
}

// counted is what a count depends on, beside labels.
func counted(member client.Object) (c struct {
	phase     v1alpha1.Phase
	violating bool
}) {
	if m, ok := member.(*v1alpha1.MemberCluster); ok {
		c.phase, c.violating = m.Status.Phase, len(m.Status.Violations) > 0
	}
	return c
}

// count is the status of a federation with these members. Its generation stays what it was until every member has been judged by
// the rules of this one.
func count(federation *v1alpha1.Federation, members []v1alpha1.MemberCluster, judgements *judgements) v1alpha1.FederationStatus {
	status := *federation.Status.DeepCopy()
	status.Members, status.Ready, status.Pending, status.Violating = int32(len(members)), 0, 0, 0
	complete := true
	for i := range members {
		switch members[i].Status.Phase {
		case v1alpha1.PhaseReady:
			status.Ready++
		case v1alpha1.PhasePending:
			status.Pending++
		}
		violating, current := judgements.judged(federation, &members[i])
		if violating {
			status.Violating++
		}
		complete = complete && current
	}
	if complete {
		status.ObservedGeneration = federation.Generation
	}
	setLimits(&status, federation, members)
	return status
}

// shownLimits is how many exceeded limits a condition names.
const shownLimits = 5

// setLimits sets the condition WithinLimits; a federation without limits has none.
func setLimits(status *v1alpha1.FederationStatus, federation *v1alpha1.Federation, members []v1alpha1.MemberCluster) {
	if len(federation.Spec.Limits) == 0 {
		meta.RemoveStatusCondition(&status.Conditions, v1alpha1.ConditionWithinLimits)
		return
	}
	c := metav1.Condition{
		Type: v1alpha1.ConditionWithinLimits, Status: metav1.ConditionTrue, ObservedGeneration: federation.Generation,
		Reason: v1alpha1.ReasonLimitsKept, Message: "the federation has no more members than its limits allow",
	}
	if exceeded := rules.ExceededLimits(federation, pointers(members)); len(exceeded) > 0 {
		c.Status, c.Reason = metav1.ConditionFalse, v1alpha1.ReasonLimitExceeded
		c.Message = strings.Join(exceeded[:min(len(exceeded), shownLimits)], "; ")
		if more := len(exceeded) - shownLimits; more > 0 {
			c.Message += fmt.Sprintf("; and %d more", more)
		}
	}
	meta.SetStatusCondition(&status.Conditions, c)
}

func pointers(members []v1alpha1.MemberCluster) iter.Seq[*v1alpha1.MemberCluster] {
	return func(yield func(*v1alpha1.MemberCluster) bool) {
		for i := range members {
			if !yield(&members[i]) {
				return
			}
		}
	}
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
	status := count(federation, members.Items, r.judgements)
	r.publisher.setInventory(&status, federation)
	r.namer.setServices(&status, federation)
	var result reconcile.Result
	if status.ObservedGeneration < federation.Generation {
		result.RequeueAfter = judgeDelay
	}
	if equality.Semantic.DeepEqual(status, federation.Status) {
		return result, nil
	}
	updated := federation.DeepCopy()
	updated.Status = status
	// Not a patch: a first status of zeros differs from none, but not in what a patch would send.
	err = r.client.Status().Update(ctx, updated, client.FieldOwner(v1alpha1.ManagerFieldOwner))
	if apierrors.IsConflict(err) {
		return reconcile.Result{RequeueAfter: conflictDelay}, nil
	}
	return result, client.IgnoreNotFound(err)
}
