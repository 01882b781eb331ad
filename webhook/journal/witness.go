package journal

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
)

// watchLag is how long a write may take to come by the watch, which brings it in milliseconds when it is well.
const watchLag = time.Second

// witness brings the sight of all members up to date with one write, however many there are: it writes the status of
// one of them and waits until the watch brings that, since a watch brings changes in their order. A list of them all
// takes an API server seconds with ten thousand members, and it answers a consistent one only when etcd next tells its
// progress.
type witness struct {
	host *Host
	// status writes the status of members; with nil there is no witness.
	status client.StatusWriter

	mu sync.Mutex
	// next is the round that has not begun: whoever comes now may share it.
	next *round
	// running holds one element, which the round takes that begins.
	running chan struct{}
}

func newWitness(host *Host, status client.StatusWriter) *witness {
	w := &witness{host: host, status: status, running: make(chan struct{}, 1)}
	w.running <- struct{}{}
	return w
}

type round struct {
	done chan struct{}
	// proven says that what was known before it began is up to date.
	proven bool
}

// prove says whether the sight of members is as new as the call. Where it is not, the members are to be listed.
func (w *witness) prove(ctx context.Context) bool {
	if w.status == nil {
		return false
	}
	w.mu.Lock()
	r := w.next
	if r == nil {
		r = &round{done: make(chan struct{})}
		w.next = r
		// Others wait for it, so it is nobody's alone and does not end with its first caller.
		go w.run(context.WithoutCancel(ctx), r)
	}
	w.mu.Unlock()
	select {
	case <-r.done:
		return r.proven
	case <-ctx.Done():
		return false
	}
}

func (w *witness) run(ctx context.Context, r *round) {
	defer close(r.done)
	<-w.running
	defer func() { w.running <- struct{}{} }()
	w.mu.Lock()
	w.next = nil
	w.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, trip)
	defer cancel()
	version, err := w.write(ctx)
	if err != nil {
		return
	}
	ctx, cancel = context.WithTimeout(ctx, watchLag)
	defer cancel()
	r.proven = w.host.await(ctx, version) == nil
}

var errNobody = errors.New("there is no member")

// write writes the status of a member and gives its new version.
func (w *witness) write(ctx context.Context) (uint64, error) {
	patch, err := json.Marshal(map[string]any{"status": map[string]any{"lastWitnessTime": metav1.NowMicro()}})
	if err != nil {
		return 0, err
	}
	for {
		var known *v1alpha1.MemberCluster
		// Any of them, and not always the same: a write makes other clients' versions of it old.
		w.host.Read(func(x *rules.Index) { known = x.AnyMember() })
		if known == nil {
			return 0, errNobody
		}
		m := &v1alpha1.MemberCluster{}
		m.Name = known.Name
		err := w.status.Patch(ctx, m, client.RawPatch(types.MergePatchType, patch), client.FieldOwner(v1alpha1.ManagerFieldOwner))
		switch {
		case apierrors.IsNotFound(err):
			w.host.DropMember(known)
		case err != nil:
			return 0, err
		default:
			return version(m), nil
		}
	}
}
