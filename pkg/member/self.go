package member

import (
	"cmp"
	"context"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

// Self is what a cluster reports about itself before it is a member.
type Self struct {
	ID v1alpha1.ClusterID
	// Labels are those of its kube-system namespace.
	Labels      map[string]string
	JoinRequest JoinRequest
	// Left is the federation that the cluster left while the object that represents it on its host kept its federation label.
	Left v1alpha1.FederationName
}

// Self reads what the cluster reports about itself.
func (c *Cluster) Self(ctx context.Context) (*Self, error) {
	var identity, namespace *unstructured.Unstructured
	errs := cluster.Together(
		func() (err error) { identity, err = c.Get(ctx, cluster.IdentityNamespace); return err },
		func() (err error) { namespace, err = c.Find(ctx, NamespaceRef()); return err },
	)
	request := requestOf(identity, namespace)
	if errs[0] != nil || request.Namespace != v1alpha1.IdentityNamespace && errs[1] != nil {
		return nil, cmp.Or(errs...)
	}
	id, err := c.IDOf(identity)
	if err != nil {
		return nil, err
	}
	self := &Self{ID: id, Labels: identity.GetLabels(), JoinRequest: request}
	if request.Federation == "" {
		self.Left = v1alpha1.FederationName(identity.GetAnnotations()[v1alpha1.AnnotationLeft])
	}
	return self, nil
}
