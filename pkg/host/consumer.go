package host

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
)

// ErrNoConsumer is of a member whose federation has an account for its manager alone.
var ErrNoConsumer = errors.New("its federation has no account for consumers: that takes access and inventory.credentialsNamespace")

// ConsumerRef names the Secret with the credential that consumers use on a member; ErrNoConsumer where there is none to be.
func (c *Cluster) ConsumerRef(ctx context.Context, m *v1alpha1.MemberCluster) (cluster.Ref, error) {
	f, err := c.Federation(ctx, m.Federation())
	if err != nil {
		return cluster.Ref{}, err
	}
	if f.Spec.Access == nil || f.Spec.Inventory == nil || f.Spec.Inventory.CredentialsNamespace == "" {
		return cluster.Ref{}, ErrNoConsumer
	}
	return cluster.Ref{Resource: cluster.Secrets, Namespace: f.Spec.Inventory.CredentialsNamespace, Name: m.Name}, nil
}

// ConsumerCredential reads the credential that consumers use on a member, by the caller's right to the Secret. One that leads
// elsewhere than the member, or that the manager did not make for it, is refused.
func (c *Cluster) ConsumerCredential(ctx context.Context, m *v1alpha1.MemberCluster) (*kubeconfig.Access, error) {
	ref, err := c.ConsumerRef(ctx, m)
	if err != nil {
		return nil, err
	}
	secret, err := c.Get(ctx, ref)
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("host: %s does not exist: the manager issues it when the member is ready and accepted", ref)
	}
	if err != nil {
		return nil, err
	}
	kind, _ := secret.Object["type"].(string)
	if owners := secret.GetOwnerReferences(); kind != v1alpha1.ConsumerCredentialType || len(owners) != 1 || owners[0].UID != m.UID {
		return nil, fmt.Errorf("host: %s was not made for this member", ref)
	}
	data, err := CredentialData(secret)
	if err != nil {
		return nil, fmt.Errorf("host: %s: %w", ref, err)
	}
	options := []kubeconfig.Option{kubeconfig.OneContext}
	if m.Spec.InsecureSkipTLSVerify {
		options = append(options, kubeconfig.AllowInsecure)
	}
	access, err := kubeconfig.Parse(data, options...)
	if err != nil {
		return nil, fmt.Errorf("host: %s: %w", ref, err)
	}
	if field := access.Difference(endpoint.Of(m)); field != "" {
		return nil, fmt.Errorf("host: the %s in %s is not that of the member: the manager issues another soon", field, ref)
	}
	return access, nil
}
