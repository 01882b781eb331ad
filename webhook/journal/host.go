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

// Host is the newest state of the host that a replica knows, from its watches and from live reads. It only goes forward: an
// older version of an object than the known one is ignored. A host that is restored from a backup is read anew.
//
// Objects are MemberClusters and Federations.
type Host struct {
	mu    sync.RWMutex
	index *rules.Index
	gone  map[objectKey]time.Time
	// last is what each name was dropped with: a late watch may bring what came before.
	last   map[named]dropped
	pruned time.Time
	// listed is the version at which all objects of a kind were listed.
	listed map[Kind]uint64
	// restored says that a version went back, which only a restore from a backup does.
	restored bool
}

type named struct {
	kind Kind
	name string
}

// objectKey is one object. The UID alone is not enough, since an admission review may claim any.
type objectKey struct {
	named
	uid types.UID
}

type dropped struct {
	version uint64
	at      time.Time
}

func keyOf(o client.Object) objectKey {
	kind := Member
	if _, is := o.(*v1alpha1.Federation); is {
		kind = Federation
	}
	return objectKey{named{kind, o.GetName()}, o.GetUID()}
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

func (h *Host) wasRestored() bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.restored
}

// Replace notes an object that a watch, or a read, gives after it gave before, which may be nil. API servers give no older
// version of an object than before, unless their etcd was restored from a backup.
func (h *Host) Replace(before, o client.Object) {
	if before != nil && before.GetUID() == o.GetUID() && version(o) < version(before) {
		h.mu.Lock()
		h.restored = true
		h.mu.Unlock()
	}
	h.Set(o)
}

// Set notes an object as it was seen.
func (h *Host) Set(o client.Object) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.isNewer(o) {
		return
	}
	switch o := o.(type) {
	case *v1alpha1.MemberCluster:
		h.index.SetMember(o)
	case *v1alpha1.Federation:
		h.index.SetFederation(o)
	}
}

// Drop notes that an object is gone.
func (h *Host) Drop(o client.Object) { h.drop(keyOf(o)) }

func (h *Host) drop(key objectKey) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	if key.uid != "" {
		h.gone[key] = now
	}
	if now.Sub(h.pruned) > goneRetention/10 {
		h.pruned = now
		maps.DeleteFunc(h.gone, func(_ objectKey, at time.Time) bool { return now.Sub(at) > goneRetention })
		maps.DeleteFunc(h.last, func(_ named, d dropped) bool { return now.Sub(d.at) > goneRetention })
	}
	o := h.object(key.named)
	if o == nil || o.GetUID() != key.uid {
		return
	}
	h.last[key.named] = dropped{version(o), now}
	switch key.kind {
	case Member:
		h.index.DropMember(v1alpha1.MemberName(key.name))
	case Federation:
		h.index.DropFederation(v1alpha1.FederationName(key.name))
	}
}

// object is what is known under a name, or nil. The host is held by Read.
func (h *Host) object(at named) client.Object {
	switch at.kind {
	case Member:
		if m := h.index.Member(v1alpha1.MemberName(at.name)); m != nil {
			return m
		}
	case Federation:
		if f := h.index.Federation(v1alpha1.FederationName(at.name)); f != nil {
			return f
		}
	}
	return nil
}

// objects are all that are known of a kind.
func (h *Host) objects(kind Kind) map[types.UID]client.Object {
	h.mu.RLock()
	defer h.mu.RUnlock()
	found := map[types.UID]client.Object{}
	if kind == Federation {
		for _, name := range h.index.FederationNames() {
			f := h.index.Federation(name)
			found[f.UID] = f
		}
		return found
	}
	for _, name := range h.index.Memberships() {
		for m := range h.index.Members(name) {
			found[m.UID] = m
		}
	}
	return found
}

// list notes that all objects of a kind were listed at a version. An older object that was not among them, as the watch
// of a replica that has just started may bring it, is gone.
func (h *Host) list(kind Kind, version uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.listed[kind] = max(h.listed[kind], version)
}

func (h *Host) isNewer(o client.Object) bool {
	key := keyOf(o)
	if _, gone := h.gone[key]; gone {
		return false
	}
	known, since := h.object(key.named), max(h.listed[key.kind], h.last[key.named].version)
	if since > 0 && version(o) <= since && (known == nil || known.GetUID() != o.GetUID()) {
		return false
	}
	return known == nil || version(o) >= version(known)
}

// past says whether what is known includes the write of an entry, or that it failed. The host is held by Read.
func (h *Host) past(e *Entry) bool {
	if _, gone := h.gone[e.object()]; gone {
		return true
	}
	o := h.object(e.object().named)
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
	o := h.object(e.object().named)
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
