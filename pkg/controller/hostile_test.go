package controller

import (
	"errors"
	"fmt"
	"runtime"
	runtimemetrics "runtime/metrics"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
	"github.com/kubefederate/kubectl-federate/test/hostile/probed"
)

// mostHeld is what all attacks at once may make the manager hold, the share of the servers that attack included.
const mostHeld = 64 << 20

// TestHostileMembers probes members that want to harm the manager. Each probe ends soon, whatever it is sent, and says what
// is wrong; one that goes on has read no more than its budget; and none is led elsewhere.
//
// It is not parallel: no other test of this package runs meanwhile, whose objects would count.
func TestHostileMembers(t *testing.T) {
	const unexpected = v1alpha1.ReasonUnexpectedAnswer
	want := map[string]outcome{
		"one page again and again":         {unexpected, "list nodes: the list does not go on, and does not end", 0},
		"pages without nodes":              {unexpected, "list nodes: the list does not go on, and does not end", 0},
		"a label of megabytes":             reachable,
		"an exponent":                      {unexpected, `list nodes: "1e-2147483647" is not a capacity of cpu`, 0},
		"a large exponent":                 {unexpected, `list nodes: "1e16000000" is not a capacity of cpu`, 0},
		"millions of digits":               {unexpected, "list nodes: a capacity of cpu has more than 63 bytes", 0},
		"a token to continue of megabytes": {unexpected, "list nodes: the token to continue has more than 8192 bytes", 0},
		"brackets":                         {unexpected, "list nodes: the response is not the JSON of that object", 0},
		"gzip":                             {unexpected, "list nodes: the response is not the JSON of that object", 0},
		"a redirect":                       {unexpected, "get namespace kube-system returns 307 Temporary Redirect", 307},
		"a redirect of nodes":              {unexpected, "list nodes returns 302 Found", 302},
		"an identity without end":          {unexpected, "get namespace kube-system: the response is not the JSON of that object", 0},
		"an identity of gigabytes":         {unexpected, "get namespace kube-system: the response is too long", 0},
		"headers of megabytes":             {v1alpha1.ReasonUnreachable, "net/http: HTTP/1.x transport connection broken: net/http: server response headers exceeded 65536 bytes; aborted", 0},
		"an error without end":             {v1alpha1.ReasonServerError, "", 500},
		"a version without end":            {unexpected, "get /version: the response is too long", 0},
		"control characters":               reachable,
		"another version each time":        reachable,
		"a token without end":              reachable,
		"keys without end":                 reachable,
		"wide keys":                        reachable,
		"tokens of a second":               reachable,
	}
	before := held()
	var running sync.WaitGroup
	for _, attack := range probed.Attacks() {
		running.Go(func() {
			m := probed.New("id-1", attack)
			defer m.Close()
			defer m.CloseClientConnections()
			f := follow(t, accessOf(m))
			// What has no end ends by bytes, or by time where the machine is slow.
			want, ends := want[attack.Name]
			timeout := 3 * time.Second
			if ends {
				timeout = time.Minute
			}
			began := time.Now()
			got, _ := f.probe(t.Context(), timeout, now)
			if ends && got != want || !ends && got != reachable && got != tooMuch && got.reason != v1alpha1.ReasonTimedOut && got.reason != unexpected {
				t.Errorf("%s: %+v, want %+v", attack.Name, got, want)
			}
			if took := time.Since(began); took > 5*timeout {
				t.Errorf("%s: it took %s", attack.Name, took)
			}
			if m.Stolen.Load() > 0 {
				t.Errorf("%s: a redirect was followed", attack.Name)
			}
			if sent := m.Sent.Load(); sent > probeBytes+16<<20 {
				t.Errorf("%s: %d MiB were sent", attack.Name, sent>>20)
			}
			// What is known of it stays valid.
			if f.facts != nil && (len(f.facts.Regions) > maxTopology || f.facts.Nodes > maxNodes || strings.ContainsAny(f.facts.KubernetesVersion, "\x1b\u202e")) {
				t.Errorf("%s: facts %+v", attack.Name, f.facts)
			}
			// It is not read again at once.
			asked := m.Requests.Load()
			if _, err := f.probe(t.Context(), timeout, now.Add(time.Second)); err == nil && ends && got != reachable && m.Requests.Load() > asked+1 {
				t.Errorf("%s: it is asked %d times a second later", attack.Name, m.Requests.Load()-asked)
			}
		})
	}
	done := make(chan struct{})
	go func() { running.Wait(); close(done) }()
	most := before
	for ended := false; !ended; {
		select {
		case <-done:
			ended = true
		case <-time.After(20 * time.Millisecond):
		}
		most = max(most, held())
	}
	t.Logf("all at once: at most %d MiB are held, %d before", most>>20, before>>20)
	if most > before+mostHeld {
		t.Errorf("%d MiB are held", most>>20)
	}
}

// held is how many bytes of the heap are in use. What a collection would free does not count, so that it does not depend on
// when that happened.
func held() uint64 {
	runtime.GC()
	live := []runtimemetrics.Sample{{Name: "/gc/heap/live:bytes"}}
	runtimemetrics.Read(live)
	return live[0].Value.Uint64()
}

// tooMuch is the outcome of a member that sends more than one probe may read.
var tooMuch = outcome{reason: v1alpha1.ReasonUnexpectedAnswer, cause: errBudget.what}

func accessOf(m *probed.Member) *kubeconfig.Access {
	return &kubeconfig.Access{Endpoint: endpoint.Endpoint{Server: m.URL, CABundle: m.CA()}, Token: "secret"}
}

// TestBudget holds that all that one probe reads is bounded, in bytes and in responses.
func TestBudget(t *testing.T) {
	t.Parallel()
	for name, b := range map[string]budget{
		"a label of megabytes": {bytes: 1 << 20, requests: probeRequests},
		"pages without end":    {bytes: probeBytes, requests: 5},
	} {
		attacks := probed.Attacks()
		m := probed.New("id-1", attacks[slices.IndexFunc(attacks, func(a probed.Attack) bool { return a.Name == name })])
		most := b
		_, err := follow(t, accessOf(m)).conn.facts(t.Context(), &b, "v1.36.3")
		m.CloseClientConnections()
		m.Close()
		if !errors.Is(err, errBudget) {
			t.Errorf("%s: %v", name, err)
		}
		// What is on its way is not read.
		if sent, requests := m.Sent.Load(), m.Requests.Load(); sent > most.bytes+16<<20 || requests > int64(most.requests) {
			t.Errorf("%s: %d MiB were sent in %d responses", name, sent>>20, requests)
		}
	}
}

// TestManyNodes holds that what is kept of nodes does not grow with their number, whatever one page has of them.
func TestManyNodes(t *testing.T) {
	t.Parallel()
	total := sum{regions: map[string]bool{}, zones: map[string]bool{}, capacity: corev1.ResourceList{}}
	for i := range maxNodes + 10 {
		node := fmt.Sprintf(`{"metadata":{"labels":{"topology.kubernetes.io/region":"r%[1]d","topology.kubernetes.io/zone":"z%[1]d"}},"status":{"capacity":{"cpu":"1"}}}`, i)
		if err := total.add(scan(strings.NewReader(node))); err != nil {
			t.Fatal(err)
		}
	}
	if cpu := total.capacity[corev1.ResourceCPU]; total.nodes != maxNodes || cpu.Value() != maxNodes || len(total.regions) != maxValues || len(total.zones) != maxValues {
		t.Errorf("%d nodes, %s cores, %d regions and %d zones are kept", total.nodes, cpu.String(), len(total.regions), len(total.zones))
	}
}
