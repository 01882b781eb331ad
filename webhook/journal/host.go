package journal

import (
	"context"
	"strconv"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
)

// remembered is how long a uid that is gone is known as such. It is far longer than a watch lags and an entry lives.
const remembered = time.Hour

// Host is the newest that a replica knows of the host, from its watches and from live reads. It only goes
// forward: what is older than what it has is left out.
type Host struct {
	mu    sync.RWMutex
	index *rules.Index
	gone  map[types.UID]time.Time
	swept time.Time
	// changes counts what the index took notice of.
	changes uint64

	// watched is the newest version of a member that the watch has brought; came is closed when it brings more, or nil
	// where nobody waits.
	watched uint64
	came    chan struct{}
}

// NewHost knows nothing yet.
func NewHost() *Host {
	return &Host{index: rules.NewIndex(), gone: map[types.UID]time.Time{}}
}

// Read holds the host still while f looks at it.
func (h *Host) Read(f func(*rules.Index)) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	f(h.index)
}

// since says whether anything was taken notice of since changes had a value.
func (h *Host) since(changes uint64) bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.changes != changes
}

// SetMember takes notice of a member.
func (h *Host) SetMember(m *v1alpha1.MemberCluster) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.newer(m, h.object(Member, m.Name)) {
		h.index.SetMember(m)
		h.changes++
	}
}

// WatchMember takes notice of a member that the watch brings, and with it of everything that came before.
func (h *Host) WatchMember(m *v1alpha1.MemberCluster) {
	h.SetMember(m)
	h.bring(m)
}

// UnwatchMember takes notice that a member is gone, as the watch tells.
func (h *Host) UnwatchMember(m *v1alpha1.MemberCluster) {
	h.DropMember(m)
	h.bring(m)
}

func (h *Host) bring(m *v1alpha1.MemberCluster) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.watched = max(h.watched, version(m))
	if h.came != nil {
		close(h.came)
		h.came = nil
	}
}

// await returns when the watch has brought a version of a member, and so everything that happened to members before.
func (h *Host) await(ctx context.Context, version uint64) error {
	for {
		h.mu.Lock()
		there := h.watched >= version
		if h.came == nil {
			h.came = make(chan struct{})
		}
		came := h.came
		h.mu.Unlock()
		if there {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-came:
		}
	}
}

// SetFederation takes notice of a federation.
func (h *Host) SetFederation(f *v1alpha1.Federation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.newer(f, h.object(Federation, f.Name)) {
		h.index.SetFederation(f)
		h.changes++
	}
}

// DropMember takes notice that a member is gone.
func (h *Host) DropMember(m *v1alpha1.MemberCluster) { h.drop(Member, m.Name, m.UID) }

// DropFederation takes notice that a federation is gone.
func (h *Host) DropFederation(f *v1alpha1.Federation) { h.drop(Federation, f.Name, f.UID) }

func (h *Host) drop(kind Kind, name string, uid types.UID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	if uid != "" {
		h.gone[uid] = now
	}
	if now.Sub(h.swept) > remembered/10 {
		h.swept = now
		for uid, at := range h.gone {
			if now.Sub(at) > remembered {
				delete(h.gone, uid)
			}
		}
	}
	if o := h.object(kind, name); o == nil || o.GetUID() != uid {
		return
	}
	h.changes++
	switch kind {
	case Member:
		h.index.DropMember(v1alpha1.MemberName(name))
	case Federation:
		h.index.DropFederation(v1alpha1.FederationName(name))
	}
}

// object is what is known under a name, or nil.
func (h *Host) object(kind Kind, name string) client.Object {
	switch kind {
	case Member:
		if m := h.index.Member(v1alpha1.MemberName(name)); m != nil {
			return m
		}
	case Federation:
		if f := h.index.Federation(v1alpha1.FederationName(name)); f != nil {
			return f
		}
	}
	return nil
}

func (h *Host) newer(o, known client.Object) bool {
	if _, gone := h.gone[o.GetUID()]; gone {
		return false
	}
	return known == nil || version(o) >= version(known)
}

// past says whether what is known includes the write of an entry, or that it failed. The host is held still.
func (h *Host) past(e *Entry) bool {
	if _, gone := h.gone[e.UID]; gone {
		return true
	}
	o := h.object(e.Kind, e.Name)
	switch {
	case o == nil:
		return false
	case o.GetUID() == e.UID:
		return e.After == 0 || version(o) > e.After
	}
	// Another object has the name. What an update was judged upon is gone then; a create may still come.
	return e.After != 0 && version(o) > e.After
}

// version is an object's resourceVersion, which API servers let clients compare within one resource.
func version(o client.Object) uint64 {
	v, err := strconv.ParseUint(o.GetResourceVersion(), 10, 64)
	if err != nil {
		return 0
	}
	return v
}
