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

// requestNamespaces may carry a federation label; the first that does counts.
var requestNamespaces = []string{v1alpha1.IdentityNamespace, v1alpha1.MemberNamespace}

func namespaceRef(name string) cluster.Ref {
	return cluster.Ref{Resource: cluster.Namespaces, Name: name}
}

// requestOf is the federation label of the first of namespaces that carries one. A namespace that does not exist is nil.
func requestOf(namespaces ...*unstructured.Unstructured) JoinRequest {
	for _, o := range namespaces {
		if o != nil && o.GetLabels()[v1alpha1.LabelFederation] != "" {
			return JoinRequest{
				Federation: v1alpha1.FederationName(o.GetLabels()[v1alpha1.LabelFederation]),
				Namespace:  o.GetName(),
				Left:       v1alpha1.FederationName(o.GetAnnotations()[v1alpha1.AnnotationLeft]),
			}
		}
	}
	return JoinRequest{}
}

// SetJoinRequest sets the federation label on kube-system or, where the caller may not change that namespace or a policy or a webhook
// refuses it, on kubefederate-member, which it creates when it does not exist. It removes the annotation that the cluster left a
// federation, and returns the federation label as the server stored it.
func (c *Cluster) SetJoinRequest(ctx context.Context, federation v1alpha1.FederationName, dryRun cluster.DryRun) (JoinRequest, error) {
	patch := map[string]any{"metadata": map[string]any{
		"labels":      map[string]any{v1alpha1.LabelFederation: string(federation)},
		"annotations": map[string]any{v1alpha1.AnnotationLeft: nil},
	}}
	o, err := c.MergePatch(ctx, cluster.IdentityNamespace, patch, dryRun)
	if err == nil || !cluster.IsRefused(err) {
		return requestOf(o), err
	}
	if live, unread := c.Find(ctx, cluster.IdentityNamespace); unread == nil && requestOf(live).Federation != "" {
		return JoinRequest{}, err // that label counts, whatever the other namespace has
	}
	o, patchErr := c.MergePatch(ctx, namespaceRef(v1alpha1.MemberNamespace), patch, dryRun)
	if apierrors.IsNotFound(patchErr) {
		o = NamespaceManifest()
		o.SetLabels(membershipLabels(federation))
		o, patchErr = c.Create(ctx, cluster.Namespaces, o, dryRun)
	}
	if cluster.IsRefused(patchErr) {
		// One of the two is enough; the first is the usual one.
		return JoinRequest{}, err
	}
	return requestOf(o), patchErr
}

// RemoveLabelAndNamespace is RemoveLabel, and removes a namespace that was created for the federation label alone.
func (c *Cluster) RemoveLabelAndNamespace(ctx context.Context, dryRun cluster.DryRun) (JoinRequest, error) {
	was, err := c.RemoveLabel(ctx, dryRun)
	if err == nil && was.Namespace == v1alpha1.MemberNamespace && dryRun == cluster.DryRunNone {
		_, err = c.RemoveNamespace(ctx)
	}
	return was, err
}

// RemoveLabel removes the federation label from the namespaces that carry it and returns what it was.
func (c *Cluster) RemoveLabel(ctx context.Context, dryRun cluster.DryRun) (JoinRequest, error) {
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
		request := requestOf(o)
		if request.Federation == "" {
			continue
		}
		if _, err := c.MergePatch(ctx, namespaceRef(name), patch, dryRun); err != nil {
			return was, err
		}
		if was.Federation == "" {
			was = request
		}
	}
	return was, nil
}

// MarkLeft annotates the namespace with the federation label that the cluster left the federation, so that discovery does
// not join it again.
func (c *Cluster) MarkLeft(ctx context.Context, request JoinRequest, dryRun cluster.DryRun) error {
	_, err := c.MergePatch(ctx, namespaceRef(request.Namespace), map[string]any{"metadata": map[string]any{
		"annotations": map[string]any{v1alpha1.AnnotationLeft: string(request.Federation)},
	}}, dryRun)
	return err
}
