package discover

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// TestPermit holds that nothing is read or opened for a candidate that is not permitted.
func TestPermit(t *testing.T) {
	t.Parallel()
	var mutex sync.Mutex
	var read []string
	data := base64.StdEncoding.EncodeToString([]byte(`{"current-context": "x", "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
"clusters": [{"name": "x", "cluster": {"server": "https://10.0.0.1:6443"}}], "users": [{"name": "x", "user": {"token": "t"}}]}`))
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mutex.Lock()
		read = append(read, path.Base(r.URL.Path))
		mutex.Unlock()
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"kind":"Secret","apiVersion":"v1","metadata":{"name":"x","namespace":"n","resourceVersion":"7"},"data":{"value":%q}}`, data)
	}))
	t.Cleanup(server.Close)
	h, err := host.Connect(&rest.Config{Host: server.URL, TLSClientConfig: rest.TLSClientConfig{Insecure: true}})
	if err != nil {
		t.Fatal(err)
	}
	candidate := func(name string) Candidate {
		return Candidate{Source: FromClusterAPI, Name: name, Secret: cluster.Ref{Resource: cluster.Secrets, Namespace: "n", Name: name}}
	}
	local := candidate("local")
	local.Connect = func() (*member.Cluster, error) { return nil, errors.New("opened") }
	broken := candidate("broken")
	broken.Err = errors.New("broken before")
	candidates := []Candidate{candidate("a"), candidate("b"), local, broken}
	refused := errors.New("not permitted")
	var asked []string
	e := Environment{Host: h, Permit: func(c *Candidate) error {
		if asked = append(asked, c.Name); c.Name == "a" {
			return nil
		}
		return refused
	}}
	e.open(t.Context(), candidates, nil)
	if diff := cmp.Diff([]string{"a"}, read); diff != "" {
		t.Errorf("Secrets that were read: %s", diff)
	}
	if diff := cmp.Diff([]string{"a", "b", "local"}, asked); diff != "" {
		t.Errorf("asked for: %s", diff)
	}
	if c := candidates[0]; c.Err != nil || c.Connect == nil || c.SecretVersion != "7" {
		t.Errorf("a: %v, of version %q", c.Err, c.SecretVersion)
	}
	for _, c := range candidates[1:3] {
		if !errors.Is(c.Err, refused) {
			t.Errorf("%s: %v, want that it is not permitted", c.Name, c.Err)
		}
	}
	if candidates[3].Err.Error() != "broken before" {
		t.Errorf("broken: %v", candidates[3].Err)
	}
	e.Permit = nil
	candidates = []Candidate{candidate("b")}
	if e.open(t.Context(), candidates, nil); candidates[0].Err != nil {
		t.Errorf("without Permit: %v", candidates[0].Err)
	}
}

// TestOfKind finds each source by what spec.discovery calls it, and nothing by no name.
func TestOfKind(t *testing.T) {
	t.Parallel()
	for _, want := range Sources {
		got, found := OfKind(want.Kind)
		if found != (want.Kind != "") || found && got.Name != want.Name {
			t.Errorf("%q is the source %q, want %q", want.Kind, got.Name, want.Name)
		}
	}
	if _, found := OfKind("Nothing"); found {
		t.Error("a source of an unknown kind")
	}
}

// TestNamespaces lists objects in the namespaces that are named, or in all; what cannot be read of one does not keep the others.
func TestNamespaces(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		name := "all"
		switch r.URL.Path {
		case "/api/v1/secrets":
		case "/api/v1/namespaces/a/secrets":
			name = "a"
		default:
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","message":"forbidden","code":403}`)
			return
		}
		fmt.Fprintf(w, `{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1","items":[{"metadata":{"name":%q}}]}`, name)
	}))
	t.Cleanup(server.Close)
	h, err := host.Connect(&rest.Config{Host: server.URL, TLSClientConfig: rest.TLSClientConfig{Insecure: true}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		namespaces []string
		want       string
	}{
		{nil, "all <nil>"},
		{[]string{}, "<nil>"},
		{[]string{"b", "a"}, `a host: list secrets in namespace "b": forbidden`},
	} {
		objects, err := Environment{Host: h, Namespaces: tt.namespaces}.objects(t.Context(), FromSecret)
		got := ""
		for i := range objects[0] {
			got += objects[0][i].GetName() + " "
		}
		if got += fmt.Sprint(err); got != tt.want {
			t.Errorf("in %q: %s, want %s", tt.namespaces, got, tt.want)
		}
	}
}

// TestElsewhereErrors holds that an error about an object that the host does not have names where it is.
func TestElsewhereErrors(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","message":"not found","code":404}`)
	}))
	t.Cleanup(server.Close)
	h, err := host.Connect(&rest.Config{Host: server.URL, TLSClientConfig: rest.TLSClientConfig{Insecure: true}})
	if err != nil {
		t.Fatal(err)
	}
	e := Environment{Elsewhere: h, Context: "karmada"}
	candidates := []Candidate{
		{Source: FromKarmada, Secret: secretRef("n", "a"), Objects: []Object{{}}},
		{Source: FromKarmada, Objects: []Object{{Ref: cluster.Ref{Resource: karmadaClusters, Name: "b"}}}, Err: noCredential("none")},
	}
	e.open(t.Context(), candidates, nil)
	_, err = e.objects(t.Context(), FromKarmada)
	for _, tt := range []struct {
		err  error
		want string
	}{
		{candidates[0].Err, `context "karmada": host: get Secret "n/a": not found`},
		{candidates[1].Err, `context "karmada": host: Cluster "b": none`},
		{err, `context "karmada": host: source karmada: the host serves no clusters.cluster.karmada.io`},
	} {
		if tt.err == nil || tt.err.Error() != tt.want {
			t.Errorf("%v, want %s", tt.err, tt.want)
		}
	}
	if candidates[0].Objects[0].Context != "karmada" {
		t.Errorf("the object is at %q", candidates[0].Objects[0].Context)
	}
}
