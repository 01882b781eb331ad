package webhook

import (
	"context"
	"fmt"
	"strconv"

	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/webhook/journal"
)

// informers watch the host. Lists of a cache copy every object they give; with ten thousand members that is most of a
// request, so what is seen is counted as it comes.
type informers struct {
	hasSynced []toolscache.InformerSynced
}

func newInformers(ctx context.Context, c cache.Informers, host *journal.Host) (*informers, error) {
	i := &informers{}
	if err := watch(ctx, i, c, &v1alpha1.Federation{}, host, host.SetFederation, host.DropFederation); err != nil {
		return nil, err
	}
	if err := watch(ctx, i, c, &v1alpha1.MemberCluster{}, host, host.SetMember, host.DropMember); err != nil {
		return nil, err
	}
	return i, nil
}

// object is a pointer to one of the kinds.
type object interface {
	*v1alpha1.Federation | *v1alpha1.MemberCluster
	client.Object
}

func watch[O object](ctx context.Context, i *informers, c cache.Informers, kind O, host *journal.Host, set, drop func(O)) error {
	informer, err := c.GetInformer(ctx, kind)
	if err != nil {
		return fmt.Errorf("watch %T: %w", kind, err)
	}
	typed := func(change func(O)) func(any) {
		return func(got any) {
			if gone, ok := got.(toolscache.DeletedFinalStateUnknown); ok {
				got = gone.Obj
			}
			if o, ok := got.(O); ok {
				change(o)
			}
		}
	}
	registration, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc: typed(set),
		UpdateFunc: func(before, now any) {
			if older(before, now) {
				host.WentBack()
			}
			typed(set)(now)
		},
		DeleteFunc: typed(drop),
	})
	if err != nil {
		return fmt.Errorf("watch %T: %w", kind, err)
	}
	i.hasSynced = append(i.hasSynced, registration.HasSynced)
	return nil
}

// older says whether an object that is seen now has an older version than the one that was seen before it.
func older(before, now any) bool {
	a, isA := before.(client.Object)
	b, isB := now.(client.Object)
	if !isA || !isB || a.GetUID() != b.GetUID() {
		return false
	}
	was, errA := strconv.ParseUint(a.GetResourceVersion(), 10, 64)
	is, errB := strconv.ParseUint(b.GetResourceVersion(), 10, 64)
	return errA == nil && errB == nil && is < was
}

// synced says whether everything that was there at the start has been seen.
func (i *informers) synced() bool {
	for _, synced := range i.hasSynced {
		if !synced() {
			return false
		}
	}
	return true
}
