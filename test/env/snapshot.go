//go:build unix

package env

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
)

// Objects is everything that a cluster holds at one moment, without what Kubernetes changes by itself, by resource,
// namespace and name: "configmaps default/one".
type Objects map[string]map[string]any

// Without leaves one object out of all comparisons with these.
func (o Objects) Without(key string) Objects {
	o = maps.Clone(o)
	o[key] = nil
	return o
}

// Compare returns an error that says how the cluster differs from before. A line of Diff that ignore returns true for
// does not count. With Poll it waits for what Kubernetes does later: the end of a namespace, garbage collection.
func (c *Cluster) Compare(ctx context.Context, before Objects, ignore ...func(line string) bool) error {
	now, err := c.Snapshot(ctx)
	if err != nil {
		return err
	}
	lines := Diff(before, now)
	for _, ignored := range ignore {
		lines = slices.DeleteFunc(lines, ignored)
	}
	if len(lines) > 0 {
		return fmt.Errorf("cluster %s differs from before:\n%s", c.Name, strings.Join(lines, "\n"))
	}
	return nil
}

// Snapshot reads every object of the cluster from etcd, those of custom types included. It takes milliseconds, where a list
// of each type through the API server takes a second. What cannot be read is an error: it cannot be said to be
// unchanged.
//
// UIDs and creation times are kept, so an object that was deleted and made anew differs. Left out are Events, what is no
// object, and the fields named at normalise.
func (c *Cluster) Snapshot(ctx context.Context) (Objects, error) {
	prefix := "/" + c.Name + "/"
	values, err := c.fleet.readEtcd(ctx, prefix)
	if err != nil {
		return nil, err
	}
	objects := Objects{}
	for _, v := range values {
		path := strings.Split(strings.TrimPrefix(string(v.Key), prefix), "/")
		switch path[0] {
		case "events", "masterleases", "peerserverleases", "ranges":
			continue
		}
		o, err := decode(v.Value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", v.Key, err)
		}
		normalise(o)
		objects[objectKey(path, o)] = o.Object
	}
	if len(objects) == 0 {
		return nil, fmt.Errorf("etcd has no keys below %s", prefix)
	}
	return objects, nil
}

type etcdValue struct{ Key, Value []byte }

// readEtcd reads all keys of etcd that start with the prefix, over its JSON gateway.
func (f *Fleet) readEtcd(ctx context.Context, prefix string) ([]etcdValue, error) {
	end := []byte(prefix)
	end[len(end)-1]++
	question, err := json.Marshal(map[string][]byte{"key": []byte(prefix), "range_end": end})
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, f.etcdURL()+"/v3/kv/range", bytes.NewReader(question))
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var answer struct{ KVs []etcdValue }
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("read etcd: %s: %w", response.Status, err)
	}
	return answer.KVs, nil
}

// decode reads an object as API servers store it: built-in types as Protobuf, all others as JSON.
func decode(stored []byte) (*unstructured.Unstructured, error) {
	if bytes.HasPrefix(stored, []byte("{")) {
		o := &unstructured.Unstructured{}
		return o, json.Unmarshal(stored, &o.Object)
	}
	typed, kind, err := scheme.Codecs.UniversalDeserializer().Decode(stored, nil, nil)
	if err != nil {
		return nil, err
	}
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(typed)
	if err != nil {
		return nil, err
	}
	o := &unstructured.Unstructured{Object: fields}
	o.SetGroupVersionKind(*kind)
	return o, nil
}

// renamedResources are those that etcd's keys call differently: /minions/NAME, /services/specs/NAMESPACE/NAME.
var renamedResources = map[string]string{"minions": "nodes", "specs": "services"}

// objectKey names an object by its key in etcd, which is RESOURCE/[NAMESPACE/]NAME, with the group before it for custom types.
func objectKey(path []string, o *unstructured.Unstructured) string {
	name := strings.TrimPrefix(o.GetNamespace()+"/"+o.GetName(), "/")
	resource := path[max(0, len(path)-2-strings.Count(name, "/"))]
	if group := o.GroupVersionKind().Group; group != "" {
		return resource + "." + group + " " + name
	}
	return cmp.Or(renamedResources[resource], resource) + " " + name
}

// normalise removes what changes without anybody changing the object's content: the bookkeeping of writes
// (also of writes that were rolled back), heartbeats, and the traces of tokens in use.
func normalise(o *unstructured.Unstructured) {
	for _, path := range [][]string{
		{"metadata", "managedFields"},
		{"metadata", "generation"},
		{"status", "observedGeneration"},
		{"metadata", "labels", "kubernetes.io/legacy-token-last-used"},
	} {
		unstructured.RemoveNestedField(o.Object, path...)
	}
	if o.GetKind() == "Lease" {
		delete(o.Object, "spec") // its holder writes it, and may not have yet
	}
	for _, name := range []string{"annotations", "labels"} {
		if m, found, _ := unstructured.NestedMap(o.Object, "metadata", name); found && len(m) == 0 {
			unstructured.RemoveNestedField(o.Object, "metadata", name)
		}
	}
}

// Diff lists what has to happen to before to make it after, one line each, sorted; nothing when they are
// equal:
//
//   - configmaps default/new
//   - serviceaccounts default/gone
//     ~ namespaces kube-system: metadata.labels[team]: "a" -> (none)
func Diff(before, after Objects) []string {
	var lines []string
	for _, key := range keysOf(before, after) {
		old, was := before[key]
		current, is := after[key]
		switch {
		case was && old == nil, is && current == nil:
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

// keysOf returns the keys of both maps, sorted.
func keysOf[V any](a, b map[string]V) []string {
	both := maps.Clone(a)
	maps.Copy(both, b)
	return slices.Sorted(maps.Keys(both))
}

func changes(prefix string, before, after any) []string {
	old, current := map[string]string{}, map[string]string{}
	flatten("", before, old)
	flatten("", after, current)
	var lines []string
	for _, path := range keysOf(old, current) {
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
	leaves[path] = string(must(json.Marshal(value)))
}
