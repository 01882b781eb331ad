package member

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

// NamespaceOutcome is the outcome of removing kubefederate-member.
type NamespaceOutcome struct {
	// Deleted says that its deletion has begun; Kubernetes finishes it.
	Deleted bool
	// Kept says why it stays; empty when it was deleted or did not exist.
	Kept string
	// Holds says that it stays for what it holds, or may hold.
	Holds bool
}

// RemoveNamespace deletes kubefederate-member if join or label created it, it carries no federation label, and it holds
// nothing except what controllers put into namespaces.
func (c *Cluster) RemoveNamespace(ctx context.Context) (NamespaceOutcome, error) {
	var o *unstructured.Unstructured
	var types []cluster.Resource
	errs := cluster.Together(
		func() (err error) { o, err = c.Find(ctx, NamespaceRef()); return err },
		func() (err error) { types, err = c.namespacedTypes(ctx); return err },
	)
	if errs[0] != nil {
		return NamespaceOutcome{}, errs[0]
	}
	switch {
	case o == nil:
		return NamespaceOutcome{}, nil
	case o.GetDeletionTimestamp() != nil:
		return NamespaceOutcome{Deleted: true}, nil
	case !ByJoin(o):
		return NamespaceOutcome{Kept: "it was there before"}, nil
	case o.GetLabels()[v1alpha1.LabelFederation] != "":
		return NamespaceOutcome{Kept: "it carries the label that asks to join " + cluster.Quoted(o.GetLabels()[v1alpha1.LabelFederation])}, nil
	}
	left, err := []string(nil), errs[1]
	if err == nil {
		left, err = c.contents(ctx, types)
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return NamespaceOutcome{}, err
	case err != nil:
		return NamespaceOutcome{Kept: "its contents could not be read: " + cluster.Printable(cluster.Cause(err)), Holds: true}, nil
	case len(left) > 0:
		return NamespaceOutcome{Kept: "it holds objects that kubectl federate did not create: " + sample(left), Holds: true}, nil
	}
	if err := c.Delete(ctx, NamespaceRef(), cluster.Preconditions{UID: o.GetUID()}, cluster.DryRunNone); err != nil {
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

// namespacedTypes are all namespaced types that can be listed, each in one version. A group that does not respond is an
// error: its objects would be missed.
//
// It reads the plain discovery documents itself: client-go's discovery client brings every Kubernetes type along, which
// makes the plugin 22 MB larger.
func (c *Cluster) namespacedTypes(ctx context.Context) ([]cluster.Resource, error) {
	var groups metav1.APIGroupList
	if err := c.GetPath(ctx, "/apis", &groups); err != nil {
		return nil, err
	}
	paths := []string{"/api/v1"}
	for _, group := range groups.Groups {
		if isMachineMadeGroup(group.Name) {
			continue
		}
		for _, version := range group.Versions {
			paths = append(paths, "/apis/"+version.GroupVersion)
		}
	}
	tooMany := fmt.Errorf("member: %s serves more than %d types, which is more than any cluster does", c.Server(), maxTypes)
	if len(paths) > maxTypes {
		return nil, tooMany
	}
	served, count := make([][]cluster.Resource, len(paths)), atomic.Int64{}
	errs := cluster.ForEach(len(paths), func(i int) (err error) {
		if served[i], err = c.typesAt(ctx, paths[i]); err == nil && count.Add(int64(len(served[i]))) > maxTypes {
			return tooMany
		}
		return err
	})
	if err := cmp.Or(errs...); err != nil {
		return nil, err
	}
	var types []cluster.Resource
	seen := map[schema.GroupResource]bool{}
	for _, kind := range slices.Concat(served...) {
		if !seen[kind.GroupResource()] {
			seen[kind.GroupResource()] = true
			types = append(types, kind)
		}
	}
	return types, nil
}

// maxTypes bounds what a member may list: each type is asked for. Clusters with many operators serve some hundred.
const maxTypes = 5000

// typesAt are the namespaced types of a group's version that can be listed.
func (c *Cluster) typesAt(ctx context.Context, path string) (types []cluster.Resource, err error) {
	var list metav1.APIResourceList
	if err := c.GetPath(ctx, path, &list); err != nil {
		return nil, err
	}
	gv, err := schema.ParseGroupVersion(list.GroupVersion)
	if err != nil {
		return nil, err
	}
	for _, r := range list.APIResources {
		if r.Namespaced && slices.Contains(r.Verbs, "list") && !strings.Contains(r.Name, "/") {
			types = append(types, cluster.Resource{GroupVersionResource: gv.WithResource(r.Name), Kind: r.Kind})
		}
	}
	return types, nil
}

// contents are the objects in kubefederate-member that no controller puts into namespaces, as kubectl names them.
func (c *Cluster) contents(ctx context.Context, types []cluster.Resource) ([]string, error) {
	found := make([][]string, len(types))
	errs := cluster.ForEach(len(types), func(i int) (err error) { found[i], err = c.contentsOf(ctx, types[i]); return err })
	all := slices.Concat(found...)
	slices.Sort(all)
	return slices.Compact(all), cmp.Or(errs...)
}

func (c *Cluster) contentsOf(ctx context.Context, r cluster.Resource) ([]string, error) {
	if onlyMachineMade(r.GroupResource()) {
		return nil, nil
	}
	list, err := c.List(ctx, r, cluster.ListOptions{Namespace: v1alpha1.MemberNamespace, Quiet: true})
	if apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) {
		return nil, nil // the type was removed, or its discovery document is wrong about it
	}
	var names []string
	for i := range list {
		if o := &list[i]; !isMachineMade(r.GroupResource(), o) {
			names = append(names, r.GroupResource().String()+"/"+cluster.Printable(o.GetName()))
		}
	}
	return names, err
}
