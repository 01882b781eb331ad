package install

import (
	"context"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/host"
)

// collectionTimeout is how long LeftRoles waits for garbage collection.
const collectionTimeout = 10 * time.Second

// LeftRoles are the roles and bindings of a federation that does not exist, which would hold for the next one of its name: a
// deletion with --cascade=orphan leaves them without an owner, so they are never collected. Those that still have that
// federation as their owner are about to be collected: LeftRoles deletes them where it may, which is what garbage collection
// will do, and waits for it otherwise.
func LeftRoles(ctx context.Context, h *host.Cluster, federation v1alpha1.FederationName, dryRun cluster.DryRun) (left []*unstructured.Unstructured, err error) {
	// One that exists is a conflict for who creates it, and has its roles by right.
	if _, err := h.Federation(ctx, federation); err == nil || !apierrors.IsNotFound(err) {
		return nil, err
	}
	collected := func(o *unstructured.Unstructured) bool {
		owners := o.GetOwnerReferences()
		return len(owners) == 1 && owners[0].Kind == cluster.Federations.Kind && owners[0].Name == string(federation)
	}
	err = wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, collectionTimeout, true, func(ctx context.Context) (bool, error) {
		if left, err = Present(ctx, h, manifests.FederationRoles(federation)); err != nil {
			return false, err
		}
		if dryRun != cluster.DryRunNone {
			left = slices.DeleteFunc(left, collected)
			return true, nil
		}
		done := true
		for _, o := range left {
			if collected(o) {
				done = false
				if err := h.Delete(ctx, refOf(o), cluster.Preconditions{UID: o.GetUID()}, dryRun); err != nil && !apierrors.IsForbidden(err) && !apierrors.IsConflict(err) {
					return false, err
				}
			}
		}
		return done, nil
	})
	if wait.Interrupted(err) && ctx.Err() == nil {
		err = nil // then they are left
	}
	return left, err
}
