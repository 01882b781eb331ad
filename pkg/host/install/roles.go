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
	"github.com/kubefederate/kubectl-federate/pkg/host"
)

// collectionTimeout is how long LeftRoles waits for garbage collection.
const collectionTimeout = 10 * time.Second

// LeftRoles are the roles and bindings of a federation that does not exist, which would hold for the next one of its name: a
// deletion with --cascade=orphan leaves them without an owner, so they are never collected. Those that still have an owner
// are about to be collected, which LeftRoles waits for. It only reads.
func LeftRoles(ctx context.Context, h *host.Cluster, federation v1alpha1.FederationName) (left []*unstructured.Unstructured, err error) {
	// One that exists is a conflict for who creates it, and has its roles by right.
	if _, err := h.Federation(ctx, federation); err == nil || !apierrors.IsNotFound(err) {
		return nil, err
	}
	err = wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, collectionTimeout, true, func(ctx context.Context) (bool, error) {
		left, err = Present(ctx, h, manifests.FederationRoles(federation))
		return !slices.ContainsFunc(left, func(o *unstructured.Unstructured) bool { return len(o.GetOwnerReferences()) > 0 }), err
	})
	if wait.Interrupted(err) && ctx.Err() == nil {
		err = nil // then they are left
	}
	return left, err
}
