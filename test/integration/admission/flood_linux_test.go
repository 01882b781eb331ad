package admission

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/test/env"
	"github.com/kubefederate/kubectl-federate/test/forger"
)

// maxMemory is what a manager may need while the webhook's port is flooded, in MiB. Before the port had bounds the same took
// 649 to 1,460 MiB.
const maxMemory = 400

// TestFlood floods the webhook's port with large bodies, with bodies that do not come, and with connections. Memory stays bounded,
// and members join meanwhile.
func TestFlood(t *testing.T) {
	h := enforcing(t)
	h.create(t, fed("flooded"))
	var configuration admissionregistrationv1.ValidatingWebhookConfiguration
	must(t, h.admin.Get(t.Context(), client.ObjectKey{Name: manifests.WebhookConfiguration}, &configuration))
	f := forger.New(*configuration.Webhooks[0].ClientConfig.URL)
	defer f.Close()
	pid := pidOf(t, strings.TrimPrefix(h.manager.URL, "https://"))
	n := 0
	joins := func(during string) {
		t.Helper()
		n++
		began := time.Now()
		if err := h.admin.Create(t.Context(), member(fmt.Sprint("flooded-", n), "flooded")); err != nil {
			t.Errorf("a member joins during %s: %v", during, err)
		}
		t.Logf("during %s: a member joins in %s, the manager has %d MiB, %d at most", during, time.Since(began).Round(time.Millisecond),
			memory(t, pid, "VmRSS"), memory(t, pid, "VmHWM"))
	}
	joins("nothing")

	send := func(size int) (codes map[int]int) {
		m := member("large", "flooded")
		m.Annotations = map[string]string{"a": strings.Repeat("x", size)}
		codes = map[int]int{}
		var mu sync.Mutex
		var sending sync.WaitGroup
		for range 20 {
			sending.Go(func() {
				answer, err := f.Send(t.Context(), forger.Review{Operation: admissionv1.Create, New: m, DryRun: true})
				if err != nil {
					answer.Code = 0 // the connection was closed while the body was sent
				}
				mu.Lock()
				defer mu.Unlock()
				codes[answer.Code]++
			})
		}
		joins(fmt.Sprintf("20 bodies of %d bytes", size))
		sending.Wait()
		return codes
	}
	if codes := send(5 << 20); codes[http.StatusRequestEntityTooLarge]+codes[0] != 20 {
		t.Errorf("bodies that are too large were answered with %v", codes)
	}
	if codes := send(4<<20 - 100_000); codes[http.StatusOK] == 0 || codes[http.StatusOK]+codes[http.StatusTooManyRequests] != 20 {
		t.Errorf("bodies that are as large as may be were answered with %v", codes)
	}

	var held []net.Conn
	var closed sync.WaitGroup
	part := bytes.Repeat([]byte(" "), 60_000)
	slow := env.InTier(4000, 4000, 1000)
	for i := range slow {
		length := len(part) + 1
		if i%2 == 0 {
			length = 4 << 20
		}
		c, err := f.Begin(t.Context(), length, part)
		if err != nil {
			continue // closed for a newer one
		}
		held = append(held, c)
		closed.Go(func() { _, _ = io.Copy(io.Discard, c) })
	}
	joins(fmt.Sprintf("%d slow bodies", slow))
	began := time.Now()
	closed.Wait()
	if took := time.Since(began); took > 12*time.Second {
		t.Errorf("slow bodies were ended after %s", took)
	}
	scrapes := forger.New(h.manager.MetricsURL)
	connect := func() {
		for _, at := range []*forger.Forger{f, scrapes} {
			c, err := at.Connect(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			held = append(held, c)
			if len(held) > 8000 {
				_ = held[0].Close()
				held = held[1:]
			}
		}
	}
	for range 2000 {
		connect()
	}
	// And more of them while API servers have to open new ones, too.
	joined := make(chan struct{})
	go func() {
		defer close(joined)
		for i, err := range together(20, func(i int) error {
			return h.admin.Create(t.Context(), member(fmt.Sprint("flooded-at-once-", i), "flooded"))
		}) {
			if err != nil {
				t.Errorf("member %d joins during connections: %v", i, err)
			}
		}
	}()
	for under := true; under; {
		select {
		case <-joined:
			under = false
		default:
			connect()
		}
	}
	joins(fmt.Sprintf("%d connections to each port", len(held)/2))
	for _, c := range held {
		_ = c.Close()
	}
	if most := memory(t, pid, "VmHWM"); most > maxMemory {
		t.Errorf("the manager needed %d MiB", most)
	}
	for _, reason := range []string{"size", "connections"} {
		if scraped(t, h.admin, h.manager, `kubefederate_webhook_rejected_total{reason="`+reason+`"} `) == 0 {
			t.Errorf("what was turned away for %s is not counted", reason)
		}
	}
}

// pidOf is the process that serves webhooks at an address.
func pidOf(t *testing.T, address string) int {
	t.Helper()
	pid, err := env.FindProcess(func(words []string) bool {
		return strings.HasSuffix(words[0], "/manager") && slices.Contains(words, "--webhook-bind-address="+address)
	})
	must(t, err)
	return pid
}

// memory is what a process needs, in MiB.
func memory(t *testing.T, pid int, line string) int {
	t.Helper()
	kib, err := env.MemoryOf(pid, line)
	must(t, err)
	return kib / 1024
}
