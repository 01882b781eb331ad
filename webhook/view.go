package webhook

import (
	"context"
	"fmt"
	"sync"

	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
)

// view is the host as the watch of its objects tells it. Lists of a cache copy every object they give; with ten
// thousand members that is most of a request, so the view keeps counts of its own.
type view struct {
	mu     sync.RWMutex
	index  *rules.Index
	synced []toolscache.InformerSynced
}

func newView(ctx context.Context, informers cache.Informers) (*view, error) {
	v := &view{index: rules.NewIndex()}
	if err := follow(ctx, v, informers, &v1alpha1.Federation{}, v.index.SetFederation,
		func(f *v1alpha1.Federation) { v.index.DropFederation(v1alpha1.FederationName(f.Name)) }); err != nil {
		return nil, err
	}
	if err := follow(ctx, v, informers, &v1alpha1.MemberCluster{}, v.index.SetMember,
		func(m *v1alpha1.MemberCluster) { v.index.DropMember(v1alpha1.MemberName(m.Name)) }); err != nil {
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
	locked := func(change func(O)) func(any) {
		return func(got any) {
			if gone, ok := got.(toolscache.DeletedFinalStateUnknown); ok {
				got = gone.Obj
			}
			if o, ok := got.(O); ok {
				v.mu.Lock()
				defer v.mu.Unlock()
				change(o)
			}
		}
	}
	registration, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    locked(set),
		UpdateFunc: func(_, now any) { locked(set)(now) },
		DeleteFunc: locked(drop),
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

// read holds the view still while f looks at it.
func (v *view) read(f func(*rules.Index)) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	f(v.index)
}
