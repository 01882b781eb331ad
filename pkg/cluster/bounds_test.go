package cluster_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

// writes sends text again and again, until the client stops reading.
func writes(w http.ResponseWriter, head, text string) {
	chunk := []byte(strings.Repeat(text, 1+(32<<10)/len(text)))
	_, err := w.Write([]byte(head))
	for err == nil {
		_, err = w.Write(chunk)
	}
}

// bomb is n bytes of zeros in a string, compressed.
func bomb(t *testing.T, n int) []byte {
	t.Helper()
	var compressed bytes.Buffer
	z := gzip.NewWriter(&compressed)
	for _, part := range []string{`{"metadata":{"name":"`, strings.Repeat("0", n), `"}}`} {
		if _, err := z.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return compressed.Bytes()
}

// TestBounds reads the responses of servers that send too much, or send elsewhere. Each ends with the words that say which
// server it was and what was too large.
func TestBounds(t *testing.T) {
	t.Parallel()
	get := func(t *testing.T, c *cluster.Conn) error {
		_, err := c.Get(t.Context(), cluster.IdentityNamespace)
		return err
	}
	list := func(t *testing.T, c *cluster.Conn) error {
		_, _, err := cluster.List[named](t.Context(), c, cluster.MemberClusters, cluster.ListOptions{})
		return err
	}
	untyped := func(t *testing.T, c *cluster.Conn) error {
		_, err := c.List(t.Context(), cluster.Secrets, cluster.ListOptions{Namespace: "default"})
		return err
	}
	metadata := func(t *testing.T, c *cluster.Conn) error {
		return cluster.EachMetadata(t.Context(), c, cluster.Nodes, cluster.ListOptions{}, func() {}, func(*named) {})
	}
	path := func(t *testing.T, c *cluster.Conn) error {
		var into map[string]any
		return c.GetPath(t.Context(), "/version", &into)
	}
	watch := func(t *testing.T, c *cluster.Conn) error {
		return cluster.Watch(t.Context(), c, cluster.MemberClusters, cluster.ListOptions{}, "1", func(cluster.Event[named]) error { return nil })
	}
	const sure = ": check that SERVER is the API server that the context is meant for"
	const many = `{"metadata":{"continue":"%d"},"items":[%s]}`
	pages := 0
	for _, tt := range []struct {
		name   string
		answer http.HandlerFunc
		read   func(*testing.T, *cluster.Conn) error
		err    string
	}{
		{"an endless object", func(w http.ResponseWriter, _ *http.Request) { writes(w, `{"metadata":{"name":"`, "x") }, get,
			`host: get Namespace "kube-system": the response is too large: more than 3 MiB`},
		{"an object of many values", func(w http.ResponseWriter, _ *http.Request) { writes(w, `{"status":[{}`, ",{}") }, get,
			`host: get Namespace "kube-system": the response is too large: more than 100000 values`},
		{"a compressed object", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(bomb(t, 20<<20))
		}, get, `host: get Namespace "kube-system": the response is too large: more than 3 MiB`},
		{"an endless error", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			writes(w, `{"kind":"Status","message":"`, "x")
		}, get, `host: get Namespace "kube-system": the response is too large: more than 512 KiB`},
		{"an endless document", func(w http.ResponseWriter, _ *http.Request) { writes(w, `{"gitVersion":"`, "1") }, path,
			`host: get /version: the response is too large: more than 3 MiB`},
		{"an endless page", func(w http.ResponseWriter, _ *http.Request) { writes(w, `{"items":[{"metadata":{"name":"`, "x") }, list,
			`host: list memberclusters.kubefederate.io: the response is too large: more than 8 MiB`},
		{"an endless page, untyped", func(w http.ResponseWriter, _ *http.Request) { writes(w, `{"items":[{}`, ",{}") }, untyped,
			`host: list secrets in namespace "default": the response is too large: more than 250000 values`},
		{"endless pages", func(w http.ResponseWriter, _ *http.Request) {
			pages++
			fmt.Fprintf(w, many, pages, strings.Repeat(`{},`, 499)+`{}`)
		}, metadata, `host: list nodes: the response is too large: more than 20000 objects`},
		{"endless empty pages", func(w http.ResponseWriter, _ *http.Request) {
			pages++
			fmt.Fprintf(w, many, pages, "")
		}, list, `host: list memberclusters.kubefederate.io: the response is too large: more than 1000 pages`},
		{"large pages", func(w http.ResponseWriter, _ *http.Request) {
			pages++
			fmt.Fprintf(w, many, pages, `{"metadata":{"name":"`+strings.Repeat("x", 7<<20)+`"}}`)
		}, list, `host: list memberclusters.kubefederate.io: the response is too large: more than 256 MiB`},
		{"an endless event", func(w http.ResponseWriter, _ *http.Request) {
			writes(w, `{"type":"ADDED","object":{"metadata":{"name":"`, "x")
		}, watch, `host: watch memberclusters.kubefederate.io: the response is too large: more than 3 MiB`},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://login.example.com/start?token=x", http.StatusFound)
		}, get, `host: get Namespace "kube-system": the response redirects to "login.example.com" (302), which is not followed since the credential would go there as well`},
		{"a redirect that says nothing", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTemporaryRedirect) }, watch,
			`host: watch memberclusters.kubefederate.io: the response redirects to "" (307), which is not followed since the credential would go there as well`},
	} {
		pages = 0
		c := connectTo(t, tt.answer)
		err := tt.read(t, c)
		if err == nil || strings.ReplaceAll(err.Error(), c.Server(), "SERVER") != tt.err+sure {
			t.Errorf("%s: error %v\nwant %s", tt.name, err, tt.err)
		}
	}
}

// TestRepeatedPage ends where a server sends one page for ever.
func TestRepeatedPage(t *testing.T) {
	t.Parallel()
	c := connectTo(t, func(w http.ResponseWriter, _ *http.Request) {
		sends(`{"metadata":{"continue":"same"},"items":[{}]}`)(w)
	})
	_, _, err := cluster.List[named](t.Context(), c, cluster.MemberClusters, cluster.ListOptions{})
	if want := "host: list memberclusters.kubefederate.io: the server sends the same page again and again"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

// TestLargeObjects reads a list with objects so large that a page of them is not read: one large object must not keep
// others from reading the list.
func TestLargeObjects(t *testing.T) {
	t.Parallel()
	const total = 12
	large := `{"metadata":{"name":"` + strings.Repeat("x", 2<<20) + `"}}`
	c := connectTo(t, func(w http.ResponseWriter, r *http.Request) {
		at, limit := 0, 0
		_, _ = fmt.Sscan(r.URL.Query().Get("continue"), &at)
		_, _ = fmt.Sscan(r.URL.Query().Get("limit"), &limit)
		end, next := min(at+limit, total), ""
		if end < total {
			next = fmt.Sprint(end)
		}
		fmt.Fprintf(w, `{"metadata":{"continue":%q},"items":[%s]}`, next, strings.TrimSuffix(strings.Repeat(large+",", end-at), ","))
	})
	items, _, err := cluster.List[named](t.Context(), c, cluster.MemberClusters, cluster.ListOptions{})
	if err != nil || len(items) != total {
		t.Errorf("%d objects, error %v", len(items), err)
	}
}

// TestRedirects are not followed: neither to another server nor to plain HTTP does the credential go.
func TestRedirects(t *testing.T) {
	t.Parallel()
	var arrived atomic.Int32
	elsewhere := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { arrived.Add(1) })
	plain, encrypted := httptest.NewServer(elsewhere), httptest.NewTLSServer(elsewhere)
	t.Cleanup(plain.Close)
	t.Cleanup(encrypted.Close)
	for _, to := range []string{plain.URL, encrypted.URL} {
		for _, code := range []int{http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect} {
			c := connectTo(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to+r.URL.Path, code) },
				func(config *rest.Config) { config.BearerToken = "secret" })
			_, err := c.Get(t.Context(), cluster.IdentityNamespace)
			if redirect, ok := errors.AsType[*cluster.Redirect](err); !ok || redirect.Code != code || cluster.FaultOf(err) != cluster.FaultBounds {
				t.Errorf("%d to %s: error %v", code, to, err)
			}
		}
	}
	if n := arrived.Load(); n > 0 {
		t.Errorf("%d requests were sent where a redirect leads", n)
	}
}

// TestHeaders of megabytes are not read.
func TestHeaders(t *testing.T) {
	t.Parallel()
	c := connectTo(t, func(w http.ResponseWriter, _ *http.Request) {
		for i := range 100 {
			w.Header().Set(fmt.Sprintf("X-%d", i), strings.Repeat("x", 20<<10))
		}
		sends(`{"kind":"Namespace","apiVersion":"v1","metadata":{"name":"kube-system","uid":"u"}}`)(w)
	})
	_, err := c.Get(t.Context(), cluster.IdentityNamespace)
	if err == nil || !strings.Contains(err.Error(), "server response headers exceeded 65536 bytes") {
		t.Errorf("error %v", err)
	}
}

// TestErrorTextIsBounded cuts what a server sends as the message of a failure.
func TestErrorTextIsBounded(t *testing.T) {
	t.Parallel()
	c := connectTo(t, failsWith(apierrors.NewBadRequest(strings.Repeat("é", 100_000))))
	_, err := c.Get(t.Context(), cluster.IdentityNamespace)
	if text := fmt.Sprint(err); len(text) > 10_000 || !strings.HasSuffix(text, "é…") {
		t.Errorf("%d bytes that end with %q", len(text), text[len(text)-10:])
	}
}

func failsWith(err *apierrors.StatusError) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fails(err)(w) }
}

// TestMemoryLimit ends reading where the process holds as much as its memory limit lets it. It runs alone, since the limit is that
// of the process.
func TestMemoryLimit(t *testing.T) {
	c := connectTo(t, func(w http.ResponseWriter, _ *http.Request) {
		sends(`{"kind":"Namespace","apiVersion":"v1","metadata":{"name":"kube-system","uid":"u"}}`)(w)
	})
	before := debug.SetMemoryLimit(1 << 20)
	_, err := c.Get(t.Context(), cluster.IdentityNamespace)
	debug.SetMemoryLimit(before)
	want := `host: get Namespace "kube-system": the response is too large: what was read so far fills 640 KiB; to read more, set GOMEMLIMIT=1GiB in the environment`
	if err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("error %v\nwant %s", err, want)
	}
	if _, err := c.Get(t.Context(), cluster.IdentityNamespace); err != nil {
		t.Errorf("with more memory: %v", err)
	}
}

// TestManyLargeResponses bounds what many members send at the same time. It runs alone, since the bound is that of the process.
func TestManyLargeResponses(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"kind":"Namespace","apiVersion":"v1","metadata":{"name":"` + strings.Repeat("x", 400<<10)))
		w.(http.Flusher).Flush()
		select {
		case <-release:
		case <-r.Context().Done():
		}
		_, _ = w.Write([]byte(`"}}`))
	}))
	t.Cleanup(server.Close)
	const n = 100
	errs := make(chan error, n)
	for range n {
		c, err := cluster.Connect(cluster.Member, &rest.Config{Host: server.URL})
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			_, err := c.Get(t.Context(), cluster.IdentityNamespace)
			errs <- err
		}()
	}
	// More than fits is given up while the rest still waits.
	const fit = (32 << 20) / (400<<10 - 32<<10)
	for range n - fit - 1 {
		if _, large := errors.AsType[*cluster.TooLarge](<-errs); !large {
			t.Fatal("a response was read, though others fill the bound")
		}
	}
	close(release)
	read := 0
	for range fit + 1 {
		if err := <-errs; err == nil {
			read++
		}
	}
	if read < fit/2 {
		t.Errorf("%d of %d responses that fit were read", read, fit)
	}
	// What was read, or given up, is not counted any more.
	for range 2 {
		c, err := cluster.Connect(cluster.Member, &rest.Config{Host: server.URL})
		if err == nil {
			_, err = c.Get(t.Context(), cluster.IdentityNamespace)
		}
		if err != nil {
			t.Error(err)
		}
	}
}

// endlessLogin is a credential plugin that waits for a person who is not there. It knows no context.
type endlessLogin struct{ http.RoundTripper }

func (endlessLogin) RoundTrip(*http.Request) (*http.Response, error) { select {} }

// TestSilence ends with the context of a request, also while a login is under way.
func TestSilence(t *testing.T) {
	t.Parallel()
	silent := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	for name, c := range map[string]*cluster.Conn{
		"a server": connectTo(t, silent),
		"a login": connectTo(t, func(w http.ResponseWriter, _ *http.Request) { sends(`{}`)(w) }, func(config *rest.Config) {
			config.Wrap(func(next http.RoundTripper) http.RoundTripper { return endlessLogin{next} })
		}),
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		_, err := c.Get(ctx, cluster.IdentityNamespace)
		cancel()
		want := "host: no answer from " + c.Server() + ": timed out: check the endpoint of the context and that this machine can reach it"
		if err == nil || err.Error() != want {
			t.Errorf("%s that does not answer: error %v\nwant %s", name, err, want)
		}
	}
}

// TestSlowLogin is not cut by the bound of an exchange, and what a member takes is bound by nothing but the caller's deadline.
func TestSlowLogin(t *testing.T) {
	t.Parallel()
	for side, want := range map[cluster.Side]time.Duration{cluster.Host: 20 * time.Second, cluster.Member: 0} {
		if got := cluster.ExchangeTimeout(side, &rest.Config{}); got != want {
			t.Errorf("an exchange with the %s is cut after %s, want %s", side, got, want)
		}
		if got := cluster.ExchangeTimeout(side, &rest.Config{Timeout: time.Minute}); got != 0 {
			t.Errorf("an exchange with the %s is cut after %s though the caller sets a bound", side, got)
		}
	}
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(silent.Close)
	bounded := cluster.Bounded(http.DefaultTransport, 50*time.Millisecond)
	slow := slowLogin{bounded}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, silent.URL, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	response, err := slow.RoundTrip(request)
	if err == nil {
		_ = response.Body.Close()
	}
	if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took < 150*time.Millisecond {
		t.Errorf("after %s: error %v", took, err)
	}
}

// slowLogin takes longer than an exchange may.
type slowLogin struct{ http.RoundTripper }

func (s slowLogin) RoundTrip(r *http.Request) (*http.Response, error) {
	<-time.After(100 * time.Millisecond)
	return s.RoundTripper.RoundTrip(r)
}
