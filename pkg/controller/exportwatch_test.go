package controller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
	"github.com/kubefederate/kubectl-federate/pkg/services/records"
)

// TestReadItem holds what is kept of a Service, a ServiceExport and a Status, also where they are not as Kubernetes writes them.
func TestReadItem(t *testing.T) {
	t.Parallel()
	many := strings.Repeat(`{"ip":"203.0.113.1","ports":[]},`, 1000) + `{"hostname":"` + strings.Repeat("a", 1<<20) + `"}`
	for text, want := range map[string]exportItem{
		`{"metadata":{"name":"cart","resourceVersion":"7","labels":{"a":"b"}},"spec":{"type":"LoadBalancer","ports":[{"port":80}]},"status":{"loadBalancer":{"ingress":[{"ip":"203.0.113.1"},{"hostname":"lb.example.net"}]}}}`: {
			name: "cart", version: "7", loadBalancer: true, ingress: []string{"203.0.113.1", "lb.example.net"},
		},
		`{"metadata":{"name":"cart"},"spec":{"type":"ClusterIP"},"status":{"loadBalancer":{}}}`:                             {name: "cart"},
		`{"metadata":{"name":"cart"},"status":{"conditions":[{"type":"Valid"}]}}`:                                           {name: "cart"},
		`{"kind":"Status","status":"Failure","code":410,"message":"too old"}`:                                               {code: 410},
		`{"metadata":{"name":"` + strings.Repeat("a", 10_000) + `"},"spec":{"type":"` + strings.Repeat("b", 10_000) + `"}}`: {},
		`{"status":{"loadBalancer":{"ingress":[{"hostname":"` + strings.Repeat("a", 1<<20) + `"}]}}}`:                       {ingress: []string{"(too long)"}},
		`{"metadata":null,"spec":null,"status":null}`:                                                                       {},
	} {
		got, err := readItem(scan(strings.NewReader(text)))
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(exportItem{})); err != nil || diff != "" {
			t.Errorf("%.100s: %v\n%s", text, err, diff)
		}
	}
	got, err := readItem(scan(strings.NewReader(`{"status":{"loadBalancer":{"ingress":[` + many + `]}}}`)))
	if err != nil || len(got.ingress) != records.MaxIngress+1 {
		t.Errorf("%d addresses are kept, %v", len(got.ingress), err)
	}
}

// exporter is a member that exports services: it answers lists and watches of namespace shop.
type exporter struct {
	*httptest.Server
	mu sync.Mutex
	// code answers lists of a resource in place of 200.
	code map[string]int
	// services are the objects of a list, and events come to who watches them.
	services []string
	events   chan string
	asked    []string
}

func newExporter(t *testing.T, services ...string) *exporter {
	e := &exporter{code: map[string]int{}, services: services, events: make(chan string)}
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		resource := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
		e.mu.Lock()
		e.asked = append(e.asked, r.URL.Path)
		code, items := e.code[resource], e.services
		e.mu.Unlock()
		switch {
		case code != 0:
			w.WriteHeader(code)
		case r.URL.Query().Get("watch") != "":
			w.(http.Flusher).Flush()
			for {
				var text string
				if resource == "services" {
					select {
					case <-r.Context().Done():
						return
					case text = <-e.events:
					}
				} else {
					<-r.Context().Done()
					return
				}
				_, _ = fmt.Fprintln(w, text)
				w.(http.Flusher).Flush()
			}
		case resource == "serviceexports":
			_, _ = fmt.Fprint(w, `{"metadata":{"resourceVersion":"1"},"items":[{"metadata":{"name":"cart"}},{"metadata":{"name":"absent"}}]}`)
		case resource == "services":
			_, _ = fmt.Fprintf(w, `{"metadata":{"resourceVersion":"1"},"items":[%s]}`, strings.Join(items, ","))
		}
	}))
	t.Cleanup(e.Close)
	t.Cleanup(e.CloseClientConnections)
	return e
}

// balancer is a Service with these addresses.
func balancer(name string, addresses ...string) string {
	ingress := []map[string]string{}
	for _, a := range addresses {
		ingress = append(ingress, map[string]string{"ip": a})
	}
	data, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"name": name, "resourceVersion": "2"}, "spec": map[string]any{"type": "LoadBalancer"},
		"status": map[string]any{"loadBalancer": map[string]any{"ingress": ingress}},
	})
	if err != nil {
		panic(err)
	}
	return string(data)
}

// watching follows namespace shop of a member.
func (e *exporter) watching(t *testing.T) *exportWatch {
	w := newExportWatch([]string{"shop"}, 5*time.Second)
	w.changed = func() {}
	w.access = func(access *kubeconfig.Access) (*connection, error) { return connect(access, nil) }
	access := &kubeconfig.Access{Token: "token", Endpoint: endpoint.Endpoint{Server: e.URL}}
	for _, kind := range exportKinds {
		go func() {
			if err := w.follow(t.Context(), access, kind, "shop"); err != nil && t.Context().Err() == nil {
				w.failed(err)
			}
		}()
	}
	return w
}

// until waits until what is known of the member is as it should be.
func (w *exportWatch) until(t *testing.T, what string, right func(exportState) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for !right(w.state()) {
		select {
		case <-ctx.Done():
			t.Fatalf("%s: %+v", what, w.state())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// TestExportWatch follows what a member exports: as it is listed, and as it changes.
func TestExportWatch(t *testing.T) {
	t.Parallel()
	e := newExporter(t, balancer("cart", "203.0.113.1"), balancer("other", "203.0.113.9"))
	w := e.watching(t)
	addresses := func(want ...string) func(exportState) bool {
		return func(s exportState) bool {
			return len(s.read) > 0 && len(s.exports) == 1 && s.exports[0].Name == "cart" && cmp.Equal(s.exports[0].Ingress, want)
		}
	}
	w.until(t, "the list", addresses("203.0.113.1"))
	e.events <- `{"type":"MODIFIED","object":` + balancer("cart", "203.0.113.2") + `}`
	w.until(t, "another address", addresses("203.0.113.2"))
	e.events <- `{"type":"DELETED","object":` + balancer("cart") + `}`
	w.until(t, "a Service that is deleted", func(s exportState) bool { return len(s.read) > 0 && len(s.exports) == 0 })
	e.events <- `{"type":"ADDED","object":` + balancer("cart", "203.0.113.3") + `}`
	w.until(t, "a Service that comes", addresses("203.0.113.3"))
	// A version that is too old is listed again.
	e.events <- `{"type":"ERROR","object":{"status":"Failure","code":410}}`
	w.until(t, "the list again", addresses("203.0.113.1"))
}

// TestExportFaults holds what is said of members that do not let the manager read, or export too much.
func TestExportFaults(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, resource string
		code           int
		want           string
	}{
		{"no right", "services", 403, `member "east" does not let the manager read its services: list services in namespace shop: 403 Forbidden`},
		{"no ServiceExports", "serviceexports", 404, `member "east" does not serve ServiceExports (KEP-1645): it exports no services`},
		{"an error", "services", 500, `the services of member "east" cannot be read: list services in namespace shop: 500 Internal Server Error`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := newExporter(t)
			e.code[tt.resource] = tt.code
			w := e.watching(t)
			w.until(t, tt.want, func(s exportState) bool { return s.text("east") == tt.want })
		})
	}
	var many []string
	for i := range 2000 {
		many = append(many, balancer(fmt.Sprintf("s%04d", i), strings.Split(strings.Repeat("2001:db8:1111:2222:3333:4444:5555:6666,", 17), ",")...))
	}
	w := newExporter(t, many...).watching(t)
	w.until(t, "a member that exports too much", func(s exportState) bool {
		return len(s.read) > 0 && s.text("east") == `member "east" has more than is kept of one list, and the rest is left out: services in namespace shop`
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	if kept := w.kept[serviceKind.in("shop")]; kept > exportBytes {
		t.Errorf("%d bytes are kept", kept)
	}
}

// TestExportShares holds that no namespace takes the space of another, and that space which becomes free is used.
func TestExportShares(t *testing.T) {
	t.Parallel()
	w := newExportWatch([]string{"pay", "shop"}, time.Second)
	list := func(namespace string, n int) {
		items := make([]exportItem, n)
		for i := range items {
			items[i] = exportItem{name: fmt.Sprintf("s%04d", i), loadBalancer: true, ingress: []string{"203.0.113.1"}}
		}
		w.replace(serviceKind, namespace, items)
	}
	of := func(namespace string) (n int) {
		for service := range w.services {
			if service.Namespace == namespace {
				n++
			}
		}
		return n
	}
	list("shop", 10_000)
	list("pay", 10)
	if of("pay") != 10 || w.kept[serviceKind.in("shop")] > exportBytes/4 || !w.lacksSome(serviceKind, "shop") || w.lacksSome(serviceKind, "pay") {
		t.Errorf("%d services of pay are kept, %d bytes of shop, left out: %v", of("pay"), w.kept[serviceKind.in("shop")], w.leftOut)
	}
	list("shop", 20)
	if of("shop") != 20 || w.lacksSome(serviceKind, "shop") {
		t.Errorf("%d services are kept, left out: %v", of("shop"), w.leftOut)
	}
}

// TestExportDenied holds what is said of rights that a member does not give, each until it is given, and of a fault until all has been read.
func TestExportDenied(t *testing.T) {
	t.Parallel()
	w := newExportWatch([]string{"pay", "shop"}, time.Second)
	changes := 0
	w.changed = func() { changes++ }
	denied := func(what, message string) {
		w.failed(&statusError{code: http.StatusForbidden, what: what, message: message})
	}
	says := func(when, want string) {
		t.Helper()
		if got := w.state().text("east"); got != want {
			t.Errorf("%s: %q, want %q", when, got, want)
		}
	}
	const lacks = `member "east" does not let the manager read its services: list serviceexports in namespace shop: 403 Forbidden`
	denied("list services in namespace shop", "one")
	denied("list serviceexports in namespace shop", "two")
	says("both lists are denied", lacks)
	denied("list services in namespace shop", "another message")
	denied("list serviceexports in namespace shop", "and another")
	if says("again", lacks); changes != 2 {
		t.Errorf("%d changes, want one for each list", changes)
	}
	w.listed(serviceExportKind, "shop", nil, true)
	says("one list is allowed", `member "east" does not let the manager read its services: list services in namespace shop: 403 Forbidden`)
	w.listed(serviceKind, "shop", nil, true)
	says("both are", "")

	w.failed(errors.New("no route"))
	says("a fault", `the services of member "east" cannot be read: no answer: no route`)
	w.begin(nil)
	says("a session begins", `the services of member "east" cannot be read: no answer: no route`)
	w.begin([]string{"pay", "shop"})
	says("there is nothing to read", "")
	w.failed(errors.New("no route"))
	w.begin([]string{"pay"})
	w.listed(serviceKind, "shop", nil, true)
	denied("list serviceexports in namespace shop", "")
	says("the rest is denied", lacks)
	w.allowed("list serviceexports in namespace shop")
	says("and allowed", "")
}
