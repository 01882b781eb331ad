package host

import (
	"context"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

// Federation reads one federation.
func (c *Cluster) Federation(ctx context.Context, name v1alpha1.FederationName) (*v1alpha1.Federation, error) {
	o, err := c.Get(ctx, FederationRef(name))
	return typed[v1alpha1.Federation](c, o, err)
}

// Federations reads all federations.
func (c *Cluster) Federations(ctx context.Context) ([]v1alpha1.Federation, error) {
	federations, _, err := cluster.List[v1alpha1.Federation](ctx, c.Conn, cluster.Federations, cluster.ListOptions{})
	return federations, c.explain(err)
}

// CreateFederation creates f and returns it as the server stored it.
func (c *Cluster) CreateFederation(ctx context.Context, f *v1alpha1.Federation, dryRun cluster.DryRun) (*v1alpha1.Federation, error) {
	return create(ctx, c, cluster.Federations, f, dryRun)
}
