package cluster_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

// documented is a connection to a member that answers paths with documents, and all else with 404.
func documented(t *testing.T, documents map[string]string) *cluster.Conn {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		path := r.URL.Path
		if token := r.URL.Query().Get("continue"); token != "" {
			path += "?" + token
		}
		document, ok := documents[path]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			document = `{"kind":"Status","apiVersion":"v1","status":"Failure","code":404,"reason":"NotFound"}`
		}
		fmt.Fprint(w, document)
	}))
	t.Cleanup(s.Close)
	c, err := cluster.Connect(cluster.Member, &rest.Config{Host: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestReadTable is what of a table is kept: of all pages, with each cell as text, and bounded.
func TestReadTable(t *testing.T) {
	t.Parallel()
	pods, err := documented(t, nil).FindKind(t.Context(), "pods")
	if err != nil {
		t.Fatal(err)
	}
	const row = `{"cells":["a",1.5,3,true,null,{"x":1}],"object":{"metadata":{"name":"a","namespace":"shop"}}}`
	first := `{"kind":"Table","metadata":{"continue":"more"},"columnDefinitions":[{"name":"Name"},{"name":"Load"},{"name":"Restarts"},{"name":"Up"},` +
		`{"name":"Note","priority":1},{"name":"Other"}],"rows":[` + row + `]}`
	c := documented(t, map[string]string{
		"/api/v1/pods": first, "/api/v1/pods?more": `{"kind":"Table","rows":[{"cells":["b"]}]}`,
		"/api/v1/namespaces/names/pods": `{"kind":"PodList","items":[{"metadata":{"name":"a","namespace":"names"}}]}`,
		"/api/v1/namespaces/wide/pods":  `{"kind":"Table","columnDefinitions":[` + strings.Repeat(`{"name":"x"},`, 99) + `{"name":"x"}],"rows":[{"cells":[` + strings.Repeat(`"x",`, 99) + `"x"]}]}`,
	})
	got, err := cluster.ReadTable(t.Context(), c, pods.Resource, cluster.ListOptions{})
	want := &cluster.Table{
		Columns: []cluster.TableColumn{{"Name", false}, {"Load", false}, {"Restarts", false}, {"Up", false}, {"Note", true}, {"Other", false}},
		Rows: []cluster.TableRow{
			{Namespace: "shop", Name: "a", Cells: []string{"a", "1.5", "3", "true", "<none>", `{"x":1}`}},
			{Cells: []string{"b", "", "", "", "", ""}},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	got, err = cluster.ReadTable(t.Context(), c, pods.Resource, cluster.ListOptions{Namespace: "names"})
	want = &cluster.Table{Columns: []cluster.TableColumn{{"Name", false}}, Rows: []cluster.TableRow{{Namespace: "names", Name: "a", Cells: []string{"a"}}}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("of a server that prints no tables: %v\n%s", err, diff)
	}
	got, err = cluster.ReadTable(t.Context(), c, pods.Resource, cluster.ListOptions{Namespace: "wide"})
	if err != nil || len(got.Columns) != 40 || len(got.Rows[0].Cells) != 40 {
		t.Errorf("of many columns %d are kept, error %v", len(got.Columns), err)
	}
	if _, err := cluster.ReadTable(t.Context(), c, pods.Resource, cluster.ListOptions{Namespace: "none"}); !cluster.IsNotServed(err) {
		t.Errorf("of a kind that is not served: %v", err)
	}
}

// TestFindKind finds a kind by each of its names, in documents of discovery as new and as old servers send them, and hostile ones.
func TestFindKind(t *testing.T) {
	t.Parallel()
	aggregated := func(group string, resources ...string) string {
		return fmt.Sprintf(`{"metadata":{"name":%q},"versions":[{"version":"v1","resources":[%s]}]}`, group, strings.Join(resources, ","))
	}
	one := func(name, kind, short string, verbs string) string {
		return fmt.Sprintf(`{"resource":%q,"responseKind":{"kind":%q},"scope":"Namespaced","singularResource":%q,"shortNames":[%q],"verbs":[%q]}`, name, kind, strings.ToLower(kind), short, verbs)
	}
	for name, documents := range map[string]map[string]string{
		"aggregated": {
			"/api": `{"kind":"APIGroupDiscoveryList","items":[` + aggregated("", one("pods", "Pod", "po", "list")) + `]}`,
			"/apis": `{"kind":"APIGroupDiscoveryList","items":[` + aggregated("a.example.com", one("widgets", "Widget", "wd", "list"), one("../secrets", "Evil", "evil", "list")) + `,` +
				aggregated("b.example.com", one("widgets", "Widget", "wd", "list"), one("wd", "Other", "x", "list"), one("posts", "Post", "p", "create")) + `]}`,
		},
		"by version": {
			"/api":                   `{"kind":"APIVersions","versions":["v1"]}`,
			"/apis":                  `{"kind":"APIGroupList","groups":[{"name":"a.example.com","preferredVersion":{"groupVersion":"a.example.com/v1"}},{"name":"b.example.com","preferredVersion":{"groupVersion":"b.example.com/v1"}},{"name":"dead","preferredVersion":{"groupVersion":"dead/v1"}}]}`,
			"/apis/a.example.com/v1": `{"resources":[{"name":"widgets","singularName":"widget","kind":"Widget","namespaced":true,"shortNames":["wd"],"verbs":["list"]},{"name":"widgets/status","kind":"Widget"},{"name":"../secrets","kind":"Evil","shortNames":["evil"],"verbs":["list"]}]}`,
			"/apis/b.example.com/v1": `{"resources":[{"name":"widgets","singularName":"widget","kind":"Widget","namespaced":true,"shortNames":["wd"],"verbs":["list"]},{"name":"wd","kind":"Other","namespaced":true,"verbs":["list"]},{"name":"posts","kind":"Post","verbs":["create"]}]}`,
		},
	} {
		c := documented(t, documents)
		for typed, want := range map[string]string{
			"widgets": "widgets.a.example.com", "widget": "widgets.a.example.com", "Widget": "widgets.a.example.com",
			"wd": "wd.b.example.com", "wd.a.example.com": "widgets.a.example.com",
			"widgets.b.example.com": "widgets.b.example.com", "widgets.v1.b.example.com": "widgets.b.example.com",
			"po": "pods", "deploy": "deployments.apps", "deployments.apps": "deployments.apps", "deployments.v1.apps": "deployments.apps",
		} {
			k, err := c.FindKind(t.Context(), typed)
			if got := k.Resource.GroupResource().String(); err != nil || got != want || !k.Namespaced {
				t.Errorf("%s: %s is %s, %v", name, typed, got, err)
			}
		}
		for typed, want := range map[string]string{
			"gadgets":             `member: it does not serve the kind "gadgets"`,
			"evil":                `member: it does not serve the kind "evil"`,
			"widgets.v2":          `member: it does not serve the kind "widgets.v2"`,
			"posts":               `member: objects of kind "posts" cannot be listed`,
			"pods.apps":           `member: it does not serve the kind "pods.apps"`,
			"../x":                `member: it does not serve the kind "../x"`,
			"widgets/status":      `member: it does not serve the kind "widgets/status"`,
			"widgets.example.com": `member: it does not serve the kind "widgets.example.com"`,
		} {
			if k, err := c.FindKind(t.Context(), typed); err == nil || err.Error() != want {
				t.Errorf("%s: %s: %v, %v", name, typed, k, err)
			}
		}
	}
}
