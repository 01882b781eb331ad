package member

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
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

// wishNamespaces may carry a wish, in the order in which they are asked.
var wishNamespaces = []string{v1alpha1.IdentityNamespace, v1alpha1.MemberNamespace}

func namespaceRef(name string) cluster.Ref {
	return cluster.Ref{Resource: cluster.Namespaces, Name: name}
}

// wishOn is the wish that a namespace carries.
func wishOn(o *unstructured.Unstructured) Wish {
	if o == nil || o.GetLabels()[v1alpha1.LabelFederation] == "" {
		return Wish{}
	}
	return Wish{
		Federation: v1alpha1.FederationName(o.GetLabels()[v1alpha1.LabelFederation]),
		Namespace:  o.GetName(),
		Left:       v1alpha1.FederationName(o.GetAnnotations()[v1alpha1.AnnotationLeft]),
	}
}

// Self is what a cluster says of itself before it is a member.
type Self struct {
	ID v1alpha1.ClusterID
	// Labels are those of its kube-system namespace.
	Labels map[string]string
	Wish   Wish
	// Left is the federation that the cluster left while a wish stayed that does not stand on the cluster, but on the
	// object that stands for it on its host.
	Left v1alpha1.FederationName
}

// Self reads what the cluster says of itself.
func (c *Cluster) Self(ctx context.Context) (*Self, error) {
	found := make([]*unstructured.Unstructured, len(wishNamespaces))
	errs := make([]error, len(wishNamespaces))
	cluster.Parallel(len(wishNamespaces), func(i int) {
		if wishNamespaces[i] == v1alpha1.IdentityNamespace {
			found[i], errs[i] = c.Get(ctx, namespaceRef(wishNamespaces[i]))
		} else {
			found[i], errs[i] = c.Find(ctx, namespaceRef(wishNamespaces[i]))
		}
	})
	if err := cluster.First(errs); err != nil {
		return nil, err
	}
	identity := found[0]
	self := &Self{ID: v1alpha1.ClusterID(identity.GetUID()), Labels: identity.GetLabels()}
	for _, o := range found {
		if self.Wish = wishOn(o); self.Wish.Federation != "" {
			return self, nil
		}
	}
	self.Left = v1alpha1.FederationName(identity.GetAnnotations()[v1alpha1.AnnotationLeft])
	return self, nil
}

// Wish reads the wish of the cluster.
func (c *Cluster) Wish(ctx context.Context) (Wish, error) {
	found := make([]*unstructured.Unstructured, len(wishNamespaces))
	errs := make([]error, len(wishNamespaces))
	cluster.Parallel(len(wishNamespaces), func(i int) { found[i], errs[i] = c.Find(ctx, namespaceRef(wishNamespaces[i])) })
	for i := range found {
		if errs[i] != nil {
			return Wish{}, errs[i]
		}
		if w := wishOn(found[i]); w.Federation != "" {
			return w, nil
		}
	}
	return Wish{}, nil
}

// SetWish writes the wish on kube-system or, where the caller may not change that namespace, on
// kubefederate-member, which it makes when it is not there. It takes back the word that the cluster left a
// federation, and returns the wish as the server stored it.
func (c *Cluster) SetWish(ctx context.Context, federation v1alpha1.FederationName, dryRun bool) (Wish, error) {
	w := cluster.Write{DryRun: dryRun}
	patch := map[string]any{"metadata": map[string]any{
		"labels":      map[string]any{v1alpha1.LabelFederation: string(federation)},
		"annotations": map[string]any{v1alpha1.AnnotationLeft: nil},
	}}
	o, err := c.MergePatch(ctx, namespaceRef(v1alpha1.IdentityNamespace), patch, w)
	if err == nil || !apierrors.IsForbidden(err) {
		return wishOn(o), err
	}
	o, patchErr := c.MergePatch(ctx, namespaceRef(v1alpha1.MemberNamespace), patch, w)
	if cluster.IsAbsent(patchErr) {
		o = NamespaceManifest()
		o.SetLabels(map[string]string{v1alpha1.LabelManagedBy: v1alpha1.ManagedByJoin, v1alpha1.LabelFederation: string(federation)})
		o, patchErr = c.Create(ctx, cluster.Namespaces, o, w)
	}
	if apierrors.IsForbidden(patchErr) {
		// Which of the two rights the caller gets is theirs to choose; the first is the usual one.
		return Wish{}, err
	}
	return wishOn(o), patchErr
}

// RemoveWish removes the wish wherever it stands and returns what it was. A namespace that was made for the
// wish alone goes with it.
func (c *Cluster) RemoveWish(ctx context.Context, dryRun bool) (Wish, error) {
	was, err := c.dropWish(ctx, cluster.Write{DryRun: dryRun})
	if err == nil && was.Namespace == v1alpha1.MemberNamespace && !dryRun {
		_, err = c.RemoveNamespace(ctx)
	}
	return was, err
}

// DropWish removes the wish wherever it stands and returns what it was.
func (c *Cluster) DropWish(ctx context.Context) (Wish, error) {
	return c.dropWish(ctx, cluster.Write{})
}

func (c *Cluster) dropWish(ctx context.Context, w cluster.Write) (Wish, error) {
	var was Wish
	patch := map[string]any{"metadata": map[string]any{
		"labels":      map[string]any{v1alpha1.LabelFederation: nil},
		"annotations": map[string]any{v1alpha1.AnnotationLeft: nil},
	}}
	for _, name := range wishNamespaces {
		o, err := c.Find(ctx, namespaceRef(name))
		if err != nil {
			return was, err
		}
		wish := wishOn(o)
		if wish.Federation == "" {
			continue
		}
		if _, err := c.MergePatch(ctx, namespaceRef(name), patch, w); err != nil {
			return was, err
		}
		if was.Federation == "" {
			was = wish
		}
	}
	return was, nil
}

// MarkLeft writes beside a wish that the cluster left the federation, so that discovery does not join it
// again.
func (c *Cluster) MarkLeft(ctx context.Context, w Wish) error {
	_, err := c.MergePatch(ctx, namespaceRef(w.Namespace), map[string]any{"metadata": map[string]any{
		"annotations": map[string]any{v1alpha1.AnnotationLeft: string(w.Federation)},
	}}, cluster.Write{})
	return err
}
