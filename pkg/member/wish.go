package member

import (
	"context"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// Wish is the label with which a cluster asks to join a federation.
type Wish struct {
	// Federation is what the cluster wishes to join; empty when it wishes nothing.
	Federation v1alpha1.FederationName
	// Namespace carries the label: kube-system, or kubefederate-member where a platform forbids that.
	Namespace string
	// Left is the federation that the cluster left while the wish stayed: discovery does not join it again.
	Left v1alpha1.FederationName
}

// Wish reads the wish of the cluster.
func (c *Cluster) Wish(ctx context.Context) (Wish, error) { return Wish{}, nil }

// SetWish writes the wish, and returns it as it stands.
func (c *Cluster) SetWish(ctx context.Context, federation v1alpha1.FederationName, dryRun bool) (Wish, error) {
	return Wish{}, nil
}

// RemoveWish removes the wish and returns what it was.
func (c *Cluster) RemoveWish(ctx context.Context, dryRun bool) (Wish, error) { return Wish{}, nil }

// Marker says which federation of which host a cluster belongs to.
type Marker struct {
	Federation v1alpha1.FederationName
	HostID     v1alpha1.ClusterID
	Member     v1alpha1.MemberName
	MemberUID  string
	Attempt    string
}

// Marker reads the marker; nil without an error means that the cluster belongs to no federation.
func (c *Cluster) Marker(ctx context.Context) (*Marker, error) { return nil, nil }
