package member

import (
	"context"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

// Membership says which federation of which host a cluster belongs to.
type Membership struct {
	Federation v1alpha1.FederationName
	// HostID is the cluster ID of the host.
	HostID    v1alpha1.ClusterID
	Member    v1alpha1.MemberName
	MemberUID types.UID
	// TakenFrom is the host from which the cluster was taken over, while what that host put on it is being removed;
	// empty otherwise. Until then a join does not rely on anything that it finds.
	TakenFrom v1alpha1.ClusterID
	// RequestedBy is the object on the host whose label asked for the membership, as arguments of kubectl; it may be empty.
	RequestedBy string
	// Attempt is the run of join that wrote the membership record: "<random ID> <RFC 3339 time>".
	Attempt string

	// UID and ResourceVersion are those of the ConfigMap; empty on a membership record that was not read.
	UID             types.UID
	ResourceVersion string
}

// MembershipRef names the membership record.
func MembershipRef() cluster.Ref {
	return cluster.Ref{Resource: cluster.ConfigMaps, Namespace: v1alpha1.MemberNamespace, Name: v1alpha1.MembershipName}
}

// Manifest is the membership record as it is written.
func (k Membership) Manifest() *unstructured.Unstructured {
	o := cluster.ConfigMaps.New(v1alpha1.MemberNamespace, v1alpha1.MembershipName)
	o.SetLabels(map[string]string{
		v1alpha1.LabelFederation: string(k.Federation),
		v1alpha1.LabelManagedBy:  v1alpha1.ManagedByJoin,
	})
	if k.Attempt != "" {
		o.SetAnnotations(map[string]string{v1alpha1.AnnotationAttempt: k.Attempt})
	}
	data := map[string]any{
		v1alpha1.MembershipFederation: string(k.Federation),
		v1alpha1.MembershipHostID:     string(k.HostID),
		v1alpha1.MembershipMember:     string(k.Member),
		v1alpha1.MembershipMemberUID:  string(k.MemberUID),
	}
	if k.TakenFrom != "" {
		data[v1alpha1.MembershipTakenFrom] = string(k.TakenFrom)
	}
	if k.RequestedBy != "" {
		data[v1alpha1.MembershipRequestedBy] = k.RequestedBy
	}
	o.Object["data"] = data
	return o
}

// MembershipOf reads a membership record out of its ConfigMap.
func MembershipOf(o *unstructured.Unstructured) *Membership {
	data, _, _ := unstructured.NestedStringMap(o.Object, "data")
	return &Membership{
		Federation:      v1alpha1.FederationName(data[v1alpha1.MembershipFederation]),
		HostID:          v1alpha1.ClusterID(data[v1alpha1.MembershipHostID]),
		Member:          v1alpha1.MemberName(data[v1alpha1.MembershipMember]),
		MemberUID:       types.UID(data[v1alpha1.MembershipMemberUID]),
		TakenFrom:       v1alpha1.ClusterID(data[v1alpha1.MembershipTakenFrom]),
		RequestedBy:     data[v1alpha1.MembershipRequestedBy],
		Attempt:         o.GetAnnotations()[v1alpha1.AnnotationAttempt],
		UID:             o.GetUID(),
		ResourceVersion: o.GetResourceVersion(),
	}
}

// Membership reads the membership record; nil without an error means that the cluster belongs to no federation.
func (c *Cluster) Membership(ctx context.Context) (*Membership, error) {
	o, err := c.Find(ctx, MembershipRef())
	if o == nil || err != nil {
		return nil, err
	}
	return MembershipOf(o), nil
}

// CreateMembership writes k with a plain create, so that the member's etcd decides who is first. When somebody
// was, it returns the membership record that stands and an error for which apierrors.IsAlreadyExists holds.
func (c *Cluster) CreateMembership(ctx context.Context, k Membership) (*Membership, error) {
	o, err := c.Create(ctx, cluster.ConfigMaps, k.Manifest(), cluster.Write{})
	if err == nil {
		return MembershipOf(o), nil
	}
	if !isAlreadyExists(err) {
		return nil, err
	}
	standing, readErr := c.Membership(ctx)
	if readErr != nil {
		return nil, readErr
	}
	return standing, err
}

// ReplaceMembership writes k over the membership record that was read as old; it fails with a conflict when that has
// changed since.
func (c *Cluster) ReplaceMembership(ctx context.Context, old *Membership, k Membership) (*Membership, error) {
	manifest := k.Manifest()
	metadata := map[string]any{"resourceVersion": old.ResourceVersion, "labels": toAny(manifest.GetLabels())}
	if k.Attempt != "" {
		metadata["annotations"] = toAny(manifest.GetAnnotations())
	}
	data := manifest.Object["data"].(map[string]any)
	if k.TakenFrom == "" {
		data[v1alpha1.MembershipTakenFrom] = nil
	}
	if k.RequestedBy == "" {
		data[v1alpha1.MembershipRequestedBy] = nil
	}
	o, err := c.MergePatch(ctx, MembershipRef(), map[string]any{"metadata": metadata, "data": data}, cluster.Write{})
	if err != nil {
		return nil, err
	}
	return MembershipOf(o), nil
}

func toAny(m map[string]string) map[string]any {
	out := make(map[string]any, len(m))
	for k, v := range m {
		out[k] = v
	}
	return out
}
