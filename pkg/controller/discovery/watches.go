package discovery

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// watchRest is how long a watch rests that has ended, and failedRest that of a kind that the host does not serve, or does not
	// let this account read.
	watchRest, failedRest = time.Second, 15 * time.Second
)

// alarm says when the next round is due.
type alarm struct {
	mu  sync.Mutex
	at  time.Time // zero where none is
	set chan struct{}
}

func newAlarm() *alarm { return &alarm{set: make(chan struct{}, 1)} }

// in has a round begin in a while, or sooner.
func (a *alarm) in(d time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if at := time.Now().Add(d); a.at.IsZero() || at.Before(a.at) {
		a.at = at
		select {
		case a.set <- struct{}{}:
		default:
		}
	}
}

// wait returns when a round is due, at the latest after most; then none is, until in is called.
func (a *alarm) wait(ctx context.Context, most time.Duration) {
	end := time.Now().Add(most)
	for {
		a.mu.Lock()
		at := a.at
		if at.IsZero() || at.After(end) {
			at = end
		}
		left := time.Until(at)
		if left <= 0 {
			a.at = time.Time{}
		}
		a.mu.Unlock()
		if left <= 0 {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-a.set:
		case <-time.After(left):
		}
	}
}

// onChange sets the alarm at each change of what people and controllers ask for. Status changes all the time.
func (a *alarm) onChange() toolscache.ResourceEventHandler {
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { a.in(urgent) },
		DeleteFunc: func(any) { a.in(urgent) },
		UpdateFunc: func(before, now any) {
			was, wasOK := before.(client.Object)
			is, isOK := now.(client.Object)
			if wasOK && isOK && (was.GetGeneration() != is.GetGeneration() || !maps.Equal(was.GetLabels(), is.GetLabels())) {
				a.in(urgent)
			}
		},
	}
}

// watches sets the alarm at each change of what is watched.
type watches struct {
	client client.WithWatch
	alarm  *alarm

	mu sync.Mutex
	of map[watched]*watching
}

// watched is a kind, in a namespace where that is not empty.
type watched struct {
	group, kind, namespace string
	// versions are those that may be served, the preferred first, with commas between.
	versions string
	// labels select objects, as kubectl's -l does.
	labels string
	// clusterWide says that all objects count, whatever their namespace is.
	clusterWide bool
}

// watching is a watch that goes on.
type watching struct {
	stop context.CancelFunc
	// namespaces are those whose objects count.
	namespaces atomic.Pointer[[]string]
}

// set has exactly these watched, with the namespaces whose objects count.
func (w *watches) set(ctx context.Context, wanted map[watched][]string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for k, namespaces := range wanted {
		running := w.of[k]
		if running == nil {
			running = &watching{}
			var watch context.Context
			watch, running.stop = context.WithCancel(ctx)
			running.namespaces.Store(&namespaces)
			w.of[k] = running
			go w.watch(watch, k, running)
		}
		running.namespaces.Store(&namespaces)
	}
	for k, running := range w.of {
		if _, still := wanted[k]; !still {
			running.stop()
			delete(w.of, k)
		}
	}
}

func (w *watches) watch(ctx context.Context, k watched, running *watching) {
	known := map[types.UID]string{}
	for ctx.Err() == nil {
		rest := watchRest
		if !w.once(ctx, k, running, known) {
			rest = failedRest
		}
		select {
		case <-ctx.Done():
		case <-time.After(rest):
		}
	}
}

// once watches until the server ends it, and says whether it let it begin. It begins with all that there is. Metadata is enough: what
// has changed is read in a round. What only a status has changed of is less urgent, since it changes all the time.
func (w *watches) once(ctx context.Context, k watched, running *watching, known map[types.UID]string) bool {
	selector, err := labels.Parse(k.labels)
	if err != nil {
		return false
	}
	var events watch.Interface
	for version := range strings.SplitSeq(k.versions, ",") {
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(schema.GroupVersionKind{Group: k.group, Version: version, Kind: k.kind + "List"})
		var err error
		if events, err = w.client.Watch(ctx, list, client.InNamespace(k.namespace), client.MatchingLabelsSelector{Selector: selector}); err == nil {
			break
		}
	}
	if events == nil {
		return false
	}
	defer events.Stop()
	for event := range events.ResultChan() {
		o, ok := event.Object.(*metav1.PartialObjectMetadata)
		if !ok || !k.clusterWide && !slices.Contains(*running.namespaces.Load(), o.Namespace) {
			continue
		}
		state := fmt.Sprint(o.Labels, o.DeletionTimestamp, o.Generation)
		switch was, was0 := known[o.UID]; {
		case event.Type == watch.Deleted:
			delete(known, o.UID)
			w.alarm.in(urgent)
		case was0 && was == state:
			w.alarm.in(leisure)
		default:
			known[o.UID] = state
			w.alarm.in(urgent)
		}
	}
	return true
}
