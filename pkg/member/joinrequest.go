package member

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

// JoinRequest is the label with which a cluster asks to join a federation.
type JoinRequest struct {
	// Federation is what the cluster asks to join; empty when it asks for nothing.
	Federation v1alpha1.FederationName
	// Namespace carries the label: kube-system, or kubefederate-member where a platform forbids that.
	Namespace string
	// Left is the federation that the cluster left while the federation label stayed: discovery does not join it again.
	Left v1alpha1.FederationName
}

// requestNamespaces may carry a federation label, in the order in which they are asked.
var requestNamespaces = []string{v1alpha1.IdentityNamespace, v1alpha1.MemberNamespace}

func namespaceRef(name string) cluster.Ref {
	return cluster.Ref{Resource: cluster.Namespaces, Name: name}
}

// requestOn is the federation label that a namespace carries.
func requestOn(o *unstructured.Unstructured) JoinRequest {
	if o == nil || o.GetLabels()[v1alpha1.LabelFederation] == "" {
		return JoinRequest{}
	}
	return JoinRequest{
		Federation: v1alpha1.FederationName(o.GetLabels()[v1alpha1.LabelFederation]),
		Namespace:  o.GetName(),
		Left:       v1alpha1.FederationName(o.GetAnnotations()[v1alpha1.AnnotationLeft]),
	}
}

// Self is what a cluster says of itself before it is a member.
type Self struct {
	ID v1alpha1.ClusterID
	// Labels are those of its kube-system namespace.
	Labels      map[string]string
	JoinRequest JoinRequest
	// Left is the federation that the cluster left while a federation label stayed that does not stand on the cluster, but on the
	// object that stands for it on its host.
	Left v1alpha1.FederationName
}

// Self reads what the cluster says of itself.
func (c *Cluster) Self(ctx context.Context) (*Self, error) {
	found := make([]*unstructured.Unstructured, len(requestNamespaces))
	errs := make([]error, len(requestNamespaces))
	cluster.Parallel(len(requestNamespaces), func(i int) {
		if requestNamespaces[i] == v1alpha1.IdentityNamespace {
			found[i], errs[i] = c.Get(ctx, namespaceRef(requestNamespaces[i]))
		} else {
			found[i], errs[i] = c.Find(ctx, namespaceRef(requestNamespaces[i]))
		}
	})
	if err := cluster.First(errs); err != nil {
		return nil, err
	}
	identity := found[0]
	self := &Self{ID: v1alpha1.ClusterID(identity.GetUID()), Labels: identity.GetLabels()}
	for _, o := range found {
		if self.JoinRequest = requestOn(o); self.JoinRequest.Federation != "" {
			return self, nil
		}
	}
	self.Left = v1alpha1.FederationName(identity.GetAnnotations()[v1alpha1.AnnotationLeft])
	return self, nil
}

// JoinRequest reads the federation label of the cluster.
func (c *Cluster) JoinRequest(ctx context.Context) (JoinRequest, error) {
	found := make([]*unstructured.Unstructured, len(requestNamespaces))
	errs := make([]error, len(requestNamespaces))
	cluster.Parallel(len(requestNamespaces), func(i int) { found[i], errs[i] = c.Find(ctx, namespaceRef(requestNamespaces[i])) })
	for i := range found {
		if errs[i] != nil {
			return JoinRequest{}, errs[i]
		}
		if w := requestOn(found[i]); w.Federation != "" {
			return w, nil
		}
	}
	return JoinRequest{}, nil
}

// SetJoinRequest writes the federation label on kube-system or, where the caller may not change that namespace, on
// kubefederate-member, which it makes when it is not there. It rolls back the word that the cluster left a
// federation, and returns the federation label as the server stored it.
func (c *Cluster) SetJoinRequest(ctx context.Context, federation v1alpha1.FederationName, dryRun bool) (JoinRequest, error) {
	w := cluster.Write{DryRun: dryRun}
	patch := map[string]any{"metadata": map[string]any{
		"labels":      map[string]any{v1alpha1.LabelFederation: string(federation)},
		"annotations": map[string]any{v1alpha1.AnnotationLeft: nil},
	}}
	o, err := c.MergePatch(ctx, namespaceRef(v1alpha1.IdentityNamespace), patch, w)
	if err == nil || !apierrors.IsForbidden(err) {
		return requestOn(o), err
	}
	o, patchErr := c.MergePatch(ctx, namespaceRef(v1alpha1.MemberNamespace), patch, w)
	if cluster.IsAbsent(patchErr) {
		o = NamespaceManifest()
		o.SetLabels(map[string]string{v1alpha1.LabelManagedBy: v1alpha1.ManagedByJoin, v1alpha1.LabelFederation: string(federation)})
		o, patchErr = c.Create(ctx, cluster.Namespaces, o, w)
	}
	if apierrors.IsForbidden(patchErr) {
		// Which of the two rights the caller gets is theirs to choose; the first is the usual one.
		return JoinRequest{}, err
	}
	return requestOn(o), patchErr
}

// RemoveJoinRequest removes the federation label wherever it stands and returns what it was. A namespace that was made for the
// federation label alone goes with it.
func (c *Cluster) RemoveJoinRequest(ctx context.Context, dryRun bool) (JoinRequest, error) {
	was, err := c.dropJoinRequest(ctx, cluster.Write{DryRun: dryRun})
	if err == nil && was.Namespace == v1alpha1.MemberNamespace && !dryRun {
		_, err = c.RemoveNamespace(ctx)
	}
	return was, err
}

// DropJoinRequest removes the federation label wherever it stands and returns what it was.
func (c *Cluster) DropJoinRequest(ctx context.Context) (JoinRequest, error) {
	return c.dropJoinRequest(ctx, cluster.Write{})
}

func (c *Cluster) dropJoinRequest(ctx context.Context, w cluster.Write) (JoinRequest, error) {
	var was JoinRequest
	patch := map[string]any{"metadata": map[string]any{
		"labels":      map[string]any{v1alpha1.LabelFederation: nil},
		"annotations": map[string]any{v1alpha1.AnnotationLeft: nil},
	}}
	for _, name := range requestNamespaces {
		o, err := c.Find(ctx, namespaceRef(name))
		if err != nil {
			return was, err
		}
		request := requestOn(o)
		if request.Federation == "" {
			continue
		}
		if _, err := c.MergePatch(ctx, namespaceRef(name), patch, w); err != nil {
			return was, err
		}
		if was.Federation == "" {
			was = request
		}
	}
	return was, nil
}

// MarkLeft writes beside a federation label that the cluster left the federation, so that discovery does not join it
// again.
func (c *Cluster) MarkLeft(ctx context.Context, w JoinRequest) error {
	_, err := c.MergePatch(ctx, namespaceRef(w.Namespace), map[string]any{"metadata": map[string]any{
		"annotations": map[string]any{v1alpha1.AnnotationLeft: string(w.Federation)},
	}}, cluster.Write{})
	return err
}
