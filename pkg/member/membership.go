package member

import (
	"cmp"
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
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
	// RequestedBy is the object, on the host or elsewhere, whose label asked for the membership; it may be the zero one.
	RequestedBy command.Object
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
	o.SetLabels(membershipLabels(k.Federation))
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
	if k.RequestedBy != (command.Object{}) {
		data[v1alpha1.MembershipRequestedBy] = k.RequestedBy.String()
	}
	o.Object["data"] = data
	return o
}

// UnknownHost is the host of a membership record that is not valid. No cluster has this ID.
const UnknownHost v1alpha1.ClusterID = "unknown"

// MembershipOf reads a membership record out of its ConfigMap. Who administers the member can write anything there: a
// record in which a name or an ID cannot be one belongs to UnknownHost, and says nothing else.
func MembershipOf(o *unstructured.Unstructured) *Membership {
	data, _, _ := unstructured.NestedStringMap(o.Object, "data")
	k := &Membership{UID: o.GetUID(), ResourceVersion: o.GetResourceVersion(), HostID: UnknownHost}
	for _, name := range []string{
		data[v1alpha1.MembershipFederation], data[v1alpha1.MembershipMember], data[v1alpha1.MembershipHostID],
		cmp.Or(data[v1alpha1.MembershipTakenFrom], string(UnknownHost)),
	} {
		if len(validation.IsDNS1123Label(name)) > 0 {
			return k
		}
	}
	k.Federation, k.Member = v1alpha1.FederationName(data[v1alpha1.MembershipFederation]), v1alpha1.MemberName(data[v1alpha1.MembershipMember])
	k.HostID, k.TakenFrom = v1alpha1.ClusterID(data[v1alpha1.MembershipHostID]), v1alpha1.ClusterID(data[v1alpha1.MembershipTakenFrom])
	k.MemberUID, k.Attempt = types.UID(data[v1alpha1.MembershipMemberUID]), o.GetAnnotations()[v1alpha1.AnnotationAttempt]
	k.RequestedBy, _ = command.ParseObject(data[v1alpha1.MembershipRequestedBy])
	return k
}

// String is what the record says, for a message about a cluster of another host.
func (k *Membership) String() string {
	if k.HostID == UnknownHost {
		return "a member by a record that is not valid"
	}
	return fmt.Sprintf("member %q of federation %q of another host (cluster ID %s)", k.Member, k.Federation, k.HostID)
}

// Membership reads the membership record; nil without an error means that the cluster belongs to no federation.
func (c *Cluster) Membership(ctx context.Context) (*Membership, error) {
	o, err := c.Find(ctx, MembershipRef())
	if o == nil || err != nil {
		return nil, err
	}
	return MembershipOf(o), nil
}

// CreateMembership writes k with a plain create, so that the member's etcd decides who is first. When another
// was, it returns the membership record that stands and an error for which apierrors.IsAlreadyExists holds.
func (c *Cluster) CreateMembership(ctx context.Context, k Membership) (*Membership, error) {
	o, err := c.Create(ctx, cluster.ConfigMaps, k.Manifest(), cluster.DryRunNone)
	if err == nil {
		return MembershipOf(o), nil
	}
	if !apierrors.IsAlreadyExists(err) {
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
	if k.RequestedBy == (command.Object{}) {
		data[v1alpha1.MembershipRequestedBy] = nil
	}
	o, err := c.MergePatch(ctx, MembershipRef(), map[string]any{"metadata": metadata, "data": data}, cluster.DryRunNone)
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
