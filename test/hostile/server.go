// Package hostile has API servers that attack who reads them: members, and hosts, as a client meets them whose operator is not
// a friend. What they attack with is a table, so that a test of the plugin and one of the manager meet the same.
package hostile

import (
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/kubefederate/kubectl-federate/manifests"
)

// Server is an API server that attacks.
type Server struct {
	*httptest.Server

	mu     sync.Mutex
	tokens map[string]int
}

// Attack answers a request. It returns false for those that are answered as an honest cluster does.
type Attack func(w http.ResponseWriter, r *http.Request) bool

// New starts a server over TLS. A nil attack is an honest small cluster.
func New(t testing.TB, attack Attack) *Server {
	t.Helper()
	s := &Server{tokens: map[string]int{}}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.tokens[r.Header.Get("Authorization")]++
		s.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		if attack == nil || !attack(w, r) {
			honest(w, r)
		}
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

// CA is the certificate of the server.
func (s *Server) CA() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

// Requests is how many requests came, and Tokens how many of them with a credential.
func (s *Server) Requests() (requests, withToken int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for token, n := range s.tokens {
		requests += n
		if token != "" {
			withToken += n
		}
	}
	return requests, withToken
}

// IsList says whether a request lists objects of a kind.
func IsList(r *http.Request) bool {
	path, _ := strings.CutPrefix(r.URL.Path, "/api/v1/")
	if rest, ok := strings.CutPrefix(r.URL.Path, "/apis/"); ok {
		group := strings.SplitN(rest, "/", 3)
		if len(group) < 3 {
			return false
		}
		path = group[2]
	}
	parts := strings.Split(path, "/")
	if len(parts) > 2 && parts[0] == "namespaces" {
		parts = parts[2:]
	}
	return r.Method == http.MethodGet && len(parts) == 1 && !strings.HasPrefix(path, "/")
}

// honest answers as a small cluster that is in no federation.
func honest(w http.ResponseWriter, r *http.Request) {
	switch path := r.URL.Path; {
	case path == "/version":
		fmt.Fprint(w, `{"major":"1","minor":"36","gitVersion":"v1.36.3"}`)
	case path == "/apis":
		fmt.Fprint(w, `{"kind":"APIGroupList","apiVersion":"v1","groups":[]}`)
	case path == "/api/v1/namespaces/kube-system":
		fmt.Fprintf(w, `{"kind":"Namespace","apiVersion":"v1","metadata":{"name":"kube-system","uid":%q}}`, "uid-of-"+r.Host)
	case r.Method == http.MethodPost && strings.HasSuffix(path, "selfsubjectaccessreviews"):
		w.WriteHeader(http.StatusCreated)
		fmt.Fprint(w, `{"kind":"SelfSubjectAccessReview","apiVersion":"authorization.k8s.io/v1","status":{"allowed":true}}`)
	case path == "/apis/kubefederate.io/v1alpha1/federations/prod":
		fmt.Fprint(w, `{"kind":"Federation","apiVersion":"kubefederate.io/v1alpha1","metadata":{"name":"prod","uid":"f"},"spec":{}}`)
	case strings.HasPrefix(path, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/"):
		fmt.Fprintf(w, `{"kind":"CustomResourceDefinition","apiVersion":"apiextensions.k8s.io/v1","metadata":{"labels":{%q:"v0.0.1"}}}`, manifests.LabelVersion)
	case IsList(r):
		fmt.Fprint(w, `{"kind":"List","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[]}`)
	default:
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404,"message":"not found","details":{}}`)
	}
}
