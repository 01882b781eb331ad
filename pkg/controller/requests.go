package controller

import (
	"context"
	"time"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// federationOf requests the federation of a member that changed, once for all that change within delay. What is updated counts where
// touches says so.
func federationOf(delay time.Duration, touches func(event.UpdateEvent) bool) handler.EventHandler {
	add := func(q queue, member client.Object) {
		if name := member.GetLabels()[v1alpha1.LabelFederation]; name != "" {
			q.AddAfter(reconcile.Request{NamespacedName: client.ObjectKey{Name: name}}, delay)
		}
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q queue) { add(q, e.Object) },
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q queue) {
			if touches(e) {
				add(q, e.ObjectOld)
				add(q, e.ObjectNew)
			}
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q queue) { add(q, e.Object) },
	}
}

// requests adds to the queue of a controller what no watch of an API server brings.
type requests struct {
	// queue is that of the controller once ready is closed.
	queue queue
	ready chan struct{}
}

func newRequests() *requests { return &requests{ready: make(chan struct{})} }

// source is for the controller, which starts it once.
func (r *requests) source() source.Source {
	return source.Func(func(_ context.Context, q queue) error {
		r.queue = q
		close(r.ready)
		return nil
	})
}

// add requests an object by its name, once the controller has started and after a delay, unless ctx ends before.
func (r *requests) add(ctx context.Context, name string, delay time.Duration) {
	select {
	case <-r.ready:
		r.queue.AddAfter(reconcile.Request{NamespacedName: client.ObjectKey{Name: name}}, delay)
	case <-ctx.Done():
	}
}
