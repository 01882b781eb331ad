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

// view follows the host. Lists of a cache copy every object they give; with ten thousand members that is most of a
// request, so what is seen is counted as it comes.
type view struct {
	synced []toolscache.InformerSynced
}

func newView(ctx context.Context, informers cache.Informers, host *journal.Host) (*view, error) {
	v := &view{}
	if err := follow(ctx, v, informers, &v1alpha1.Federation{}, host.SetFederation, host.DropFederation); err != nil {
		return nil, err
	}
	if err := follow(ctx, v, informers, &v1alpha1.MemberCluster{}, host.SetMember, host.DropMember); err != nil {
		return nil, err
	}
	return v, nil
}

// object is a pointer to one of our kinds.
type object interface {
	*v1alpha1.Federation | *v1alpha1.MemberCluster
	client.Object
}

func follow[O object](ctx context.Context, v *view, informers cache.Informers, kind O, set, drop func(O)) error {
	informer, err := informers.GetInformer(ctx, kind)
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
		AddFunc:    typed(set),
		UpdateFunc: func(_, now any) { typed(set)(now) },
		DeleteFunc: typed(drop),
	})
	if err != nil {
		return fmt.Errorf("watch %T: %w", kind, err)
	}
	v.synced = append(v.synced, registration.HasSynced)
	return nil
}

// ready says whether everything that was there at the start has been seen.
func (v *view) ready() bool {
	for _, synced := range v.synced {
		if !synced() {
			return false
		}
	}
	return true
}
