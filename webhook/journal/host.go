package journal

import (
	"maps"
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
	// last is what each name was dropped with: a late watch may bring what came before.
	last  map[named]dropped
	swept time.Time
	// changes counts what the index took notice of.
	changes uint64
	// listed is the version at which all objects of a kind were listed.
	listed map[Kind]uint64
}

type named struct {
	kind Kind
	name string
}

type dropped struct {
	version uint64
	at      time.Time
}

// NewHost knows nothing yet.
func NewHost() *Host {
	return &Host{index: rules.NewIndex(), gone: map[types.UID]time.Time{}, last: map[named]dropped{}, listed: map[Kind]uint64{}}
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
	if h.newer(Member, m, h.object(Member, m.Name)) {
		h.index.SetMember(m)
		h.changes++
	}
}

// SetFederation takes notice of a federation.
func (h *Host) SetFederation(f *v1alpha1.Federation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.newer(Federation, f, h.object(Federation, f.Name)) {
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
		maps.DeleteFunc(h.gone, func(_ types.UID, at time.Time) bool { return now.Sub(at) > remembered })
		maps.DeleteFunc(h.last, func(_ named, d dropped) bool { return now.Sub(d.at) > remembered })
	}
	o := h.object(kind, name)
	if o == nil || o.GetUID() != uid {
		return
	}
	h.last[named{kind, name}] = dropped{version(o), now}
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

// list takes notice that all objects of a kind were listed at a version. What was not among them and is older, as the
// watch of a replica that has just started may bring it, is gone.
func (h *Host) list(kind Kind, version uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.listed[kind] = max(h.listed[kind], version)
}

func (h *Host) newer(kind Kind, o, known client.Object) bool {
	if _, gone := h.gone[o.GetUID()]; gone {
		return false
	}
	since := max(h.listed[kind], h.last[named{kind, o.GetName()}].version)
	if since > 0 && version(o) <= since && (known == nil || known.GetUID() != o.GetUID()) {
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
func version(o interface{ GetResourceVersion() string }) uint64 {
	v, err := strconv.ParseUint(o.GetResourceVersion(), 10, 64)
	if err != nil {
		return 0
	}
	return v
}
