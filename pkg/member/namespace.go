package member

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

// NamespaceOutcome says what became of our namespace.
type NamespaceOutcome struct {
	// Deleted says that its deletion has begun; Kubernetes finishes it.
	Deleted bool
	// Kept says why it stays; empty when it was deleted or was not there.
	Kept string
}

// RemoveNamespace deletes our namespace if join or label made it, no federation label stands on it, and every
// namespaced type in it is empty but for what Kubernetes puts into each namespace.
func (c *Cluster) RemoveNamespace(ctx context.Context) (NamespaceOutcome, error) {
	var o *unstructured.Unstructured
	var types []schema.GroupVersionResource
	var getErr, typesErr error
	cluster.Parallel(2, func(i int) {
		if i == 0 {
			o, getErr = c.Find(ctx, NamespaceRef())
		} else {
			types, typesErr = c.namespacedTypes(ctx)
		}
	})
	if getErr != nil {
		return NamespaceOutcome{}, getErr
	}
	switch {
	case o == nil:
		return NamespaceOutcome{}, nil
	case o.GetDeletionTimestamp() != nil:
		return NamespaceOutcome{Deleted: true}, nil
	case o.GetLabels()[v1alpha1.LabelManagedBy] != v1alpha1.ManagedByJoin:
		return NamespaceOutcome{Kept: "it was there before"}, nil
	case o.GetLabels()[v1alpha1.LabelFederation] != "":
		return NamespaceOutcome{Kept: "it carries the label that asks to join " + cluster.Quoted(o.GetLabels()[v1alpha1.LabelFederation])}, nil
	case typesErr != nil:
		return NamespaceOutcome{Kept: "what is in it could not be read: " + cluster.Printable(cluster.Cause(typesErr))}, nil
	}
	left, err := c.contents(ctx, types)
	if err != nil {
		if ctx.Err() != nil {
			return NamespaceOutcome{}, err
		}
		return NamespaceOutcome{Kept: "what is in it could not be read: " + cluster.Printable(cluster.Cause(err))}, nil
	}
	if len(left) > 0 {
		return NamespaceOutcome{Kept: "it holds what is not ours: " + sample(left)}, nil
	}
	if err := c.Delete(ctx, NamespaceRef(), cluster.Preconditions{UID: o.GetUID()}, cluster.Write{}); err != nil {
		return NamespaceOutcome{}, err
	}
	return NamespaceOutcome{Deleted: true}, nil
}

func sample(names []string) string {
	const most = 5
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// namespacedTypes are all types that live in namespaces and can be listed, each in one version. A group that
// does not answer is an error: what it holds would not be seen.
//
// It reads the plain discovery documents itself: client-go's discovery client brings every Kubernetes type
// along, which makes the plugin 22 MB larger.
func (c *Cluster) namespacedTypes(ctx context.Context) ([]schema.GroupVersionResource, error) {
	var groups metav1.APIGroupList
	if err := c.document(ctx, "/apis", &groups); err != nil {
		return nil, err
	}
	paths := []string{"/api/v1"}
	for _, group := range groups.Groups {
		for _, version := range group.Versions {
			paths = append(paths, "/apis/"+version.GroupVersion)
		}
	}
	lists := make([]metav1.APIResourceList, len(paths))
	errs := make([]error, len(paths))
	cluster.Parallel(len(paths), func(i int) { errs[i] = c.document(ctx, paths[i], &lists[i]) })
	if err := cluster.First(errs); err != nil {
		return nil, err
	}
	var types []schema.GroupVersionResource
	seen := map[schema.GroupResource]bool{}
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			return nil, err
		}
		for _, r := range list.APIResources {
			gvr := gv.WithResource(r.Name)
			if r.Namespaced && slices.Contains(r.Verbs, "list") && !strings.Contains(r.Name, "/") && !seen[gvr.GroupResource()] {
				seen[gvr.GroupResource()] = true
				types = append(types, gvr)
			}
		}
	}
	return types, nil
}

// document reads a discovery document in the form that every version of Kubernetes serves.
func (c *Cluster) document(ctx context.Context, path string, into any) error {
	raw, err := c.Raw(ctx, path, "application/json", nil)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("member: read %s of %s: %w", path, c.Server(), err)
	}
	return nil
}

// contents names what is in our namespace beside what Kubernetes puts into each, as kubectl names it.
func (c *Cluster) contents(ctx context.Context, types []schema.GroupVersionResource) ([]string, error) {
	found := make([][]string, len(types))
	errs := make([]error, len(types))
	cluster.Parallel(len(types), func(i int) {
		found[i], errs[i] = c.contentsOf(ctx, types[i])
	})
	if err := cluster.First(errs); err != nil {
		return nil, err
	}
	all := slices.Concat(found...)
	slices.Sort(all)
	return slices.Compact(all), nil
}

func (c *Cluster) contentsOf(ctx context.Context, r schema.GroupVersionResource) ([]string, error) {
	if r.Resource == "events" {
		return nil, nil
	}
	list, err := c.ListIn(ctx, r, v1alpha1.MemberNamespace)
	if apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) {
		return nil, nil // the type went away, or only says that it can be listed
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for i := range list {
		if o := &list[i]; !fromKubernetes(r.GroupResource(), o) {
			names = append(names, r.GroupResource().String()+"/"+cluster.Printable(o.GetName()))
		}
	}
	return names, nil
}

// fromKubernetes says whether Kubernetes itself puts o into every namespace.
func fromKubernetes(r schema.GroupResource, o *unstructured.Unstructured) bool {
	switch r.String() {
	case "configmaps":
		return o.GetName() == "kube-root-ca.crt"
	case "serviceaccounts":
		return o.GetName() == "default"
	case "secrets":
		kind, _, _ := unstructured.NestedString(o.Object, "type")
		return kind == "kubernetes.io/service-account-token" && o.GetAnnotations()["kubernetes.io/service-account.name"] == "default"
	}
	return false
}
