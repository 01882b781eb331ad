package controller

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
	"github.com/kubefederate/kubectl-federate/pkg/identity"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
)

// What a real API server answers is tested in test/integration; here are answers that none gives, and more members than can
// be started.

// stub answers as an API server and remembers what it was asked.
type stub struct {
	*httptest.Server
	mu    sync.Mutex
	asked []string
	// answer, when not nil, answers in place of the stub. False leaves it to the stub.
	answer  func(http.ResponseWriter, *http.Request) bool
	id      string
	version string
	nodes   []string
	// record is what the membership record has as the member's UID; without one there is none.
	record string
	// signer signs tokens; keys are those that are served, and token is the last one that was issued.
	signer *ecdsa.PrivateKey
	keys   jose.JSONWebKeySet
	token  func(*authenticationv1.TokenRequest) jwt.Claims
}

func newStub(t *testing.T) *stub {
	t.Helper()
	s := &stub{id: "id-1", version: "v1.36.3", record: "uid-1", signer: newKey(t)}
	s.keys.Keys = []jose.JSONWebKey{{Key: newKey(t).Public()}, {Key: s.signer.Public()}}
	s.token = func(r *authenticationv1.TokenRequest) jwt.Claims {
		return jwt.Claims{Subject: managerSubject, Audience: r.Spec.Audiences, IssuedAt: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(10 * time.Minute))}
	}
	s.Server = httptest.NewTLSServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func thumbprint(t *testing.T, k *ecdsa.PrivateKey) identity.Thumbprint {
	t.Helper()
	sum, err := (&jose.JSONWebKey{Key: k.Public()}).Thumbprint(crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	return identity.Thumbprint(base64.RawURLEncoding.EncodeToString(sum))
}

func (s *stub) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	line := r.URL.RequestURI()
	if r.Header.Get("Authorization") != "Bearer secret" {
		line += " without a token"
	}
	s.asked = append(s.asked, line)
	if s.answer != nil && s.answer(w, r) {
		return
	}
	switch r.URL.Path {
	case "/api/v1/namespaces/kube-system":
		fmt.Fprintf(w, `{"kind":"Namespace","metadata":{"name":"kube-system","uid":%q}}`, s.id)
	case "/version":
		fmt.Fprintf(w, `{"gitVersion":%q}`, s.version)
	case askRecord:
		if s.record == "" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		fmt.Fprintf(w, `{"kind":"ConfigMap","data":{"member":"m","memberUID":%q}}`, s.record)
	case askToken:
		var asked authenticationv1.TokenRequest
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: s.signer}, nil)
		if err := errors.Join(err, json.NewDecoder(r.Body).Decode(&asked)); err != nil {
			panic(err)
		}
		issued, err := jwt.Signed(signer).Claims(s.token(&asked)).Serialize()
		if err != nil {
			panic(err)
		}
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, `{"kind":"TokenRequest","status":{"token":%q}}`, issued)
	case askKeys:
		if err := json.NewEncoder(w).Encode(s.keys); err != nil {
			panic(err)
		}
	case "/api/v1/nodes":
		if r.URL.Query().Get("limit") == "1" && len(s.nodes) > 1 {
			fmt.Fprintf(w, `{"metadata":{"continue":"more","remainingItemCount":%d},"items":[%s]}`, len(s.nodes)-1, s.nodes[0])
			return
		}
		fmt.Fprintf(w, `{"metadata":{},"items":[%s]}`, strings.Join(s.nodes, ","))
	}
}

// requests are what was asked since the last call.
func (s *stub) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := s.asked
	s.asked = nil
	return asked
}

func (s *stub) set(change func(*stub)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

func (s *stub) access() *kubeconfig.Access {
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	return &kubeconfig.Access{Endpoint: endpoint.Endpoint{Server: s.URL, CABundle: ca}, Token: "secret"}
}

func follow(t *testing.T, access *kubeconfig.Access) *followed {
	t.Helper()
	conn, err := connect(access, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.close)
	return &followed{target: target{uid: "uid-1", id: "id-1"}, name: "m", conn: conn}
}

// TestOutcomes distinguishes the causes of failures.
func TestOutcomes(t *testing.T) {
	t.Parallel()
	status := func(code int, body string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Location", "https://127.0.0.1:1/")
			w.WriteHeader(code)
			fmt.Fprint(w, body)
			return true
		}
	}
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for _, tt := range []struct {
		name   string
		answer func(http.ResponseWriter, *http.Request) bool
		change func(*kubeconfig.Access)
		want   outcome
	}{
		{"reachable", nil, nil, reachable},
		{"401", status(401, `{"kind":"Status","message":"Unauthorized"}`), nil, outcome{v1alpha1.ReasonUnauthorized, "Unauthorized", 401}},
		{"403", status(403, ""), nil, outcome{v1alpha1.ReasonForbidden, "get namespace kube-system", 403}},
		{"500", status(500, `{"kind":"Status","message":"etcd\n\u001b[31mis gone"}`), nil, outcome{v1alpha1.ReasonServerError, `etcd \x1b[31mis gone`, 500}},
		{"503 of a proxy", status(503, "<html>"), nil, outcome{v1alpha1.ReasonServerError, "", 503}},
		{"429", status(429, ""), nil, outcome{v1alpha1.ReasonServerError, "", 429}},
		{"404", status(404, ""), nil, outcome{v1alpha1.ReasonUnexpectedAnswer, "get namespace kube-system returns 404 Not Found", 404}},
		{"a redirect is not followed", status(302, ""), nil, outcome{v1alpha1.ReasonUnexpectedAnswer, "get namespace kube-system returns 302 Found", 302}},
		{"a page", status(200, "<html>"), nil, outcome{v1alpha1.ReasonUnexpectedAnswer, "get namespace kube-system: the response is not the JSON of that object", 0}},
		{"another object", status(200, "{}"), nil, outcome{v1alpha1.ReasonUnexpectedAnswer, "the response has no UID of namespace kube-system", 0}},
		{"too much", func(w http.ResponseWriter, _ *http.Request) bool {
			fmt.Fprint(w, `{"x":"`)
			for range objectBytes/(1<<20) + 1 {
				fmt.Fprint(w, strings.Repeat("x", 1<<20))
			}
			return true
		}, nil, outcome{v1alpha1.ReasonUnexpectedAnswer, "get namespace kube-system: the response is too long", 0}},
		{"another cluster", status(200, `{"metadata":{"uid":"id-2"}}`), nil, outcome{v1alpha1.ReasonIdentityMismatch, "id-2", 0}},
		{"a broken answer", func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }, nil, outcome{v1alpha1.ReasonUnreachable, "EOF", 0}},
		{"late", func(_ http.ResponseWriter, r *http.Request) bool { <-r.Context().Done(); return true }, nil, outcome{v1alpha1.ReasonTimedOut, "timed out", 0}},
		{"unknown CA", nil, func(a *kubeconfig.Access) { a.CABundle = nil },
			outcome{v1alpha1.ReasonCertificateInvalid, "tls: failed to verify certificate: x509: certificate signed by unknown authority", 0}},
		{"refused", nil, func(a *kubeconfig.Access) { a.Server = "https://" + closed.Addr().String() },
			outcome{v1alpha1.ReasonConnectionRefused, "connection refused", 0}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newStub(t)
			s.answer = tt.answer
			access := s.access()
			if tt.change != nil {
				tt.change(access)
			}
			timeout := 20 * time.Second
			if tt.want.reason == v1alpha1.ReasonTimedOut {
				timeout = 200 * time.Millisecond
			}
			got, err := follow(t, access).probe(t.Context(), timeout, now)
			if err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(outcome{})); diff != "" {
				t.Error(diff)
			}
			if !slices.Contains(probeReasons, got.reason) {
				t.Errorf("reason %q is in no table", got.reason)
			}
		})
	}
	for _, tt := range []struct {
		name string
		err  error
		want outcome
	}{
		{"no such name", &net.OpError{Op: "dial", Err: &net.DNSError{Name: "a.example.com", Err: "no such host", IsNotFound: true}},
			outcome{v1alpha1.ReasonNameNotFound, `no address is known for "a.example.com"`, 0}},
		{"no name server", &net.DNSError{Name: "a.example.com", Err: "server misbehaving"},
			outcome{v1alpha1.ReasonUnreachable, `the name "a.example.com" cannot be looked up: server misbehaving`, 0}},
		{"a port that differs each time", &net.OpError{Op: "read", Source: &net.TCPAddr{Port: 40000}, Err: errors.New("connection reset by peer")},
			outcome{v1alpha1.ReasonUnreachable, "connection reset by peer", 0}},
		{"not allowed", &net.OpError{Op: "dial", Err: &endpoint.NotAllowed{Host: "a.example.com", Why: "is not there"}},
			outcome{v1alpha1.ReasonEndpointNotAllowed, `"a.example.com" is not there`, 0}},
		{"never allowed", &net.OpError{Op: "dial", Err: &endpoint.NotAllowed{Host: "a.example.com", Never: true, Why: "is loopback"}},
			outcome{v1alpha1.ReasonEndpointNeverAllowed, `"a.example.com" is loopback`, 0}},
	} {
		if diff := cmp.Diff(tt.want, outcomeOf(tt.err), cmp.AllowUnexported(outcome{})); diff != "" {
			t.Errorf("%s:\n%s", tt.name, diff)
		}
	}
}

const (
	askID      = "/api/v1/namespaces/kube-system"
	askVersion = "/version"
	askNodes   = "/api/v1/nodes?limit=100"
	askCount   = "/api/v1/nodes?limit=1"
	askToken   = "/api/v1/namespaces/kubefederate-member/serviceaccounts/kubefederate-manager/token"
	askKeys    = "/openid/v1/jwks"
	askRecord  = "/api/v1/namespaces/kubefederate-member/configmaps/membership"
)

// TestRequestsOfProbes holds which requests each of several probes sends.
func TestRequestsOfProbes(t *testing.T) {
	t.Parallel()
	s := newStub(t)
	s.nodes = []string{"{}", "{}"}
	f := follow(t, s.access())
	for i, step := range []struct {
		at   time.Duration
		when func(*stub)
		want []string
	}{
		{0, nil, []string{askID, askRecord, askToken, askKeys, askVersion, askNodes}},
		{time.Minute, nil, []string{askID}},
		{6 * time.Minute, nil, []string{askID, askRecord, askVersion, askCount}},
		{7 * time.Minute, func(s *stub) { s.nodes = append(s.nodes, "{}") }, []string{askID}},
		{12 * time.Minute, nil, []string{askID, askRecord, askVersion, askCount, askNodes}},
		// A new connection, to an API server that was upgraded and to one that was not.
		{13 * time.Minute, func(s *stub) { s.version = "v1.37.0"; s.CloseClientConnections() }, []string{askID, askVersion, askNodes}},
		{14 * time.Minute, func(s *stub) { s.CloseClientConnections() }, []string{askID, askVersion}},
		{2 * time.Hour, nil, []string{askID, askRecord, askVersion, askNodes}},
		{signInterval, nil, []string{askID, askRecord, askToken, askKeys, askVersion, askNodes}},
	} {
		if step.when != nil {
			s.set(step.when)
		}
		got, err := f.probe(t.Context(), time.Minute, now.Add(step.at))
		if err != nil || got != reachable {
			t.Fatalf("probe %d: %v %v", i, got, err)
		}
		if diff := cmp.Diff(step.want, s.requests()); diff != "" {
			t.Errorf("probe %d asks (-want +got):\n%s", i, diff)
		}
	}
	if f.facts.Nodes != 3 || f.facts.KubernetesVersion != "v1.37.0" {
		t.Errorf("facts %+v", f.facts)
	}
}

// TestOtherCluster holds that another cluster gets the token with the one request that shows its ID, and not again before it presents
// another certificate or much time has passed.
func TestOtherCluster(t *testing.T) {
	t.Parallel()
	s := newStub(t)
	s.id = "id-2"
	f := follow(t, s.access())
	probe := func(after time.Duration, reason string, want ...string) {
		t.Helper()
		got, err := f.probe(t.Context(), time.Minute, now.Add(after))
		if err != nil || got.reason != reason {
			t.Errorf("%v %v, want %s", got, err, reason)
		}
		if diff := cmp.Diff(want, s.requests()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	const silent = "/version without a token"
	probe(0, v1alpha1.ReasonIdentityMismatch, askID)
	probe(time.Minute, v1alpha1.ReasonIdentityMismatch, silent)
	s.CloseClientConnections()
	probe(2*time.Minute, v1alpha1.ReasonIdentityMismatch, silent)
	f.otherClusterCertificate[0]++ // as if that had been another one
	probe(3*time.Minute, v1alpha1.ReasonIdentityMismatch, silent, askID)
	s.set(func(s *stub) { s.id = "id-1" })
	probe(4*time.Minute, v1alpha1.ReasonIdentityMismatch, silent)
	probe(14*time.Minute, v1alpha1.ReasonReachable, silent, askID, askRecord, askToken, askKeys, askVersion, askNodes)
	if f.facts == nil {
		t.Error("no facts")
	}
}

// TestReconnectWithinAProbe holds that nothing is asked on a new connection before the cluster has been identified on it.
func TestReconnectWithinAProbe(t *testing.T) {
	t.Parallel()
	s := newStub(t)
	s.answer = func(w http.ResponseWriter, _ *http.Request) bool {
		// An API server that ends: what is asked next takes another connection.
		w.Header().Set("Connection", "close")
		return false
	}
	f := follow(t, s.access())
	got, err := f.probe(t.Context(), time.Minute, now)
	if got != reachable || !errors.Is(err, errReconnected) {
		t.Errorf("%v %v", got, err)
	}
	if diff := cmp.Diff([]string{askID}, s.requests()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	s.set(func(s *stub) { s.answer = nil })
	if got, err := f.probe(t.Context(), time.Minute, now); got != reachable || err != nil {
		t.Errorf("%v %v", got, err)
	}
	if diff := cmp.Diff([]string{askID, askRecord, askToken, askKeys, askVersion, askNodes}, s.requests()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestNodesForbidden holds that a member whose rights were taken is not reachable, and that one whose nodes cannot be read for
// another reason is.
func TestNodesForbidden(t *testing.T) {
	t.Parallel()
	for code, want := range map[int]outcome{
		http.StatusForbidden:          {v1alpha1.ReasonForbidden, "list nodes", 403},
		http.StatusServiceUnavailable: reachable,
	} {
		s := newStub(t)
		s.answer = func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/api/v1/nodes" {
				w.WriteHeader(code)
			}
			return r.URL.Path == "/api/v1/nodes"
		}
		f := follow(t, s.access())
		for range 2 {
			if got, _ := f.probe(t.Context(), time.Minute, now); got != want {
				t.Errorf("%d: %v, want %v", code, got, want)
			}
		}
		want := []string{askID, askRecord, askToken, askKeys, askVersion, askNodes, askID}
		if code == http.StatusForbidden {
			want = append(want, askVersion, askNodes)
		}
		if diff := cmp.Diff(want, s.requests()); diff != "" {
			t.Errorf("%d: (-want +got):\n%s", code, diff)
		}
	}
}

// TestFacts holds what follows from the nodes of two pages.
func TestFacts(t *testing.T) {
	t.Parallel()
	node := func(labels, cpu, memory, pods string) string {
		return fmt.Sprintf(`{"metadata":{"name":"n","labels":{%s}},"status":{"capacity":{"cpu":%q,"memory":%q,"pods":%q,"nvidia.com/gpu":"8"},"images":[{"names":["a"]}]}}`, labels, cpu, memory, pods)
	}
	pages := map[string]string{
		"": `{"metadata":{"continue":"2","remainingItemCount":1},"items":[` +
			node(`"topology.kubernetes.io/region":"us-east-1","topology.kubernetes.io/zone":"us-east-1b","failure-domain.beta.kubernetes.io/zone":"older"`, "4", "16393244Ki", "110") + "," +
			node(`"failure-domain.beta.kubernetes.io/region":"us-east-1","failure-domain.beta.kubernetes.io/zone":"us-east-1a"`, "500m", "1Gi", "110") + `]}`,
		"2": `{"items":[{"metadata":{"labels":{"topology.kubernetes.io/region":"not a label\u001b","topology.kubernetes.io/zone":"` + strings.Repeat("z", 64) + `"}}}],"metadata":{}}`,
	}
	s := newStub(t)
	s.answer = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/api/v1/nodes" {
			fmt.Fprint(w, pages[r.URL.Query().Get("continue")])
		}
		return r.URL.Path == "/api/v1/nodes"
	}
	f := follow(t, s.access())
	if got, err := f.probe(t.Context(), time.Minute, now); got != reachable || err != nil {
		t.Fatalf("%v %v", got, err)
	}
	want := &v1alpha1.Facts{Nodes: 3, Capacity: corev1.ResourceList{
		"cpu": resource.MustParse("4500m"), "memory": resource.MustParse("17441820Ki"), "pods": resource.MustParse("220"),
	}}
	want.KubernetesVersion, want.Regions, want.Zones = "v1.36.3", []string{"us-east-1"}, []string{"us-east-1a", "us-east-1b"}
	if diff := cmp.Diff(want, f.facts); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func opening(access *kubeconfig.Access) func() (*kubeconfig.Access, error) {
	return func() (*kubeconfig.Access, error) { return access, nil }
}

func probing(t *testing.T, interval, timeout time.Duration) *prober {
	t.Helper()
	m, err := newMetrics(prometheus.NewRegistry(), fake.NewClientBuilder().Build())
	if err != nil {
		t.Fatal(err)
	}
	return newProber(interval, timeout, logr.Discard(), m)
}

// start runs p to the end of the test, and receives its changes.
func start(t *testing.T, p *prober) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := p.Start(ctx); err != nil {
			t.Error(err)
		}
	})
	running.Go(func() {
		for {
			select {
			case <-p.changes:
			case <-ctx.Done():
				return
			}
		}
	})
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
}

func (p *prober) found(name string) *observation {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.members[name].last
}

func until(t *testing.T, what string, check func() bool) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), 5*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) { return check(), nil })
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// TestRecord holds which outcomes of a row of probes are reported, and with which time of the last answer.
func TestRecord(t *testing.T) {
	t.Parallel()
	p := probing(t, 30*time.Second, 10*time.Second)
	f := &followed{name: "m", pace: p.pace}
	p.members["m"] = f
	for i, step := range []struct {
		at       time.Duration
		got      outcome
		changed  bool
		soon     bool
		answered time.Duration
	}{
		{0, reachable, true, false, 0},
		{30 * time.Second, reachable, false, false, 0},
		// One failure may be a hiccup of the network.
		{60 * time.Second, late, false, true, 0},
		{65 * time.Second, reachable, false, false, 0},
		{90 * time.Second, late, false, true, 0},
		{95 * time.Second, late, true, false, 65 * time.Second},
		{125 * time.Second, outcome{v1alpha1.ReasonTimedOut, "something else", 0}, false, false, 65 * time.Second},
		{155 * time.Second, outcome{v1alpha1.ReasonConnectionRefused, "", 0}, true, false, 65 * time.Second},
		{185 * time.Second, reachable, true, false, 185 * time.Second},
		// What an API server reports clearly is reported at once.
		{215 * time.Second, outcome{v1alpha1.ReasonUnauthorized, "", 401}, true, false, 185 * time.Second},
		{245 * time.Second, reachable, true, false, 245 * time.Second},
		{245*time.Second + probeTimeAge, reachable, true, false, 245*time.Second + probeTimeAge},
	} {
		next, changed := p.record(f, step.got, now.Add(step.at), "")
		if changed != step.changed || (next == 5*time.Second) != step.soon || next > 30*time.Second || f.last.answered.Sub(now) != step.answered {
			t.Errorf("step %d: next %s, changed %v, answered after %s; want %+v", i, next, changed, f.last.answered.Sub(now), step)
		}
	}
	if _, changed := p.record(&followed{name: "m"}, reachable, now, ""); changed {
		t.Error("the probe of a target that has changed is reported")
	}
	f.membership = v1alpha1.ReasonMembershipMissing
	if _, changed := p.record(f, reachable, now.Add(246*time.Second+probeTimeAge), ""); !changed || f.last.membership != f.membership {
		t.Error("that the membership record is missing is not reported")
	}
}

// TestAnsweredBefore holds that a manager which starts and finds a member gone knows until when the one before it had probed it.
func TestAnsweredBefore(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		reached bool
		got     []outcome
		want    time.Time
	}{
		"reachable before":         {true, []outcome{late, late}, now.Add(-time.Minute)},
		"not reachable before":     {false, []outcome{late, late}, time.Time{}},
		"reachable since":          {true, []outcome{reachable, late, late}, now},
		"reachable before, and is": {true, []outcome{reachable}, now},
	} {
		p := probing(t, 30*time.Second, 10*time.Second)
		p.expect(nil, now.Add(-time.Minute))
		f := &followed{name: "m", pace: p.pace, reached: tt.reached}
		p.members["m"] = f
		for i, got := range tt.got {
			p.record(f, got, now.Add(time.Duration(i)*time.Minute), "")
		}
		if f.last == nil || f.last.outcome != tt.got[len(tt.got)-1] || !f.last.answered.Equal(tt.want) {
			t.Errorf("%s: %+v, want the answer at %s", name, f.last, tt.want)
		}
	}
}

// TestIdleConnections holds that a connection is kept until the next probe, unless that comes much later.
func TestIdleConnections(t *testing.T) {
	t.Parallel()
	for interval, want := range map[string]int64{"30s": 1, "2m": 1, "10m": 2} {
		s := newStub(t)
		p := probing(t, 30*time.Second, 10*time.Second)
		start(t, p)
		health := &v1alpha1.Health{Interval: interval}
		for _, request := range []string{"1", "2"} {
			if _, err := p.follow("m", target{id: "id-1"}, opening(s.access()), known{health: health, request: request}); err != nil {
				t.Fatal(err)
			}
			until(t, "a probe", func() bool { o := p.found("m"); return o != nil && o.request == request })
		}
		if got := p.members["m"].conn.dials.Load(); got != want {
			t.Errorf("two probes at an interval of %s make %d connections, want %d", interval, got, want)
		}
	}
}

// TestProbeTimesAreSpread holds that a manager which starts does not have the times of all members written at one time later, but each
// when it was due before; and that those of members which joined at one time come apart.
func TestProbeTimesAreSpread(t *testing.T) {
	t.Parallel()
	p := probing(t, 30*time.Second, 10*time.Second)
	const members = 100
	var reported []time.Duration
	for i := range members {
		f := &followed{name: "m", pace: p.pace, target: target{uid: types.UID(fmt.Sprint("uid-", i))}, probeTime: now.Add(-time.Hour)}
		p.members["m"] = f
		for at := time.Duration(0); ; at += time.Minute {
			_, changed := p.record(f, reachable, now.Add(at), "")
			if first := at == 0; first && !changed {
				t.Fatal("the first probe of a manager is not reported")
			} else if first {
				p.following("m", f.target, known{probeTime: now.Add(-time.Hour)}) // what the reconciler finds
			} else if changed {
				reported = append(reported, at)
				break
			}
		}
	}
	slices.Sort(reported)
	if first, last := reported[0], reported[members-1]; first < probeTimeAge*3/4-time.Hour || last > probeTimeAge-time.Hour+time.Minute || last-first < probeTimeAge/8 {
		t.Errorf("the times of members are written from %s to %s after the manager begins", first, last)
	}
}

var late = outcome{v1alpha1.ReasonTimedOut, "timed out", 0}

// TestFailures holds how many probes fail in a row before that is reported, how soon each follows, and that those of a manager
// that has just started count like others.
func TestFailures(t *testing.T) {
	t.Parallel()
	broken := outcome{v1alpha1.ReasonServerError, "", 503}
	refused := outcome{v1alpha1.ReasonUnauthorized, "", 401}
	minute := &v1alpha1.Health{Interval: "1m"}
	for _, tt := range []struct {
		name    string
		health  *v1alpha1.Health
		reached bool
		probes  []outcome
		// unreported is how many of the probes are not, and after is how soon another follows those.
		unreported int
		after      time.Duration
	}{
		{"default", nil, true, []outcome{late, late}, 1, 5 * time.Second},
		{"interval", minute, true, []outcome{late, late}, 1, 10 * time.Second},
		{"one", &v1alpha1.Health{Failures: 1}, true, []outcome{late}, 0, 0},
		{"four", &v1alpha1.Health{Interval: "1m", Failures: 4}, true, []outcome{late, broken, late, broken}, 3, 10 * time.Second},
		{"a good one begins anew", &v1alpha1.Health{Failures: 3}, true, []outcome{late, late, reachable, late, late, late}, 5, 5 * time.Second},
		{"clear answers", &v1alpha1.Health{Failures: 4}, true, []outcome{late, refused}, 1, 5 * time.Second},
		{"refused at first", &v1alpha1.Health{Failures: 4}, true, []outcome{refused, refused}, 1, firstConfirmDelay},
		{"never reached", &v1alpha1.Health{Failures: 4}, false, []outcome{late, late}, 1, firstConfirmDelay},
		{"never reached, one", &v1alpha1.Health{Failures: 1}, false, []outcome{late, late}, 1, firstConfirmDelay},
		{"no duration", &v1alpha1.Health{Interval: "often"}, true, []outcome{late, late}, 1, 5 * time.Second},
	} {
		p := probing(t, 30*time.Second, 10*time.Second)
		f := &followed{name: "m", pace: p.pace.of(tt.health), reached: tt.reached}
		p.members["m"] = f
		for i, got := range tt.probes {
			next, changed := p.record(f, got, now.Add(time.Duration(i)*time.Minute), "")
			if got == reachable {
				continue
			}
			if changed != (i >= tt.unreported) || !changed && next != tt.after {
				t.Errorf("%s, probe %d: reported %v, next after %s", tt.name, i, changed, next)
			}
		}
	}
}

// TestPaceChanges holds that a member is probed as its federation says now, though the next probe was due much later.
func TestPaceChanges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		listener := make(pipes)
		listener.serve(t, func(w http.ResponseWriter, _ *http.Request) {
			asked.Add(1)
			fmt.Fprint(w, `{"metadata":{"uid":"x"},"gitVersion":"v1.36.3"}`)
		})
		p := probing(t, time.Hour, time.Second)
		followOver(t, p, "m", listener.dial)
		start(t, p)
		sleep := func(d time.Duration) int32 {
			before := asked.Load()
			time.Sleep(d) //nolint:forbidigo // on the test's clock
			return asked.Load() - before
		}
		sleep(time.Minute)
		if n := sleep(45 * time.Minute); n > 20 {
			t.Errorf("%d requests in three quarters of an interval", n)
		}
		f := p.members["m"]
		k := known{health: &v1alpha1.Health{Interval: "10s"}}
		if _, followed := p.following("m", f.target, k); !followed {
			t.Error("it is not followed any more")
		}
		if n := sleep(time.Minute); n < 6 {
			t.Errorf("%d requests in six intervals", n)
		}
	})
}

// TestRequestedProbe holds that a request is answered by the first probe that begins after it, whatever that finds.
func TestRequestedProbe(t *testing.T) {
	t.Parallel()
	p := probing(t, 30*time.Second, 10*time.Second)
	f := &followed{name: "m", pace: p.pace}
	p.members["m"] = f
	for i, step := range []struct {
		request string
		got     outcome
		changed bool
	}{
		{"", reachable, true}, {"", reachable, false},
		{"a", reachable, true}, {"a", reachable, false},
		{"a", late, false}, {"a", reachable, false}, // waits for a second one
		{"b", late, true}, {"b", late, false},
		{"c", late, true},
	} {
		_, changed := p.record(f, step.got, now.Add(time.Duration(i)*time.Minute), step.request)
		if changed != step.changed || changed && (f.last.request != step.request || f.last.outcome != step.got) {
			t.Errorf("step %d: changed %v, %+v", i, changed, f.last)
		}
	}
	// The first probe of all.
	first := &followed{name: "m", pace: p.pace}
	p.members["m"] = first
	if _, changed := p.record(first, late, now, "a"); !changed || first.last.request != "a" {
		t.Errorf("the first probe: changed %v, %+v", changed, first.last)
	}
}

// TestRequests holds that a request has a member probed at once, and again when the request came while it was being probed.
func TestRequests(t *testing.T) {
	t.Parallel()
	p := probing(t, time.Hour, time.Minute)
	start(t, p)
	s := newStub(t)
	answered := func(request string) func() bool {
		return func() bool { o := p.found("m"); return o != nil && o.request == request }
	}
	ask := func(request string) {
		if _, err := p.follow("m", target{id: "id-1"}, opening(s.access()), known{request: request}); err != nil {
			t.Error(err)
		}
	}
	ask("")
	until(t, "it is probed", answered(""))
	s.requests()
	s.set(func(s *stub) {
		s.answer = func(http.ResponseWriter, *http.Request) bool {
			s.answer = nil
			ask("b")
			return false
		}
	})
	ask("a")
	until(t, "both requests are answered", answered("b"))
	// The next probe would be in an hour, so each has a connection of its own, over which the version is read.
	if diff := cmp.Diff([]string{askID, askRecord, askVersion, askID, askRecord, askVersion}, s.requests()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestFirstProbes holds what is reported of a member that has just joined: its API server may not have seen yet what a join wrote.
func TestFirstProbes(t *testing.T) {
	t.Parallel()
	forbidden := outcome{v1alpha1.ReasonForbidden, "get namespace kube-system", 403}
	type step struct {
		at, next time.Duration
		got      outcome
		changed  bool
	}
	for name, steps := range map[string][]step{
		"ready at the second probe": {{0, firstConfirmDelay, forbidden, false}, {time.Second, 0, reachable, true}},
		"ready a little later":      {{0, firstConfirmDelay, forbidden, false}, {time.Second, joinDelay, forbidden, true}, {6 * time.Second, 0, reachable, true}},
		"never":                     {{0, firstConfirmDelay, forbidden, false}, {time.Second, joinDelay, forbidden, true}, {joinDuration, 0, forbidden, false}},
	} {
		p := probing(t, 30*time.Second, 10*time.Second)
		f := &followed{name: "m", since: now, pace: p.pace}
		p.members["m"] = f
		for i, s := range steps {
			next, changed := p.record(f, s.got, now.Add(s.at), "")
			if changed != s.changed || s.next > 0 && next != s.next || s.next == 0 && next <= joinDelay {
				t.Errorf("%s, step %d: next %s, changed %v; want %+v", name, i, next, changed, s)
			}
		}
	}
}

// TestFollow holds that a changed target is probed at once and over a new connection, and that one that is dropped is not
// probed any more.
func TestFollow(t *testing.T) {
	t.Parallel()
	p := probing(t, time.Hour, time.Minute)
	start(t, p)
	s := newStub(t)
	facts := &v1alpha1.Facts{Nodes: 1}
	facts.KubernetesVersion = "v1.36.3"
	for i := range 2 {
		access := s.access()
		access.Token += fmt.Sprint(i)
		if _, err := p.follow("m", target{id: "id-1", credential: fmt.Sprint(i)}, opening(access), known{facts: facts, granted: true}); err != nil {
			t.Fatal(err)
		}
		until(t, "it is found", func() bool { return p.found("m") != nil })
		// What is known from before is not read again.
		want := []string{askID + " without a token", askVersion + " without a token"}
		if diff := cmp.Diff(want, s.requests()); diff != "" {
			t.Errorf("target %d (-want +got):\n%s", i, diff)
		}
	}
	if got := testutil.ToFloat64(p.metrics.probes.WithLabelValues(v1alpha1.ReasonReachable)); got != 2 {
		t.Errorf("%v probes are counted, want 2", got)
	}
	p.drop("m")
	p.queue.Add("m")
	until(t, "the queue is empty", func() bool { return p.queue.Len() == 0 })
	if asked := s.requests(); len(asked) > 0 {
		t.Errorf("it is asked %v", asked)
	}
}

// TestWaits holds that the nodes of a member which waits for other facts are read each time that they are counted, and by a manager
// that starts.
func TestWaits(t *testing.T) {
	t.Parallel()
	p := probing(t, time.Hour, time.Minute)
	s := newStub(t)
	for _, tt := range []struct {
		accepted metav1.ConditionStatus
		reason   string
		waits    bool
	}{
		{metav1.ConditionTrue, v1alpha1.ReasonAccepted, false},
		{metav1.ConditionTrue, v1alpha1.ReasonFactsUnknown, false},
		{metav1.ConditionUnknown, v1alpha1.ReasonFactsUnknown, false},
		{metav1.ConditionFalse, v1alpha1.ReasonAwaitingApproval, false},
		{metav1.ConditionFalse, v1alpha1.ReasonFactsUnknown, true},
		{metav1.ConditionFalse, v1alpha1.ReasonRulesBroken, true},
	} {
		o := good(t)
		o.member.Status.Facts = &v1alpha1.Facts{}
		o.member.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionAccepted, Status: tt.accepted, Reason: tt.reason}}
		name, to := string(tt.accepted)+tt.reason, target{id: "id-1"}
		for range 2 { // as it is followed, and as it goes on
			if _, err := p.follow(name, to, opening(s.access()), o.known(o.judgeCredential())); err != nil {
				t.Fatal(err)
			}
		}
		f := p.members[name]
		if f.nodesDue.IsZero() != tt.waits {
			t.Errorf("%s: a manager that starts reads the nodes at %s", name, f.nodesDue)
		}
		f.countDue, f.nodesDue = now.Add(countInterval), now.Add(nodesInterval)
		p.begin(name, false)
		if f.nodesDue.Equal(f.countDue) != tt.waits {
			t.Errorf("%s: the nodes are counted at %s, and read at %s", name, f.countDue, f.nodesDue)
		}
		p.drop(name)
	}
}

func TestTally(t *testing.T) {
	t.Parallel()
	member := func(phase v1alpha1.Phase, end time.Duration) (m v1alpha1.MemberCluster) {
		m.Status.Phase = phase
		if end > 0 {
			m.Status.CredentialExpiry = &metav1.Time{Time: now.Add(end)}
		}
		return m
	}
	violating := member(v1alpha1.PhaseReady, 2*time.Hour)
	violating.Status.Violations = make([]v1alpha1.Violation, 2)
	violating.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionPublished, Reason: v1alpha1.ReasonProfileTaken}}
	expired := member(v1alpha1.PhaseOffline, 3*time.Hour)
	expired.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Reason: "Other"}, {Type: v1alpha1.ConditionCredentialValid, Reason: v1alpha1.ReasonCredentialExpired}}
	got := tallyOf([]v1alpha1.MemberCluster{violating, member("", 0), member(v1alpha1.PhaseReady, time.Hour), expired})
	want := tally{
		phases:      map[v1alpha1.Phase]int{v1alpha1.PhaseReady: 2, v1alpha1.PhaseJoining: 1, v1alpha1.PhaseOffline: 1},
		credentials: map[string]int{v1alpha1.ReasonCredentialExpired: 1},
		published:   map[string]int{v1alpha1.ReasonProfileTaken: 1},
		violating:   1,
		expiry:      now.Add(time.Hour),
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(tally{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if none := tallyOf(nil); len(none.phases)+len(none.credentials)+len(none.published)+none.violating > 0 || !none.expiry.IsZero() {
		t.Errorf("of none: %+v", none)
	}
}

func TestInventories(t *testing.T) {
	t.Parallel()
	federation := func(conditions ...metav1.Condition) (f v1alpha1.Federation) {
		f.Status.Conditions = conditions
		return f
	}
	missing := metav1.Condition{Type: v1alpha1.ConditionInventoryPublished, Reason: v1alpha1.ReasonNamespaceMissing}
	got := reasonsOf([]v1alpha1.Federation{federation(), federation(metav1.Condition{Type: v1alpha1.ConditionWithinLimits, Reason: "Other"}), federation(missing), federation(missing)}, v1alpha1.ConditionInventoryPublished)
	if diff := cmp.Diff(map[string]int{v1alpha1.ReasonNamespaceMissing: 2}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
