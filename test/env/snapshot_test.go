//go:build unix

package env

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

func snapshot(t *testing.T, c *Cluster) Objects {
	t.Helper()
	o, err := c.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// expect fails the test when the differences are not the wanted ones; * stands for what differs in each run.
func expect(t *testing.T, step string, before, after Objects, want ...string) {
	t.Helper()
	// Whether an object that is made anew has another creation time depends on the second it happens in.
	got := slices.DeleteFunc(Diff(before, after), func(line string) bool { return strings.Contains(line, ": metadata.creationTimestamp: ") })
	if !slices.EqualFunc(got, want, func(got, want string) bool {
		head, end, starred := strings.Cut(want, "*")
		return got == want || starred && strings.HasPrefix(got, head) && strings.HasSuffix(got, end)
	}) {
		t.Errorf("%s: got\n%s\nwant\n%s", step, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestSnapshot(t *testing.T) {
	t.Parallel()
	c, err := fleet(t).Add(t.Context(), Spec{Name: "snapshot", ControllerManager: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	k := client(t, c.Config())
	configMaps, accounts := k.CoreV1().ConfigMaps("kube-public"), k.CoreV1().ServiceAccounts("kube-public")
	planted := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "planted"}}
	patch := func(ctx context.Context, patch string) error {
		_, err := configMaps.Patch(ctx, "planted", types.MergePatchType, []byte(patch), metav1.PatchOptions{})
		return err
	}
	label := func(ctx context.Context, patch string) error {
		_, err := k.CoreV1().Namespaces().Patch(ctx, "kube-system", types.MergePatchType, []byte(patch), metav1.PatchOptions{})
		return err
	}
	first := snapshot(t, c)
	before := first
	for _, step := range []struct {
		name string
		do   func(ctx context.Context) error
		want []string
	}{
		{"a ConfigMap is planted", func(ctx context.Context) error {
			_, err := configMaps.Create(ctx, planted, metav1.CreateOptions{})
			return err
		}, []string{"+ configmaps kube-public/planted"}},
		{"its content changes", func(ctx context.Context) error { return patch(ctx, `{"data":{"a.b":"1","c":"2"}}`) }, []string{
			`~ configmaps kube-public/planted: data.c: (none) -> "2"`,
			`~ configmaps kube-public/planted: data[a.b]: (none) -> "1"`,
		}},
		{"it is written without a change", func(ctx context.Context) error { return patch(ctx, `{"data":{"c":"2"}}`) }, nil},
		{"it is deleted and made anew", func(ctx context.Context) error {
			if err := configMaps.Delete(ctx, "planted", metav1.DeleteOptions{}); err != nil {
				return err
			}
			_, err := configMaps.Create(ctx, &corev1.ConfigMap{ObjectMeta: planted.ObjectMeta, Data: map[string]string{"a.b": "1", "c": "2"}}, metav1.CreateOptions{})
			return err
		}, []string{`~ configmaps kube-public/planted: metadata.uid: "*"`}},
		{"a label of a namespace changes", func(ctx context.Context) error { return label(ctx, `{"metadata":{"labels":{"example.com/team":"a"}}}`) },
			[]string{`~ namespaces kube-system: metadata.labels[example.com/team]: (none) -> "a"`}},
		{"the label is removed", func(ctx context.Context) error {
			return label(ctx, `{"metadata":{"labels":{"example.com/team":null}}}`)
		},
			[]string{`~ namespaces kube-system: metadata.labels[example.com/team]: "a" -> (none)`}},
		{"a ServiceAccount is deleted", func(ctx context.Context) error {
			_, err := accounts.Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "gone"}}, metav1.CreateOptions{})
			before = snapshot(t, c)
			return errors.Join(err, accounts.Delete(ctx, "gone", metav1.DeleteOptions{}))
		}, []string{"- serviceaccounts kube-public/gone"}},
		{"an Event is recorded", func(ctx context.Context) error {
			_, err := k.CoreV1().Events("default").Create(ctx, &corev1.Event{ObjectMeta: metav1.ObjectMeta{Name: "recorded"}, InvolvedObject: corev1.ObjectReference{Namespace: "default"}}, metav1.CreateOptions{})
			return err
		}, nil},
	} {
		if err := step.do(t.Context()); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		after := snapshot(t, c)
		expect(t, step.name, before, after, step.want...)
		before = after
	}
	if err := configMaps.Delete(t.Context(), "planted", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	expect(t, "all was undone", first, snapshot(t, c))
}

// TestSnapshotComplete compares a snapshot with what the API server lists, a custom type included, once something that is
// written all the time (a Lease, every ten seconds) was written again.
func TestSnapshotComplete(t *testing.T) {
	t.Parallel()
	c, err := fleet(t).Add(t.Context(), Spec{Name: "complete", ControllerManager: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	if err := c.AddNode(t.Context(), "node", nil); err != nil {
		t.Fatal(err)
	}
	d, err := dynamic.NewForConfig(c.Config())
	if err != nil {
		t.Fatal(err)
	}
	created := func(ctx context.Context, resource schema.GroupVersionResource, o map[string]any) error {
		_, err := d.Resource(resource).Apply(ctx, o["metadata"].(map[string]any)["name"].(string), &unstructured.Unstructured{Object: o}, metav1.ApplyOptions{FieldManager: "test"})
		return err
	}
	if err := created(t.Context(), schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}, map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": map[string]any{"name": "things.example.com"},
		"spec": map[string]any{
			"group": "example.com", "scope": "Cluster", "names": map[string]any{"plural": "things", "kind": "Thing"},
			"versions": []any{map[string]any{"name": "v1", "served": true, "storage": true, "schema": map[string]any{
				"openAPIV3Schema": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true},
			}}},
		},
	}); err != nil {
		t.Fatal(err)
	}
	Eventually(t, "a custom object is created", func(ctx context.Context) error {
		return created(ctx, schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "things"},
			map[string]any{"apiVersion": "example.com/v1", "kind": "Thing", "metadata": map[string]any{"name": "one"}})
	})
	var before Objects
	Eventually(t, "the snapshot has what the API server lists", func(context.Context) error {
		before = snapshot(t, c)
		listed, err := listAll(c.Config())
		if got := slices.Sorted(maps.Keys(before)); err == nil && !slices.Equal(got, listed) {
			return errors.New("the snapshot has\n" + strings.Join(got, "\n") + "\nthe API server lists\n" + strings.Join(listed, "\n"))
		}
		return err
	})
	if _, found := before["things.example.com one"]; !found || len(before) < 150 {
		t.Errorf("the snapshot has %d objects and things.example.com one: %t", len(before), found)
	}

	renewals := func(ctx context.Context) string {
		leases, err := client(t, c.Config()).CoordinationV1().Leases("kube-system").List(ctx, metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var times strings.Builder
		for _, l := range leases.Items {
			times.WriteString(l.Name + " " + l.Spec.RenewTime.String() + "\n")
		}
		return times.String()
	}
	renewed := renewals(t.Context())
	Eventually(t, "a Lease is renewed", func(ctx context.Context) error {
		if now := renewals(ctx); now == renewed {
			return errors.New(now)
		}
		return nil
	})
	expect(t, "a Lease is renewed", before, snapshot(t, c))
}

// listAll names every object that a cluster lists, as a snapshot names it.
func listAll(config *rest.Config) ([]string, error) {
	config.WarningHandler = rest.NoWarnings{} // of types that are deprecated
	types, err := discovery.NewDiscoveryClientForConfigOrDie(config).ServerPreferredResources()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, list := range discovery.FilteredBy(discovery.SupportsAllVerbs{Verbs: []string{"list"}}, types) {
		version, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			return nil, err
		}
		for _, r := range list.APIResources {
			if r.Name == "events" || r.Name == "componentstatuses" {
				continue
			}
			objects, err := dynamic.NewForConfigOrDie(config).Resource(version.WithResource(r.Name)).List(context.Background(), metav1.ListOptions{})
			if err != nil {
				return nil, err
			}
			for _, o := range objects.Items {
				names = append(names, version.WithResource(r.Name).GroupResource().String()+" "+strings.TrimPrefix(o.GetNamespace()+"/"+o.GetName(), "/"))
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}
