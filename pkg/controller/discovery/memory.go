package discovery

import (
	"context"
	"maps"

	"k8s.io/apimachinery/pkg/types"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/discover"
	"github.com/kubefederate/kubectl-federate/pkg/host"
)

// keptMemory is the memory, and what of it is stored.
type keptMemory struct {
	discover.Memory
	loaded bool
	stored map[string]string
}

// load reads the memory once: this replica alone writes it.
func (k *keptMemory) load(ctx context.Context, h *host.Cluster) error {
	if k.loaded {
		return nil
	}
	data, err := h.DiscoveryMemory(ctx)
	if err != nil {
		return err
	}
	k.Memory, k.stored, k.loaded = *discover.ReadMemory(data), data, true
	return nil
}

// store writes the memory where it has changed.
func (k *keptMemory) store(ctx context.Context, h *host.Cluster) error {
	data := k.Data()
	if maps.Equal(data, k.stored) {
		return nil
	}
	if err := h.KeepDiscoveryMemory(ctx, data); err != nil {
		return err
	}
	k.stored = data
	return nil
}

// recall brings the memory up to date with the members and the labels of now, before clusters are judged by it.
// Objects that are not there any more are forgotten where all were read, unless their clusters have left.
func (c *controller) recall(s *state, candidates []discover.Candidate, complete bool) {
	members := map[v1alpha1.ClusterID]v1alpha1.FederationName{}
	for id, m := range s.byID {
		members[id] = m.Federation()
	}
	for object, m := range s.discovered { // also those of which a controller that ended could not store that they joined
		if !unfinished(m) {
			c.memory.See(object, m.Federation(), v1alpha1.ClusterID(m.Spec.ClusterID))
		}
	}
	c.memory.Update(members, s.view.Now)
	there := map[types.UID]bool{}
	for i := range candidates {
		for _, o := range candidates[i].Objects {
			there[o.UID] = true
			if o.JoinRequest == "" {
				c.memory.Unlabel(o.UID)
			}
		}
	}
	if complete {
		c.memory.Keep(func(object types.UID) bool { return there[object] || s.discovered[object] != nil })
	}
}

// remember keeps in mind by which objects clusters are members.
func (c *controller) remember(rows []row) {
	for i := range rows {
		r := &rows[i]
		if r.State != discover.Joined {
			continue
		}
		for _, f := range r.ways() {
			c.memory.See(f.request.object.UID, v1alpha1.FederationName(r.federation.Name), r.ID)
		}
	}
}
