//go:build unix

package env

import (
	"context"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
)

func snapshot(t *testing.T, c *Cluster) Objects {
	t.Helper()
	o, err := c.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// alike fails the test when what etcd tells of a cluster is not what two snapshots tell.
func alike(t *testing.T, c *Cluster, before, after Objects) {
	t.Helper()
	changes, err := c.Changes(t.Context(), before)
	if err != nil {
		t.Fatal(err)
	}
	if diff := Diff(before, after); !slices.Equal(changes, diff) {
		t.Errorf("etcd tells of\n%s\ntwo snapshots of\n%s", strings.Join(changes, "\n"), strings.Join(diff, "\n"))
	}
}

// expect fails the test when the differences are not the wanted ones; * stands for what differs in each run.
func expect(t *testing.T, before, after Objects, want ...string) {
	t.Helper()
	// Whether an object that is made anew has another creation time depends on the second it happens in.
	got := slices.DeleteFunc(Diff(before, after), func(line string) bool { return strings.Contains(line, ": metadata.creationTimestamp: ") })
	equal := slices.EqualFunc(got, want, func(got, want string) bool {
		head, end, starred := strings.Cut(want, "*")
		return got == want || starred && strings.HasPrefix(got, head) && strings.HasSuffix(got, end)
	})
	if !equal {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestSnapshot(t *testing.T) {
	t.Parallel()
	c, err := fleet(t).Add(t.Context(), Spec{Name: "snapshot", ControllerManager: true})
	if err != nil {
		t.Fatal(err)
	}
	k := client(t, c.Config())
	first := snapshot(t, c)
	if first.Types() < 50 || first.Len() < 150 {
		t.Fatalf("only %d objects of %d types", first.Len(), first.Types())
	}
	before := first

	for _, step := range []struct {
		name string
		do   func(ctx context.Context) error
		want []string
	}{
		{"a ConfigMap is planted", func(ctx context.Context) error {
			_, err := k.CoreV1().ConfigMaps("kube-public").Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "planted"}}, metav1.CreateOptions{})
			return err
		}, []string{"+ configmaps kube-public/planted"}},
		{"its content changes", func(ctx context.Context) error {
			return patch(ctx, k, `{"data":{"a.b":"1","c":"2"}}`)
		}, []string{
			`~ configmaps kube-public/planted: data.c: (none) -> "2"`,
			`~ configmaps kube-public/planted: data[a.b]: (none) -> "1"`,
		}},
		{"it is written without a change", func(ctx context.Context) error { return patch(ctx, k, `{"data":{"c":"2"}}`) }, nil},
		{"it is deleted and made anew", func(ctx context.Context) error {
			old, err := k.CoreV1().ConfigMaps("kube-public").Get(ctx, "planted", metav1.GetOptions{})
			if err != nil {
				return err
			}
			if err := k.CoreV1().ConfigMaps("kube-public").Delete(ctx, "planted", metav1.DeleteOptions{}); err != nil {
				return err
			}
			_, err = k.CoreV1().ConfigMaps("kube-public").Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "planted"}, Data: old.Data}, metav1.CreateOptions{})
			return err
		}, []string{`~ configmaps kube-public/planted: metadata.uid: "*"`}},
		{"a label of a namespace changes", func(ctx context.Context) error {
			return label(ctx, k, `{"metadata":{"labels":{"example.com/team":"a"}}}`)
		}, []string{`~ namespaces kube-system: metadata.labels[example.com/team]: (none) -> "a"`}},
		{"the label is taken back", func(ctx context.Context) error {
			return label(ctx, k, `{"metadata":{"labels":{"example.com/team":null}}}`)
		}, []string{`~ namespaces kube-system: metadata.labels[example.com/team]: "a" -> (none)`}},
		{"a ServiceAccount is deleted", func(ctx context.Context) error {
			_, err := k.CoreV1().ServiceAccounts("kube-public").Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "gone"}}, metav1.CreateOptions{})
			if err != nil {
				return err
			}
			before = snapshot(t, c)
			return k.CoreV1().ServiceAccounts("kube-public").Delete(ctx, "gone", metav1.DeleteOptions{})
		}, []string{"- serviceaccounts kube-public/gone"}},
		{"an Event is told", func(ctx context.Context) error {
			_, err := k.CoreV1().Events("default").Create(ctx, &corev1.Event{ObjectMeta: metav1.ObjectMeta{Name: "told"}, InvolvedObject: corev1.ObjectReference{Namespace: "default"}}, metav1.CreateOptions{})
			return err
		}, nil},
	} {
		if err := step.do(t.Context()); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		after := snapshot(t, c)
		t.Log(step.name)
		expect(t, before, after, step.want...)
		alike(t, c, before, after)
		before = after
	}

	if err := k.CoreV1().ConfigMaps("kube-public").Delete(t.Context(), "planted", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	expect(t, first, snapshot(t, c)) // all was taken back
}

func patch(ctx context.Context, k *kubernetes.Clientset, patch string) error {
	_, err := k.CoreV1().ConfigMaps("kube-public").Patch(ctx, "planted", types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	return err
}

func label(ctx context.Context, k *kubernetes.Clientset, patch string) error {
	_, err := k.CoreV1().Namespaces().Patch(ctx, "kube-system", types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	return err
}

// TestSnapshotCustom shows that types that are not built in are read.
func TestSnapshotCustom(t *testing.T) {
	t.Parallel()
	c, err := fleet(t).Add(t.Context(), Spec{Name: "custom"})
	if err != nil {
		t.Fatal(err)
	}
	d, err := dynamic.NewForConfig(c.Config())
	if err != nil {
		t.Fatal(err)
	}
	first := snapshot(t, c)
	if _, err := d.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}).Create(t.Context(),
		&unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
			"metadata": map[string]any{"name": "things.example.com"},
			"spec": map[string]any{
				"group": "example.com", "scope": "Cluster", "names": map[string]any{"plural": "things", "kind": "Thing"},
				"versions": []any{map[string]any{"name": "v1", "served": true, "storage": true, "schema": map[string]any{
					"openAPIV3Schema": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true},
				}}},
			},
		}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	things := d.Resource(schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "things"})
	eventually(t, func(ctx context.Context) (bool, string) {
		_, err := things.List(ctx, metav1.ListOptions{})
		return err == nil, text(err)
	})
	var before Objects
	eventually(t, func(context.Context) (bool, string) {
		// Discovery learns of the type a moment after it is served.
		before = snapshot(t, c)
		return slices.ContainsFunc(before.resources, func(r schema.GroupVersionResource) bool { return r.Group == "example.com" }), "discovery has no things"
	})
	if _, err := things.Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "example.com/v1", "kind": "Thing", "metadata": map[string]any{"name": "one"},
	}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	expect(t, before, snapshot(t, c), "+ things.example.com one")
	alike(t, c, before, snapshot(t, c))
	alike(t, c, first, snapshot(t, c)) // which knew nothing of the type
	c.Stop()
}

// TestSnapshotQuiet compares a cluster with itself before and after its API server has renewed a Lease, which
// is every ten seconds: something is written all the time.
func TestSnapshotQuiet(t *testing.T) {
	t.Parallel()
	c, err := fleet(t).Add(t.Context(), Spec{Name: "quiet", ControllerManager: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.AddNode(t.Context(), "node", nil); err != nil {
		t.Fatal(err)
	}
	renewals := func(ctx context.Context) string {
		leases, err := client(t, c.Config()).CoordinationV1().Leases("kube-system").List(ctx, metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var times []string
		for _, l := range leases.Items {
			times = append(times, l.Name+" "+l.Spec.RenewTime.String())
		}
		return strings.Join(times, ",")
	}
	before, renewed := snapshot(t, c), renewals(t.Context())
	eventually(t, func(ctx context.Context) (bool, string) {
		return renewals(ctx) != renewed, "no Lease is renewed: " + renewed
	})
	expect(t, before, snapshot(t, c))
	alike(t, c, before, snapshot(t, c))
	c.Stop()
}
