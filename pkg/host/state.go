package host

import (
	"context"
	"errors"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

// State is what a plan knows of a host.
type State struct {
	ID   v1alpha1.ClusterID
	User string
	// Federation and Member are nil when they do not exist.
	Federation *v1alpha1.Federation
	Member     *v1alpha1.MemberCluster
	// Denied are the reads that the host forbade. What they read is missing from the state.
	Denied cluster.Denied
}

// Target names what is read and written on a host.
type Target struct {
	Member     v1alpha1.MemberName
	Federation v1alpha1.FederationName
	// Discovered is the object that discovery joins the member by; nil where a person joins it.
	Discovered *v1alpha1.Discovered
}

// Read reads all of it at once. Reads that the host forbids are in Denied; any other failure is returned. Without
// t.Federation none is read.
func (c *Cluster) Read(ctx context.Context, t Target) (*State, error) {
	s := &State{}
	for _, err := range cluster.Together(
		func() (err error) { s.Member, err = c.FindMember(ctx, t.Member); return err },
		func() (err error) { s.ID, err = c.ID(ctx); return err },
		func() error {
			caller, err := c.Caller(ctx)
			s.User = caller.Name
			return err
		},
		func() (err error) {
			if t.Federation == "" {
				return nil
			}
			s.Federation, err = c.Federation(ctx, t.Federation)
			if apierrors.IsNotFound(err) && !errors.Is(err, ErrNotInitialised) {
				return nil
			}
			return err
		},
	) {
		if err != nil && !s.Denied.Add(err) {
			return nil, err
		}
	}
	return s, nil
}
