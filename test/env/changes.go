//go:build unix

package env

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// revisions are all keys that a cluster has in etcd, with the revision at which each was last written.
type revisions map[string]string

// Snapshot is the package's Snapshot of the cluster, which Changes takes, too.
func (c *Cluster) Snapshot(ctx context.Context) (Objects, error) {
	// Read before the objects: what is written in between is looked at again, and nothing is missed.
	written, err := c.revisions(ctx)
	if err != nil {
		return Objects{}, err
	}
	o, err := Snapshot(ctx, c.Config())
	o.written = written
	return o, err
}

// Changes is Diff between a snapshot of the cluster and what it holds now. It asks etcd which objects were written
// since, and reads no others, so that it takes milliseconds: a hundred times less than a second snapshot.
func (c *Cluster) Changes(ctx context.Context, before Objects) ([]string, error) {
	if before.written == nil {
		return nil, fmt.Errorf("the snapshot is none of Cluster.Snapshot")
	}
	now, err := c.revisions(ctx)
	if err != nil {
		return nil, err
	}
	var touched []string
	for key, revision := range now {
		if before.written[key] != revision {
			touched = append(touched, key)
		}
	}
	for key := range before.written {
		if _, is := now[key]; !is {
			touched = append(touched, key)
		}
	}
	if len(touched) == 0 {
		return nil, nil
	}
	config := c.Config()
	config.WarningHandler = rest.NoWarnings{}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	was, is := Objects{objects: map[string]any{}}, Objects{objects: map[string]any{}}
	for _, key := range touched {
		kept, known := before.of(strings.TrimPrefix(key, c.prefix()))
		if !known {
			// A type that came since, or one whose place in etcd is not known.
			after, err := c.Snapshot(ctx)
			if err != nil {
				return nil, err
			}
			for key := range before.ignored {
				after = after.Without(key)
			}
			return Diff(before, after), nil
		}
		for _, k := range kept {
			if before.ignored[k.String()] {
				continue
			}
			if o, found := before.objects[k.String()]; found {
				was.objects[k.String()] = o
			}
			o, err := client.Resource(k.resource).Namespace(k.namespace).Get(ctx, k.name, metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("reading %s: %w", k, err)
			}
			normalise(o)
			is.objects[k.String()] = o.Object
		}
	}
	return Diff(was, is), nil
}

// keptAt is an object that etcd may hold at a key.
type keptAt struct {
	resource        schema.GroupVersionResource
	namespace, name string
}

func (k keptAt) String() string {
	return k.resource.GroupResource().String() + " " + strings.TrimPrefix(k.namespace+"/"+k.name, "/")
}

// of names what the API server keeps at a path below the cluster's prefix: nothing for what is no object, or an object
// that snapshots leave out. API servers put built-in types at RESOURCE/, and all others at GROUP/RESOURCE/.
func (o Objects) of(path string) (kept []keptAt, known bool) {
	parts := strings.Split(path, "/")
	switch parts[0] {
	case "events", "masterleases", "peerserverleases", "ranges":
		return nil, true
	case "minions":
		parts[0] = "nodes"
	case "services": // services/specs/, services/endpoints/
		if len(parts) > 1 && parts[1] == "endpoints" {
			parts = parts[1:]
		} else if len(parts) > 1 {
			parts = slices.Delete(parts, 1, 2)
		}
	}
	for _, t := range o.resources {
		rest := parts[1:]
		switch {
		case t.Resource == parts[0]:
		case t.Group == parts[0] && len(parts) > 1 && t.Resource == parts[1]:
			rest = parts[2:]
		default:
			continue
		}
		switch len(rest) {
		case 1:
			kept = append(kept, keptAt{t, "", rest[0]})
		case 2:
			kept = append(kept, keptAt{t, rest[0], rest[1]})
		}
	}
	return kept, len(kept) > 0
}

func (c *Cluster) prefix() string { return "/" + c.Name + "/" }

// revisions reads the cluster's keys of etcd.
func (c *Cluster) revisions(ctx context.Context) (revisions, error) {
	prefix := c.prefix()
	end := []byte(prefix)
	end[len(end)-1]++
	question, err := json.Marshal(map[string]any{"key": []byte(prefix), "range_end": end, "keys_only": true})
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.fleet.etcdURL()+"/v3/kv/range", bytes.NewReader(question))
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var answer struct {
		KVs []struct {
			Key         []byte `json:"key"`
			ModRevision string `json:"mod_revision"`
		} `json:"kvs"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the keys of etcd: %s: %w", response.Status, err)
	}
	if len(answer.KVs) == 0 {
		return nil, fmt.Errorf("etcd has no keys below %s", prefix)
	}
	all := make(revisions, len(answer.KVs))
	for _, kv := range answer.KVs {
		all[string(kv.Key)] = kv.ModRevision
	}
	return all, nil
}
