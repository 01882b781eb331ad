//go:build unix

package env

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// Objects is everything that a cluster holds at one moment, without what Kubernetes changes by itself.
type Objects struct {
	resources []schema.GroupVersionResource
	objects   map[string]any  // by type, namespace and name
	ignored   map[string]bool // what Without left out
	written   revisions       // nil where etcd was not asked
}

// Types is the number of resource types that were listed, those without any object included.
func (o Objects) Types() int { return len(o.resources) }

// Len is the number of objects.
func (o Objects) Len() int { return len(o.objects) }

// Without leaves one object out, named as Diff names it: a counter, which tells how often something was done and
// not what there is.
func (o Objects) Without(key string) Objects {
	o.objects = maps.Clone(o.objects)
	delete(o.objects, key)
	ignored := map[string]bool{key: true}
	maps.Copy(ignored, o.ignored)
	o.ignored = ignored
	return o
}

// Snapshot reads every object of every type that the cluster's API servers can list, custom and aggregated
// ones included, each type once, in the version its group prefers. A type that cannot be read is an error:
// what was not read cannot be said to be unchanged.
//
// UIDs and creation times are kept, so an object that was deleted and made anew differs. Left out are Events,
// ComponentStatuses (which are probes, not objects), and the fields named at normalise.
func Snapshot(ctx context.Context, config *rest.Config) (Objects, error) {
	o := Objects{objects: map[string]any{}}
	// Reading must not be slowed to five requests a second by whoever made the configuration.
	config = rest.CopyConfig(config)
	config.QPS, config.Burst = -1, -1
	// It also reads types that warn of being deprecated, and nobody has chosen to use them.
	config.WarningHandler = rest.NoWarnings{}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return o, err
	}
	types, err := listable(config)
	if err != nil {
		return o, err
	}
	for _, t := range types {
		o.resources = append(o.resources, t)
		options := metav1.ListOptions{Limit: 500}
		for {
			list, err := client.Resource(t).List(ctx, options)
			if apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) {
				break // the type went away since it was discovered
			}
			if err != nil {
				return o, fmt.Errorf("listing %s: %w", t.GroupResource(), err)
			}
			for _, item := range list.Items {
				key := t.GroupResource().String() + " " + strings.TrimPrefix(item.GetNamespace()+"/"+item.GetName(), "/")
				normalise(&item)
				o.objects[key] = item.Object
			}
			if options.Continue = list.GetContinue(); options.Continue == "" {
				break
			}
		}
	}
	return o, nil
}

// listable returns the types of a cluster, sorted.
func listable(config *rest.Config) ([]schema.GroupVersionResource, error) {
	client, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, err
	}
	lists, err := client.ServerPreferredResources()
	if err != nil {
		return nil, fmt.Errorf("finding the types of the cluster: %w", err)
	}
	var types []schema.GroupVersionResource
	for _, list := range discovery.FilteredBy(discovery.SupportsAllVerbs{Verbs: []string{"list"}}, lists) {
		version, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			return nil, err
		}
		for _, r := range list.APIResources {
			switch {
			case r.Name == "events" && (version.Group == corev1.GroupName || version.Group == "events.k8s.io"):
			case r.Name == "componentstatuses" && version.Group == corev1.GroupName:
			default:
				types = append(types, version.WithResource(r.Name))
			}
		}
	}
	slices.SortFunc(types, func(a, b schema.GroupVersionResource) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Resource, b.Resource))
	})
	return types, nil
}

// normalise removes what changes without anybody changing the object's content: the bookkeeping of writes
// (also of writes that were taken back), heartbeats, and the traces of elections and of tokens in use.
func normalise(o *unstructured.Unstructured) {
	for _, path := range [][]string{
		{"metadata", "managedFields"},
		{"metadata", "resourceVersion"},
		{"metadata", "generation"},
		{"status", "observedGeneration"},
		{"metadata", "annotations", "control-plane.alpha.kubernetes.io/leader"},
		{"metadata", "annotations", corev1.EndpointsLastChangeTriggerTime},
		{"metadata", "labels", "kubernetes.io/legacy-token-last-used"},
	} {
		unstructured.RemoveNestedField(o.Object, path...)
	}
	if o.GetKind() == "Lease" {
		unstructured.RemoveNestedField(o.Object, "spec", "renewTime")
	}
	if o.GetKind() == "Node" {
		conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
		for _, c := range conditions {
			if c, ok := c.(map[string]any); ok {
				delete(c, "lastHeartbeatTime")
			}
		}
		if conditions != nil {
			must(unstructured.SetNestedSlice(o.Object, conditions, "status", "conditions"))
		}
	}
	// A map that only held what was removed is as good as none.
	for _, name := range []string{"annotations", "labels"} {
		if m, found, _ := unstructured.NestedMap(o.Object, "metadata", name); found && len(m) == 0 {
			unstructured.RemoveNestedField(o.Object, "metadata", name)
		}
	}
}

// Diff tells what has to happen to before to make it after, one line each, sorted; nothing when they are
// equal:
//
//   - configmaps default/new
//   - serviceaccounts default/gone
//     ~ namespaces kube-system: metadata.labels[team]: "a" -> (none)
func Diff(before, after Objects) []string {
	var lines []string
	keys := slices.Concat(slices.Collect(maps.Keys(before.objects)), slices.Collect(maps.Keys(after.objects)))
	slices.Sort(keys)
	for _, key := range slices.Compact(keys) {
		old, was := before.objects[key]
		current, is := after.objects[key]
		switch {
		case !was:
			lines = append(lines, "+ "+key)
		case !is:
			lines = append(lines, "- "+key)
		default:
			lines = append(lines, changes("~ "+key+": ", old, current)...)
		}
	}
	return lines
}

func changes(prefix string, before, after any) []string {
	old, current := map[string]string{}, map[string]string{}
	flatten("", before, old)
	flatten("", after, current)
	paths := slices.Concat(slices.Collect(maps.Keys(old)), slices.Collect(maps.Keys(current)))
	slices.Sort(paths)
	var lines []string
	for _, path := range slices.Compact(paths) {
		if a, b := cmp.Or(old[path], "(none)"), cmp.Or(current[path], "(none)"); a != b {
			lines = append(lines, prefix+path+": "+a+" -> "+b)
		}
	}
	return lines
}

// flatten writes each leaf of a JSON value to leaves, by its path.
func flatten(path string, value any, leaves map[string]string) {
	switch v := value.(type) {
	case map[string]any:
		for key, element := range v {
			if strings.ContainsAny(key, "./") {
				flatten(path+"["+key+"]", element, leaves)
			} else {
				flatten(strings.TrimPrefix(path+"."+key, "."), element, leaves)
			}
		}
		if len(v) > 0 {
			return
		}
	case []any:
		for i, element := range v {
			flatten(path+"["+strconv.Itoa(i)+"]", element, leaves)
		}
		if len(v) > 0 {
			return
		}
	}
	b, err := json.Marshal(value)
	must(err)
	leaves[path] = string(b)
}
