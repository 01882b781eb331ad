package cluster_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

// connectTo connects to a server of its own.
func connectTo(t *testing.T, answer http.HandlerFunc, change ...func(*rest.Config)) *cluster.Conn {
	t.Helper()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		answer(w, r)
	}))
	t.Cleanup(server.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	config := &rest.Config{Host: server.URL, TLSClientConfig: rest.TLSClientConfig{CAData: ca}}
	for _, change := range change {
		change(config)
	}
	c, err := cluster.Connect(cluster.Host, config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// scripted is a server that gives one answer after the other, and the requests that it got.
func scripted(t *testing.T, answers ...func(w http.ResponseWriter)) (c *cluster.Conn, requests *[]string) {
	t.Helper()
	requests = new([]string)
	return connectTo(t, func(w http.ResponseWriter, r *http.Request) {
		*requests = append(*requests, r.URL.RequestURI())
		answers[len(*requests)-1](w)
	}), requests
}

func sends(text string) func(w http.ResponseWriter) {
	return func(w http.ResponseWriter) { _, _ = w.Write([]byte(text)) }
}

func fails(err *apierrors.StatusError) func(w http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		w.WriteHeader(int(err.ErrStatus.Code))
		err.ErrStatus.Kind, err.ErrStatus.APIVersion = "Status", "v1"
		_ = json.NewEncoder(w).Encode(err.ErrStatus)
	}
}

type named struct {
	Metadata struct {
		Name string `json:"name"`
	} `json:"metadata"`
}

func names(items []named) (names []string) {
	for _, i := range items {
		names = append(names, i.Metadata.Name)
	}
	return names
}

// TestList reads lists page by page, typed and not; one that took too long is read again as a whole. It has no test on a
// real API server, which keeps a list for minutes.
func TestList(t *testing.T) {
	t.Parallel()
	const first = `{"kind":"ConfigMapList","apiVersion":"v1","metadata":{"resourceVersion":"7","continue":"more"},"items":[{"metadata":{"name":"a"}}]}`
	const second = `{"kind":"ConfigMapList","apiVersion":"v1","metadata":{"resourceVersion":"7"},"items":[{"metadata":{"name":"b"}}]}`
	expired := apierrors.NewResourceExpired("the continue token is too old")
	for _, tt := range []struct {
		name     string
		answers  []func(w http.ResponseWriter)
		names    []string
		version  string
		err      string
		requests []string
	}{
		{
			name: "two pages", answers: []func(w http.ResponseWriter){sends(first), sends(second)},
			names: []string{"a", "b"}, version: "7",
			requests: []string{"?labelSelector=k%3Dv&limit=500", "?continue=more&labelSelector=k%3Dv&limit=500"},
		},
		{
			name:    "the server forgets the list in between",
			answers: []func(w http.ResponseWriter){sends(first), fails(expired), sends(strings.Replace(second, `"7"`, `"9"`, 1))},
			names:   []string{"b"}, version: "9",
			requests: []string{"?labelSelector=k%3Dv&limit=500", "?continue=more&labelSelector=k%3Dv&limit=500", "?labelSelector=k%3Dv&limit=500"},
		},
		{
			name: "refused", answers: []func(w http.ResponseWriter){fails(expired)},
			err:      "host: list configmaps in namespace \"default\": the continue token is too old",
			requests: []string{"?labelSelector=k%3Dv&limit=500"},
		},
	} {
		c, requests := scripted(t, tt.answers...)
		items, version, err := cluster.List[named](t.Context(), c, cluster.ConfigMaps, cluster.ListOptions{Namespace: "default", Labels: "k=v"})
		if tt.err != "" && (err == nil || err.Error() != tt.err) || tt.err == "" && err != nil {
			t.Errorf("%s: error %v, want %s", tt.name, err, tt.err)
		}
		if diff := cmp.Diff(tt.names, names(items)); diff != "" || version != tt.version {
			t.Errorf("%s: version %q, want %q\n%s", tt.name, version, tt.version, diff)
		}
		untyped, same := scripted(t, tt.answers...)
		objects, err := untyped.List(t.Context(), cluster.ConfigMaps, cluster.ListOptions{Namespace: "default", Labels: "k=v"})
		if len(objects) != len(tt.names) || (err == nil) != (tt.err == "") {
			t.Errorf("%s: %d objects without a type, want %d; error %v", tt.name, len(objects), len(tt.names), err)
		}
		for i := range objects {
			if o := objects[i]; o.GetName() != tt.names[i] || o.GetKind() != "ConfigMap" {
				t.Errorf("%s: object %d is %s %q", tt.name, i, o.GetKind(), o.GetName())
			}
		}
		if diff := cmp.Diff(*requests, *same); diff != "" {
			t.Errorf("%s: without a type\n%s", tt.name, diff)
		}
		for i := range tt.requests {
			tt.requests[i] = "/api/v1/namespaces/default/configmaps" + tt.requests[i]
		}
		if diff := cmp.Diff(tt.requests, *requests); diff != "" {
			t.Errorf("%s:\n%s", tt.name, diff)
		}
	}
}

// TestCountByColumn counts what a server prints, over pages, and names what it does not print.
func TestCountByColumn(t *testing.T) {
	t.Parallel()
	const columns = `"columnDefinitions":[{"name":"Name"},{"name":"Type"}]`
	const first = `{"kind":"Table","metadata":{"continue":"more"},` + columns + `,"rows":[{"cells":["a","Opaque"]},{"cells":["b","helm.sh/release.v1"]}]}`
	const second = `{"kind":"Table","metadata":{},` + columns + `,"rows":[{"cells":["c","Opaque"]}]}`
	for _, tt := range []struct {
		name    string
		answers []func(w http.ResponseWriter)
		counts  map[string]int
		err     string
	}{
		{"two pages", []func(w http.ResponseWriter){sends(first), sends(second)}, map[string]int{"Opaque": 2, "helm.sh/release.v1": 1}, ""},
		{"none", []func(w http.ResponseWriter){sends(`{"kind":"Table",` + columns + `}`)}, map[string]int{}, ""},
		{"another table", []func(w http.ResponseWriter){sends(`{"kind":"Table","columnDefinitions":[{"name":"Name"}]}`)}, nil, `host: list secrets in namespace "default": the server prints no column "Type"`},
		{"a short row", []func(w http.ResponseWriter){sends(`{"kind":"Table",` + columns + `,"rows":[{"cells":["a"]}]}`)}, nil, `host: list secrets in namespace "default": the server prints a row without a column "Type"`},
	} {
		c, _ := scripted(t, tt.answers...)
		counts, err := cluster.CountByColumn(t.Context(), c, cluster.Secrets, cluster.ListOptions{Namespace: "default"}, "Type")
		if diff := cmp.Diff(tt.counts, counts); diff != "" || (err == nil) != (tt.err == "") || err != nil && err.Error() != tt.err {
			t.Errorf("%s: error %v, want %s\n%s", tt.name, err, tt.err, diff)
		}
	}
}

// TestWatch reads what a server reports, and how a watch ends.
func TestWatch(t *testing.T) {
	t.Parallel()
	const events = `{"type":"ADDED","object":{"metadata":{"name":"a","resourceVersion":"8"}}}
{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"9"}}}
`
	reported := []string{"ADDED a 8", "BOOKMARK  9"}
	mine := errors.New("my own")
	for _, tt := range []struct {
		name     string
		answer   func(w http.ResponseWriter)
		reported []string
		stop     error
		err      string
		tooOld   bool
	}{
		{name: "ended by the server", answer: sends(events), reported: reported},
		{name: "ended by the caller", answer: sends(events), reported: reported[:1], stop: mine, err: "my own"},
		{
			name: "the version is too old", answer: fails(apierrors.NewResourceExpired("too old resource version: 7 (100)")),
			err: "host: watch configmaps: too old resource version: 7 (100)", tooOld: true,
		},
		{
			name: "the version becomes too old", tooOld: true, reported: reported,
			answer: sends(events + `{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","code":410,"reason":"Expired","message":"too old resource version: 9 (100)"}}`),
			err:    "host: watch configmaps: too old resource version: 9 (100)",
		},
		{
			name: "cut off", answer: sends(events + `{"type":"ADD`), reported: reported,
			err: "host: no answer from SERVER (watch configmaps): unexpected EOF: check the endpoint of the context and that this machine can reach it",
		},
		{
			name: "no right", answer: fails(apierrors.NewForbidden(cluster.ConfigMaps.GroupResource(), "", errors.New("no"))),
			err: `host: watch configmaps: configmaps is forbidden: no`,
		},
	} {
		c, requests := scripted(t, tt.answer)
		var got []string
		err := cluster.Watch(t.Context(), c, cluster.ConfigMaps, cluster.ListOptions{Fields: "metadata.name=a"}, "7", func(e cluster.Event[named]) error {
			name := ""
			if e.Object != nil {
				name = e.Object.Metadata.Name
			}
			got = append(got, string(e.Type)+" "+name+" "+e.ResourceVersion)
			return tt.stop
		})
		if tt.err == "" && err != nil || tt.err != "" && (err == nil || strings.ReplaceAll(err.Error(), c.Server(), "SERVER") != tt.err) {
			t.Errorf("%s: error %v, want %s", tt.name, err, tt.err)
		}
		if cluster.IsTooOld(err) != tt.tooOld {
			t.Errorf("%s: IsTooOld is %t", tt.name, !tt.tooOld)
		}
		if diff := cmp.Diff(tt.reported, got); diff != "" {
			t.Errorf("%s:\n%s", tt.name, diff)
		}
		want := []string{"/api/v1/configmaps?allowWatchBookmarks=true&fieldSelector=metadata.name%3Da&resourceVersion=7&watch=true"}
		if diff := cmp.Diff(want, *requests); diff != "" {
			t.Errorf("%s:\n%s", tt.name, diff)
		}
	}
	// A person ends it.
	ctx, cancel := context.WithCancel(t.Context())
	c, _ := scripted(t, func(w http.ResponseWriter) {
		w.(http.Flusher).Flush()
		cancel()
	})
	if err := cluster.Watch(ctx, c, cluster.ConfigMaps, cluster.ListOptions{}, "7", func(cluster.Event[named]) error { return nil }); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestListMetadata asks the server for no more than the metadata, where no more is read.
func TestListMetadata(t *testing.T) {
	t.Parallel()
	accept := ""
	c := connectTo(t, func(w http.ResponseWriter, r *http.Request) {
		accept = r.Header.Get("Accept")
		sends(`{"items":[{"metadata":{"name":"a","labels":{"k":"v"}}}]}`)(w)
	})
	var nodes []metav1.PartialObjectMetadata
	err := cluster.EachMetadata(t.Context(), c, cluster.Nodes, cluster.ListOptions{}, func() { nodes = nil }, func(n *metav1.PartialObjectMetadata) {
		nodes = append(nodes, *n)
	})
	if err != nil || len(nodes) != 1 || nodes[0].Labels["k"] != "v" {
		t.Errorf("%v, error %v", nodes, err)
	}
	if want := "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"; accept != want {
		t.Errorf("Accept %q, want %q", accept, want)
	}
}

// warned are the warnings that a connection reports.
type warned []string

func (w *warned) HandleWarningHeaderWithContext(_ context.Context, _ int, _, text string) {
	*w = append(*w, text)
}

// TestQuietList shows that a list with Quiet drops the warnings of a server.
func TestQuietList(t *testing.T) {
	t.Parallel()
	for quiet, want := range map[bool]int{true: 0, false: 1} {
		var got warned
		c := connectTo(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Warning", `299 - "v1beta1 is deprecated"`)
			sends(`{"kind":"ConfigMapList","apiVersion":"v1","items":[]}`)(w)
		}, func(config *rest.Config) { config.WarningHandlerWithContext = &got })
		if _, err := c.List(t.Context(), cluster.ConfigMaps, cluster.ListOptions{Quiet: quiet}); err != nil || len(got) != want {
			t.Errorf("quiet %t: warnings %q, want %d; error %v", quiet, got, want, err)
		}
	}
}
