//go:build linux && extended

package bench

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	envhost "github.com/kubefederate/kubectl-federate/test/env/host"
)

// The promises for a manager that names services which members export: the memory that it takes at most, in MiB; that it asks nothing of
// members' services, and writes no names, while nothing changes; and that a changed service is written once, and members are asked nothing.
const (
	exportingMembers, exportedServices = 20, 200
	changedServices                    = 10
	maxServicesMemory                  = 400
	namesIn                            = "external-dns"
	namesPatience                      = 2 * time.Minute
)

// BenchmarkServices has one manager name 200 services that 20 members export. The host and the manager are real, the members are simulated.
func BenchmarkServices(b *testing.B) {
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	c, config, kube, s := bareHost(b)
	must(serveKinds(b.Context(), s))
	text, err := os.ReadFile(filepath.Join("..", "integration", "services", "testdata", "dnsendpoints.externaldns.k8s.io.yaml"))
	must(err)
	crd := &unstructured.Unstructured{}
	must(yaml.Unmarshal(text, &crd.Object))
	must(s.apply(b.Context(), crd))
	_, err = kube.CoreV1().Namespaces().Create(b.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namesIn}}, metav1.CreateOptions{})
	must(err)
	m, e := newMembers(b, exportingMembers), &exporters{changed: map[[2]int]bool{}, watches: map[int][]chan string{}}
	m.more = e.serve
	must(m.fill(b.Context(), s, kube, map[string]any{
		"services": map[string]any{"namespaces": []any{"shop"}, "dns": map[string]any{"domain": "example.com", "namespace": namesIn}},
	}))
	binary, err := envhost.Build()
	must(err)
	manager, err := envhost.New(c, binary)
	must(err)
	b.Cleanup(manager.Close)
	must(manager.Install(b.Context()))
	must(bind(b.Context(), config, manifests.DNSBinding(namesIn)))
	h, err := host.Connect(config)
	must(err)

	began := time.Now()
	must(manager.Start(b.Context()))
	until := func(what string, done func() bool) {
		b.Helper()
		for begin := time.Now(); !done(); elapse(b, 100*time.Millisecond) {
			if time.Since(begin) > namesPatience {
				b.Fatalf("%s: not in %s", what, namesPatience)
			}
		}
	}
	const names = 3 // for the federation, the region and the zone, which are the same of all members
	until("all services are named", func() bool {
		f, err := h.Federation(b.Context(), "prod")
		return err == nil && f.Status.Services != nil && f.Status.Services.Exported == exportedServices && f.Status.Services.Records == names*exportedServices
	})
	started := time.Since(began)
	process := processOf(b, binary)
	elapse(b, restStep)
	before, asked := s.usage(b, process), e.asked()
	for b.Loop() {
		elapse(b, restStep)
	}
	rest, restAsked := s.usage(b, process).since(before), e.asked()-asked
	written := func(u usage) (n float64) {
		for what, count := range u.by {
			if strings.HasSuffix(what, " dnsendpoints") {
				n += count
			}
		}
		return n
	}
	before = s.usage(b, process)
	for service := range changedServices {
		e.change(0, service)
	}
	until("the changed services are written", func() bool { return written(s.usage(b, process).since(before)) >= changedServices })
	change := s.usage(b, process).since(before)
	elapse(b, restStep)
	again := written(s.usage(b, process).since(before))

	b.ReportMetric(0, "ns/op")
	b.ReportMetric(started.Seconds(), "start-s")
	b.ReportMetric(rest.cores(), "cores")
	b.ReportMetric(float64(restAsked)/rest.took.Minutes(), "requests/min")
	b.ReportMetric(change.took.Seconds(), "change-s")
	b.ReportMetric(again/changedServices, "writes/change")
	b.ReportMetric(process.memory(b, "VmHWM"), "MiB-peak")
	b.Logf("at rest, in %s: %d requests for services of members, %s", rest.took.Round(time.Second), restAsked, rest)
	// A watch ends after four minutes at the earliest, and begins anew; with another credential its list is read, too.
	const ofEach = 4
	if most := ofEach * (int(rest.by["PUT secrets"]) + exportingMembers*int(rest.took/(4*time.Minute))); restAsked > most {
		b.Errorf("it asked members %d times for services at rest, more than %d", restAsked, most)
	}
	if n := written(rest); n > 0 {
		b.Errorf("it wrote names %.0f times at rest", n)
	}
	if again != changedServices {
		b.Errorf("%d changes took %.0f writes", changedServices, again)
	}
	if peak := process.memory(b, "VmHWM"); peak > maxServicesMemory {
		b.Errorf("it takes up to %.0f MiB, more than %d", peak, maxServicesMemory)
	}
}

// exporters answer for members that export services.
type exporters struct {
	mu       sync.Mutex
	requests int
	// changed are services, by member and number, whose load balancer has another address now.
	changed map[[2]int]bool
	// watches get the events of a member's services.
	watches map[int][]chan string
}

func (e *exporters) asked() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.requests
}

func (e *exporters) service(member, service int) string {
	last := 1
	if e.changed[[2]int{member, service}] {
		last = 2
	}
	return fmt.Sprintf(`{"metadata":{"name":"s%03d","resourceVersion":"%d"},"spec":{"type":"LoadBalancer"},"status":{"loadBalancer":{"ingress":[{"ip":"203.%d.%d.%d"}]}}}`,
		service, last, member, service, last)
}

// change gives a service of a member another address.
func (e *exporters) change(member, service int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.changed[[2]int{member, service}] = true
	for _, watch := range e.watches[member] {
		watch <- `{"type":"MODIFIED","object":` + e.service(member, service) + "}\n"
	}
}

func (e *exporters) serve(w http.ResponseWriter, r *http.Request, member int, path string) {
	services := path == "api/v1/namespaces/shop/services"
	switch {
	case path == "api/v1/namespaces/shop":
		fmt.Fprint(w, `{"kind":"Namespace","metadata":{"name":"shop"}}`)
		return
	case !services && path != "apis/multicluster.x-k8s.io/v1beta1/namespaces/shop/serviceexports":
		http.NotFound(w, r)
		return
	}
	events := make(chan string, changedServices)
	e.mu.Lock()
	e.requests++
	if r.URL.Query().Get("watch") == "" {
		defer e.mu.Unlock()
		var items []string
		for i := range exportedServices {
			item := fmt.Sprintf(`{"metadata":{"name":"s%03d"}}`, i)
			if services {
				item = e.service(member, i)
			}
			items = append(items, item)
		}
		fmt.Fprintf(w, `{"metadata":{"resourceVersion":"1"},"items":[%s]}`, strings.Join(items, ","))
		return
	}
	if services {
		e.watches[member] = append(e.watches[member], events)
	}
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.watches[member] = slices.DeleteFunc(e.watches[member], func(c chan string) bool { return c == events })
	}()
	w.(http.Flusher).Flush()
	for {
		select {
		case <-r.Context().Done():
			return
		case event := <-events:
			fmt.Fprint(w, event)
			w.(http.Flusher).Flush()
		}
	}
}
