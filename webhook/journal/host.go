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

// goneRetention is how long an object that is gone is known as such. It is far longer than a watch lags and an entry lives.
const goneRetention = time.Hour

// Host is the newest that a replica knows of the host, from its watches and from live reads. It only goes forward: what
// is older than what it has is left out. A host that is restored from a backup goes back, and is read anew.
type Host struct {
	mu    sync.RWMutex
	index *rules.Index
	gone  map[objectKey]time.Time
	// last is what each name was dropped with: a late watch may bring what came before.
	last  map[named]dropped
	swept time.Time
	// listed is the version at which all objects of a kind were listed.
	listed map[Kind]uint64
	// restored says that something went back that never does.
	restored bool
}

type named struct {
	kind Kind
	name string
}

// objectKey is one object. Its UID alone does not do: an admission review may claim any.
type objectKey struct {
	named
	uid types.UID
}

type dropped struct {
	version uint64
	at      time.Time
}

// NewHost knows nothing yet.
func NewHost() *Host {
	h := &Host{}
	h.forgetAll()
	return h
}

// forgetAll makes the host one of which nothing is known.
func (h *Host) forgetAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.index, h.restored = rules.NewIndex(), false
	h.gone, h.last, h.listed = map[objectKey]time.Time{}, map[named]dropped{}, map[Kind]uint64{}
}

// Read keeps the host as it is while f reads it.
func (h *Host) Read(f func(*rules.Index)) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	f(h.index)
}

// WentBack notes that a watch, or two reads in a row, gave an older version of an object than before. API servers never do
// that, unless their etcd was restored from a backup.
func (h *Host) WentBack() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.restored = true
}

func (h *Host) wentBack() bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.restored
}

// SetMember notes a member as it was seen.
func (h *Host) SetMember(m *v1alpha1.MemberCluster) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.newer(Member, m, h.object(Member, m.Name)) {
		h.index.SetMember(m)
	}
}

// SetFederation notes a federation as it was seen.
func (h *Host) SetFederation(f *v1alpha1.Federation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.newer(Federation, f, h.object(Federation, f.Name)) {
		h.index.SetFederation(f)
	}
}

// DropMember notes that a member is gone.
func (h *Host) DropMember(m *v1alpha1.MemberCluster) { h.drop(Member, m.Name, m.UID) }

// DropFederation notes that a federation is gone.
func (h *Host) DropFederation(f *v1alpha1.Federation) { h.drop(Federation, f.Name, f.UID) }

func (h *Host) drop(kind Kind, name string, uid types.UID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now, at := time.Now(), named{kind, name}
	if uid != "" {
		h.gone[objectKey{at, uid}] = now
	}
	if now.Sub(h.swept) > goneRetention/10 {
		h.swept = now
		maps.DeleteFunc(h.gone, func(_ objectKey, at time.Time) bool { return now.Sub(at) > goneRetention })
		maps.DeleteFunc(h.last, func(_ named, d dropped) bool { return now.Sub(d.at) > goneRetention })
	}
	o := h.object(kind, name)
	if o == nil || o.GetUID() != uid {
		return
	}
	h.last[at] = dropped{version(o), now}
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

// list notes that all objects of a kind were listed at a version. What was not among them and is older, as the watch of a
// replica that has just started may bring it, is gone.
func (h *Host) list(kind Kind, version uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.listed[kind] = max(h.listed[kind], version)
}

func (h *Host) newer(kind Kind, o, known client.Object) bool {
	at := named{kind, o.GetName()}
	if _, gone := h.gone[objectKey{at, o.GetUID()}]; gone {
		return false
	}
	since := max(h.listed[kind], h.last[at].version)
	if since > 0 && version(o) <= since && (known == nil || known.GetUID() != o.GetUID()) {
		return false
	}
	return known == nil || version(o) >= version(known)
}

// past says whether what is known includes the write of an entry, or that it failed. The host is held by Read.
func (h *Host) past(e *Entry) bool {
	if _, gone := h.gone[objectKey{named{e.Kind, e.Name}, e.UID}]; gone {
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

// shows says whether what is known has the object that an update or a deletion was judged upon: a review may claim any.
// The host is held by Read.
func (h *Host) shows(e *Entry) bool {
	if e.Kind == Member && e.After == 0 {
		return true // it is created
	}
	o := h.object(e.Kind, e.Name)
	return o != nil && o.GetUID() == e.UID && version(o) >= e.After
}

// version is an object's resourceVersion, which API servers let clients compare within one resource.
func version(o interface{ GetResourceVersion() string }) uint64 {
	v, err := strconv.ParseUint(o.GetResourceVersion(), 10, 64)
	if err != nil {
		return 0
	}
	return v
}
