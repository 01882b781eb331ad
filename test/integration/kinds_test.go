//go:build unix

package integration

import (
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
)

// TestKindsByName finds every kind of a real cluster by each of its names, as kubectl does: those that are known without asking are
// what the cluster serves.
func TestKindsByName(t *testing.T) {
	c := joinFleet(t).Cluster("west")
	client, err := discovery.NewDiscoveryClientForConfig(c.Config())
	if err != nil {
		t.Fatal(err)
	}
	lists, err := client.ServerPreferredResources()
	if err != nil {
		t.Fatal(err)
	}
	m := connectMember(t, c.Config())
	seen, kinds := map[string]bool{}, 0
	for _, list := range lists { // the core comes first
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range list.APIResources {
			if !slices.Contains(r.Verbs, "list") || seen[r.Name] {
				continue
			}
			kinds++
			for _, name := range append([]string{r.Name, r.SingularName, r.Kind}, r.ShortNames...) {
				if seen[name] {
					continue
				}
				seen[name] = true
				k, err := m.FindKind(t.Context(), name)
				if err != nil || k.Resource.GroupVersionResource != gv.WithResource(r.Name) || k.Namespaced != r.Namespaced || k.Kind != r.Kind {
					t.Errorf("%s is found as %+v, %v; want %s of %s", name, k.Resource, err, r.Name, gv)
				}
			}
		}
	}
	if kinds < 40 {
		t.Errorf("%d kinds were looked for", kinds)
	}
}
