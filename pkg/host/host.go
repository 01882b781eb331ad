// Package host reads and writes the host cluster: federations, members and their credentials.
package host

import (
	"context"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
)

// Cluster is a connection to a host. It is a type of its own, so that the compiler never takes a member for it.
type Cluster struct {
	*cluster.Conn
	// Commands renders the commands that messages propose, with the flags that chose this host.
	Commands command.Host
	// OtherHost names a context that leads to a host, where this cluster is none; nil, or empty, for none.
	OtherHost func() string
}

// Connect prepares a connection to the host that config reaches. It sends no request.
func Connect(config *rest.Config) (*Cluster, error) {
	conn, err := cluster.Connect(cluster.Host, config)
	if err != nil {
		return nil, err
	}
	return &Cluster{Conn: conn}, nil
}

// FederationRef names a Federation.
func FederationRef(name v1alpha1.FederationName) cluster.Ref {
	return cluster.Ref{Resource: cluster.Federations, Name: string(name)}
}

// MemberRef names a MemberCluster.
func MemberRef(name v1alpha1.MemberName) cluster.Ref {
	return cluster.Ref{Resource: cluster.MemberClusters, Name: string(name)}
}

// CredentialRef names the Secret that holds a member's credential.
func CredentialRef(name v1alpha1.MemberName) cluster.Ref {
	return cluster.Ref{Resource: cluster.Secrets, Namespace: v1alpha1.CredentialsNamespace, Name: string(name)}
}

// typed is what a request of c returned, read into a type.
func typed[T any](c *Cluster, o *unstructured.Unstructured, err error) (*T, error) {
	if err != nil {
		return nil, c.explain(err)
	}
	object := new(T)
	return object, cluster.FromUnstructured(o, object)
}

// create posts an object and returns what the server stored.
func create[T any](ctx context.Context, c *Cluster, r cluster.Resource, object *T, dryRun cluster.DryRun) (*T, error) {
	o, err := cluster.ToUnstructured(r, object)
	if err != nil {
		return nil, err
	}
	o, err = c.Create(ctx, r, o, dryRun)
	return typed[T](c, o, err)
}
