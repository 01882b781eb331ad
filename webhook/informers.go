package webhook

import (
	"context"
	"fmt"

	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/webhook/journal"
)

// informers watch the host. Lists of a cache copy every object that they return; with ten thousand members that is most of
// a request, so objects are counted as the watch brings them.
type informers struct {
	hasSynced []toolscache.InformerSynced
}

func newInformers(ctx context.Context, c cache.Informers, host *journal.Host) (*informers, error) {
	i := &informers{}
	for _, kind := range []client.Object{&v1alpha1.Federation{}, &v1alpha1.MemberCluster{}} {
		informer, err := c.GetInformer(ctx, kind)
		if err != nil {
			return nil, fmt.Errorf("watch %T: %w", kind, err)
		}
		registration, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
			AddFunc:    func(o any) { host.Set(o.(client.Object)) },
			UpdateFunc: func(before, now any) { host.Replace(before.(client.Object), now.(client.Object)) },
			DeleteFunc: func(o any) {
				if last, missed := o.(toolscache.DeletedFinalStateUnknown); missed {
					o = last.Obj
				}
				host.Drop(o.(client.Object))
			},
		})
		if err != nil {
			return nil, fmt.Errorf("watch %T: %w", kind, err)
		}
		i.hasSynced = append(i.hasSynced, registration.HasSynced)
	}
	return i, nil
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
