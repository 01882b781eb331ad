// Package member reads and writes a member cluster: what it is, whether it asks to join, which host
// holds it, and what a membership put on it.
package member

import (
	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

// Cluster is a connection to a member. It is a type of its own, so that a host is never passed for it.
type Cluster struct{ *cluster.Conn }

// Connect prepares a connection to the member that config reaches. It sends no request.
func Connect(config *rest.Config) (*Cluster, error) {
	conn, err := cluster.Connect(cluster.Member, config)
	if err != nil {
		return nil, err
	}
	return &Cluster{Conn: conn}, nil
}
