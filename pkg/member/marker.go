package member

import (
	"context"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

// Marker says which federation of which host a cluster belongs to.
type Marker struct {
	Federation v1alpha1.FederationName
	// HostID is the cluster ID of the host.
	HostID    v1alpha1.ClusterID
	Member    v1alpha1.MemberName
	MemberUID types.UID
	// TakenFrom is the host from which the cluster was taken over, while what that host put on it is being removed;
	// empty otherwise. Until then a join does not rely on anything that it finds.
	TakenFrom v1alpha1.ClusterID
	// WishedBy is the object on the host whose label wished the membership, as kubectl is told it; it may be empty.
	WishedBy string
	// Attempt is the run of join that wrote the marker: "<random ID> <RFC 3339 time>".
	Attempt string

	// UID and ResourceVersion are those of the ConfigMap; empty on a marker that was not read.
	UID             types.UID
	ResourceVersion string
}

// MarkerRef names the marker.
func MarkerRef() cluster.Ref {
	return cluster.Ref{Resource: cluster.ConfigMaps, Namespace: v1alpha1.MemberNamespace, Name: v1alpha1.MarkerName}
}

// Manifest is the marker as it is written.
func (k Marker) Manifest() *unstructured.Unstructured {
	o := cluster.ConfigMaps.New(v1alpha1.MemberNamespace, v1alpha1.MarkerName)
	o.SetLabels(map[string]string{
		v1alpha1.LabelFederation: string(k.Federation),
		v1alpha1.LabelManagedBy:  v1alpha1.ManagedByJoin,
	})
	if k.Attempt != "" {
		o.SetAnnotations(map[string]string{v1alpha1.AnnotationAttempt: k.Attempt})
	}
	data := map[string]any{
		v1alpha1.MarkerFederation: string(k.Federation),
		v1alpha1.MarkerHostID:     string(k.HostID),
		v1alpha1.MarkerMember:     string(k.Member),
		v1alpha1.MarkerMemberUID:  string(k.MemberUID),
	}
	if k.TakenFrom != "" {
		data[v1alpha1.MarkerTakenFrom] = string(k.TakenFrom)
	}
	if k.WishedBy != "" {
		data[v1alpha1.MarkerWishedBy] = k.WishedBy
	}
	o.Object["data"] = data
	return o
}

// MarkerOf reads a marker out of its ConfigMap.
func MarkerOf(o *unstructured.Unstructured) *Marker {
	data, _, _ := unstructured.NestedStringMap(o.Object, "data")
	return &Marker{
		Federation:      v1alpha1.FederationName(data[v1alpha1.MarkerFederation]),
		HostID:          v1alpha1.ClusterID(data[v1alpha1.MarkerHostID]),
		Member:          v1alpha1.MemberName(data[v1alpha1.MarkerMember]),
		MemberUID:       types.UID(data[v1alpha1.MarkerMemberUID]),
		TakenFrom:       v1alpha1.ClusterID(data[v1alpha1.MarkerTakenFrom]),
		WishedBy:        data[v1alpha1.MarkerWishedBy],
		Attempt:         o.GetAnnotations()[v1alpha1.AnnotationAttempt],
		UID:             o.GetUID(),
		ResourceVersion: o.GetResourceVersion(),
	}
}

// Marker reads the marker; nil without an error means that the cluster belongs to no federation.
func (c *Cluster) Marker(ctx context.Context) (*Marker, error) {
	o, err := c.Find(ctx, MarkerRef())
	if o == nil || err != nil {
		return nil, err
	}
	return MarkerOf(o), nil
}

// TakeMarker writes k with a plain create, so that the member's etcd decides who is first. When somebody
// was, it returns the marker that stands and an error for which apierrors.IsAlreadyExists holds.
func (c *Cluster) TakeMarker(ctx context.Context, k Marker) (*Marker, error) {
	o, err := c.Create(ctx, cluster.ConfigMaps, k.Manifest(), cluster.Write{})
	if err == nil {
		return MarkerOf(o), nil
	}
	if !isAlreadyExists(err) {
		return nil, err
	}
	standing, readErr := c.Marker(ctx)
	if readErr != nil {
		return nil, readErr
	}
	return standing, err
}

// ReplaceMarker writes k over the marker that was read as old; it fails with a conflict when that has
// changed since.
func (c *Cluster) ReplaceMarker(ctx context.Context, old *Marker, k Marker) (*Marker, error) {
	manifest := k.Manifest()
	metadata := map[string]any{"resourceVersion": old.ResourceVersion, "labels": toAny(manifest.GetLabels())}
	if k.Attempt != "" {
		metadata["annotations"] = toAny(manifest.GetAnnotations())
	}
	data := manifest.Object["data"].(map[string]any)
	if k.TakenFrom == "" {
		data[v1alpha1.MarkerTakenFrom] = nil
	}
	if k.WishedBy == "" {
		data[v1alpha1.MarkerWishedBy] = nil
	}
	o, err := c.MergePatch(ctx, MarkerRef(), map[string]any{"metadata": metadata, "data": data}, cluster.Write{})
	if err != nil {
		return nil, err
	}
	return MarkerOf(o), nil
}

func toAny(m map[string]string) map[string]any {
	out := make(map[string]any, len(m))
	for k, v := range m {
		out[k] = v
	}
	return out
}
