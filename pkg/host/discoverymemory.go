package host

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

// discoveryMemory is the ConfigMap that the discovery controller keeps its memory in.
var discoveryMemory = cluster.Ref{Resource: cluster.ConfigMaps, Namespace: v1alpha1.HostNamespace, Name: manifests.DiscoveryMemory}

// DiscoveryMemory reads what the discovery controller remembers.
func (c *Cluster) DiscoveryMemory(ctx context.Context) (map[string]string, error) {
	o, err := c.Get(ctx, discoveryMemory)
	if err != nil {
		return nil, err
	}
	data, _, err := unstructured.NestedStringMap(o.Object, "data")
	return data, err
}

// FindDiscoveryMemory is DiscoveryMemory for those who do not need it: without the ConfigMap, or the right to read it, there is none, and no
// error.
func (c *Cluster) FindDiscoveryMemory(ctx context.Context) (map[string]string, error) {
	data, err := c.DiscoveryMemory(ctx)
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
		return nil, nil
	}
	return data, err
}

// KeepDiscoveryMemory replaces what the discovery controller remembers. The ConfigMap is there already.
func (c *Cluster) KeepDiscoveryMemory(ctx context.Context, data map[string]string) error {
	o, err := c.Get(ctx, discoveryMemory)
	if err != nil {
		return err
	}
	if err := unstructured.SetNestedStringMap(o.Object, data, "data"); err != nil {
		return err
	}
	return c.Update(ctx, cluster.ConfigMaps, o, cluster.DryRunNone)
}
