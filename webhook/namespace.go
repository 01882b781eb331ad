package webhook

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/pkg/rules"
)

// namespaces reads the namespace that a change of a Federation is judged by, from the API server itself: such
// changes are too rare to follow all namespaces of the host for them. It is read before the view is held.
func (g *Guard) namespaces(ctx context.Context, c rules.FederationChange) (rules.Namespaces, error) {
	x := rules.NewIndex()
	name := c.NamespaceToRead()
	if name == "" {
		return x, nil
	}
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	o := &metav1.PartialObjectMetadata{}
	o.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	switch err := g.reader.Get(ctx, client.ObjectKey{Name: name}, o); {
	case err == nil:
		x.SetNamespace(&o.ObjectMeta)
	case !apierrors.IsNotFound(err):
		return nil, fmt.Errorf("read namespace %q: %w", name, err)
	}
	return x, nil
}
