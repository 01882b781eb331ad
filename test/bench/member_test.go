//go:build unix

package bench

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	gopath "path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/test/env"
)

// simulated is as much of an API server as a join asks of a member, for benchmarks of more members than fit on a
// machine: it keeps objects by path and judges nothing. TestSimulatedMember holds it against a real one.
type simulated struct {
	*httptest.Server
	id    string
	delay time.Duration
	// seen is called with each request, where it is not nil.
	seen func(*http.Request)

	mu      sync.Mutex
	objects map[string]map[string]any
	next    int
}

// newSimulated starts a member that answers each request after delay.
func newSimulated(t testing.TB, number int, delay time.Duration) *simulated {
	t.Helper()
	s := prepareSimulated(number, delay)
	s.start(t)
	return s
}

// prepareSimulated makes a member that does not listen yet.
func prepareSimulated(number int, delay time.Duration) *simulated {
	s := &simulated{delay: delay, id: fmt.Sprintf("%08x-0000-4000-8000-%012x", number, time.Now().UnixNano()&0xffffffffffff), objects: map[string]map[string]any{}}
	s.put("/api/v1/namespaces/kube-system", map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": "kube-system", "uid": s.id}})
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	return s
}

func (s *simulated) start(t testing.TB) {
	t.Helper()
	s.EnableHTTP2 = true                           // as API servers do
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // clients close what they opened in vain
	s.StartTLS()
	t.Cleanup(s.Close)
}

// config is an administrator's configuration.
func (s *simulated) config() *rest.Config {
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	return &rest.Config{Host: s.URL, BearerToken: "admin", TLSClientConfig: rest.TLSClientConfig{CAData: ca}}
}

func (s *simulated) serve(w http.ResponseWriter, r *http.Request) {
	if s.seen != nil {
		s.seen(r)
	}
	select {
	case <-time.After(s.delay):
	case <-r.Context().Done():
	}
	body, err := io.ReadAll(r.Body)
	var o map[string]any
	if err == nil && len(body) > 0 {
		err = json.Unmarshal(body, &o)
	}
	if err != nil {
		answer(w, http.StatusBadRequest, status("BadRequest", err.Error()))
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	code, reply := s.handle(r, o)
	answer(w, code, reply)
}

// handle answers a request; the object of a POST is stored below its name, as that of a PATCH is.
func (s *simulated) handle(r *http.Request, o map[string]any) (int, map[string]any) {
	path := r.URL.Path
	dry := r.URL.Query().Get("dryRun") == "All"
	switch {
	case strings.HasPrefix(path, "/apis/about.k8s.io/"):
		return http.StatusNotFound, nil // a type that is not served has no Status
	case path == "/version":
		return http.StatusOK, map[string]any{"gitVersion": "v1.36.3"}
	case path == "/api/v1/nodes":
		return http.StatusOK, map[string]any{"kind": "NodeList", "items": []any{}}
	case strings.HasSuffix(path, "/selfsubjectaccessreviews"):
		o["status"] = map[string]any{"allowed": true}
		return http.StatusCreated, o
	case strings.HasSuffix(path, "/token"):
		o["status"] = map[string]any{"token": "simulated", "expirationTimestamp": time.Now().Add(90 * 24 * time.Hour).UTC().Format(time.RFC3339)}
		return http.StatusCreated, o
	}
	if r.Method == http.MethodPost {
		metadata, _ := o["metadata"].(map[string]any)
		path += "/" + fmt.Sprint(metadata["name"])
	}
	found := s.objects[path]
	switch r.Method {
	case http.MethodGet:
		if found == nil {
			missing := status("NotFound", path+" not found")
			missing["details"] = map[string]any{"name": gopath.Base(path)} // what is not there is named
			return http.StatusNotFound, missing
		}
		return http.StatusOK, found
	case http.MethodPost:
		if found != nil {
			return http.StatusConflict, status("AlreadyExists", path+" already exists")
		}
	case http.MethodPatch:
	default:
		return http.StatusMethodNotAllowed, status("MethodNotAllowed", r.Method)
	}
	code := http.StatusOK
	if found == nil {
		code = http.StatusCreated
	}
	if !dry {
		o = s.put(path, o)
	}
	return code, o
}

func (s *simulated) put(path string, o map[string]any) map[string]any {
	s.next++
	metadata, _ := o["metadata"].(map[string]any)
	if metadata["uid"] == nil {
		metadata["uid"] = fmt.Sprintf("%s-%d", s.id, s.next)
	}
	metadata["resourceVersion"] = fmt.Sprint(s.next)
	s.objects[path] = o
	return o
}

func status(reason, message string) map[string]any {
	return map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message}
}

func answer(w http.ResponseWriter, code int, reply map[string]any) {
	if reply == nil {
		http.Error(w, "404 page not found", code)
		return
	}
	if reply["kind"] == "Status" {
		reply["code"] = code
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(reply)
}

// recorder notes each request and its status code.
type recorder struct {
	mu   sync.Mutex
	seen map[string]int
}

func (c *recorder) wrap(config *rest.Config) *rest.Config {
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return env.RoundTripper(func(r *http.Request) (*http.Response, error) {
			a, err := next.RoundTrip(r)
			if err == nil {
				c.mu.Lock()
				defer c.mu.Unlock()
				c.seen[fmt.Sprintf("%s %s %d", r.Method, r.URL.Path, a.StatusCode)]++
			}
			return a, err
		})
	})
	return config
}

// lines are the requests, sorted, each with how often it was sent.
func (c *recorder) lines() []string {
	var lines []string
	for _, line := range slices.Sorted(maps.Keys(c.seen)) {
		lines = append(lines, fmt.Sprintf("%d × %s", c.seen[line], line))
	}
	return lines
}
