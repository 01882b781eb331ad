package port

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubefederate/kubectl-federate/manifests"
)

const known = "/validate/known"

// serve starts a server whose known path leads to a handler.
func serve(t *testing.T, b bounds, ca *ClientCA, handler http.HandlerFunc) (s *Server, address string) {
	t.Helper()
	// For its certificate.
	other := httptest.NewTLSServer(nil)
	t.Cleanup(other.Close)
	s, err := listen(t.Context(), Options{
		Address: "127.0.0.1:0", TLS: &tls.Config{MinVersion: tls.VersionTLS12, Certificates: other.TLS.Certificates}, ClientCA: ca, Log: logr.Discard(),
		Route: func(path string) http.Handler {
			if path == known {
				return handler
			}
			return nil
		},
	}, b)
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(context.WithoutCancel(t.Context()))
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := s.Serve(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		end()
		serving.Wait()
	})
	return s, s.listener.Addr().String()
}

// client trusts every server and has one connection, for one request.
func client(certificates ...tls.Certificate) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true, Certificates: certificates},
	}}
}

func post(t *testing.T, c *http.Client, address, path string, body io.Reader) (code int, text string, err error) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+address+path, body)
	if err != nil {
		t.Fatal(err)
	}
	response, err := c.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	return response.StatusCode, strings.TrimSpace(string(answer)), err
}

// holds asserts how much was turned away for a reason.
func holds(t *testing.T, s *Server, reason string, want float64) {
	t.Helper()
	if got := testutil.ToFloat64(s.rejected.WithLabelValues(reason)); got != want {
		t.Errorf("%v were turned away for %s, want %v", got, reason, want)
	}
}

func TestRequests(t *testing.T) {
	t.Parallel()
	s, address := serve(t, defaultBounds, nil, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		deadline, has := r.Context().Deadline()
		if left := time.Until(deadline); err != nil || !has || left > 4*time.Second {
			t.Errorf("the handler has %s left (%v)", left, err)
		}
		fmt.Fprint(w, len(body))
	})
	// An API server keeps its connections, and so reads the answer although it still sends the body.
	apiServer := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer apiServer.CloseIdleConnections()
	chunked := func(n int) io.Reader { return io.MultiReader(bytes.NewReader(make([]byte, n))) }
	for name, test := range map[string]struct {
		path   string
		body   io.Reader
		code   int
		text   string
		reason string
	}{
		"a review":            {known, bytes.NewReader(make([]byte, 9000)), 200, "9000", ""},
		"a large one":         {known, bytes.NewReader(make([]byte, 3<<20)), 200, strconv.Itoa(3 << 20), ""},
		"without length":      {known, chunked(70_000), 200, "70000", ""},
		"another path":        {known + "/", bytes.NewReader(make([]byte, 9000)), 404, "Not Found", reasonPath},
		"no path":             {"/", nil, 404, "Not Found", reasonPath},
		"too large":           {known, bytes.NewReader(make([]byte, maxBody+1)), 413, "Request Entity Too Large", reasonSize},
		"too large, in parts": {known, chunked(maxBody + 1), 413, "Request Entity Too Large", reasonSize},
	} {
		before := 0.0
		if test.reason != "" {
			before = testutil.ToFloat64(s.rejected.WithLabelValues(test.reason))
		}
		code, text, err := post(t, apiServer, address, test.path, test.body)
		if err != nil && test.code == http.StatusRequestEntityTooLarge {
			continue // the server closed the connection before all was sent
		}
		if err != nil || code != test.code || text != test.text {
			t.Errorf("%s: %d %s, %v", name, code, text, err)
		}
		if test.reason != "" {
			holds(t, s, test.reason, before+1)
		}
	}
}

// TestSlowBodies holds that bodies that do not come are given up, and hold up no other review meanwhile.
func TestSlowBodies(t *testing.T) {
	t.Parallel()
	b := defaultBounds
	b.read = 3 * time.Second // enough for the handshake on a busy machine
	s, address := serve(t, b, nil, func(http.ResponseWriter, *http.Request) {})
	const slow = 50
	var over sync.WaitGroup
	for i := range slow {
		c, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		length := 1000
		if i%2 == 0 {
			length = maxBody
		}
		fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\nhalf of it", known, length)
		over.Go(func() {
			// The server ends it.
			_, _ = io.Copy(io.Discard, c)
		})
	}
	if code, _, err := post(t, client(), address, known, strings.NewReader("{}")); code != 200 || err != nil {
		t.Errorf("a review meanwhile: %d %v", code, err)
	}
	over.Wait()
	if got := testutil.ToFloat64(s.rejected.WithLabelValues(reasonBody)) + testutil.ToFloat64(s.rejected.WithLabelValues(reasonReviews)); got != slow {
		t.Errorf("%v bodies were given up", got)
	}
}

// TestTurns holds that reviews are judged a bounded number at a time, and that what does not get its turn is to be sent again.
func TestTurns(t *testing.T) {
	t.Parallel()
	b := defaultBounds
	b.turn, b.review, b.late = 100*time.Millisecond, time.Minute, time.Minute
	hold, held := make(chan struct{}), make(chan struct{}, 300)
	s, address := serve(t, b, nil, func(http.ResponseWriter, *http.Request) {
		held <- struct{}{}
		<-hold
	})
	var over sync.WaitGroup
	send := func(size int) {
		over.Go(func() {
			if code, _, err := post(t, client(), address, known, bytes.NewReader(make([]byte, size))); code != 200 || err != nil {
				t.Errorf("a review: %d %v", code, err)
			}
		})
	}
	for range smallBodies / minCost {
		send(10)
	}
	for range largeBodies / maxBody {
		send(maxBody)
	}
	for range smallBodies/minCost + largeBodies/maxBody {
		<-held
	}
	for _, size := range []int{10, smallBody + 1} {
		if code, text, err := post(t, client(), address, known, bytes.NewReader(make([]byte, size))); code != 429 || err != nil {
			t.Errorf("one more: %d %s %v", code, text, err)
		}
	}
	const (
		review = `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"r-1","object":{}}}`
		want   = `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","response":{"uid":"r-1","allowed":false,"status":{"metadata":{},"status":"Failure","message":"the kubefederate webhook has too many reviews at one time: try again in a moment","reason":"TooManyRequests","details":{"retryAfterSeconds":1},"code":429}}}`
	)
	if code, text, err := post(t, client(), address, known, strings.NewReader(review)); code != 200 || text != want || err != nil {
		t.Errorf("a review: %d %s %v", code, text, err)
	}
	holds(t, s, reasonReviews, 3)
	close(hold)
	over.Wait()
	if code, _, err := post(t, client(), address, known, strings.NewReader("{}")); code != 200 || err != nil {
		t.Errorf("afterwards: %d %v", code, err)
	}
}

// TestLateJudgement holds that a review is answered even if its judgement does not end, and by the judgement if that ends with its
// time.
func TestLateJudgement(t *testing.T) {
	t.Parallel()
	end := make(chan struct{})
	defer close(end)
	for name, test := range map[string]struct {
		late   time.Duration
		judges http.HandlerFunc
		code   int
		text   string
		count  float64
	}{
		"without end": {20 * time.Millisecond, func(http.ResponseWriter, *http.Request) { <-end }, 503, "the review could not be judged in time: try again", 1},
		"says why": {time.Minute, func(w http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			_, _ = io.WriteString(w, "why")
		}, 200, "why", 0},
	} {
		b := defaultBounds
		b.review, b.late = 10*time.Millisecond, test.late
		s, address := serve(t, b, nil, test.judges)
		if code, text, err := post(t, client(), address, known, strings.NewReader("{}")); code != test.code || text != test.text || err != nil {
			t.Errorf("%s: %d %s %v", name, code, text, err)
		}
		holds(t, s, reasonTimeout, test.count)
	}
}

// TestConnections holds that those that carry no reviews are closed for those that do.
func TestConnections(t *testing.T) {
	t.Parallel()
	b := defaultBounds
	b.connections = 20
	s, address := serve(t, b, nil, func(http.ResponseWriter, *http.Request) {})
	apiServer := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	review := func() {
		t.Helper()
		if code, _, err := post(t, apiServer, address, known, strings.NewReader("{}")); code != 200 || err != nil {
			t.Fatalf("%d %v", code, err)
		}
	}
	review()
	var dialer net.Dialer
	var held []net.Conn
	for i := range 100 {
		c, err := dialer.DialContext(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if i%2 == 0 {
			held = append(held, c)
			continue
		}
		// As far as who does not know the path gets.
		other := tls.Client(c, &tls.Config{InsecureSkipVerify: true})
		fmt.Fprintf(other, "POST /guessed HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
		r, err := http.ReadResponse(bufio.NewReader(other), nil)
		if err != nil || r.StatusCode != http.StatusNotFound {
			t.Fatalf("guessed: %v", err)
		}
		_ = r.Body.Close()
		review() // over the connection that it has
	}
	s.listener.mu.Lock()
	open, used := s.listener.fresh.Len()+s.listener.used.Len(), s.listener.used.Len()
	s.listener.mu.Unlock()
	if open > b.connections || used != 1 {
		t.Errorf("%d connections are open, %d of them with reviews", open, used)
	}
	if testutil.ToFloat64(s.rejected.WithLabelValues(reasonConnections)) == 0 {
		t.Error("none was closed for another one")
	}
	_ = held[0].SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := held[0].Read(make([]byte, 1)); err == nil {
		t.Error("the oldest is open")
	}
}

// TestAnswersComeInTime holds that a review is answered before API servers give it up, as the configuration that is installed says
// when: what they print then shows the path.
func TestAnswersComeInTime(t *testing.T) {
	t.Parallel()
	all, err := manifests.Objects(manifests.Options{})
	if err != nil {
		t.Fatal(err)
	}
	calls := 0
	for _, o := range all {
		if o.GetName() != manifests.WebhookConfiguration {
			continue
		}
		webhooks, _, _ := unstructured.NestedSlice(o.Object, "webhooks")
		for _, w := range webhooks {
			given, err := time.ParseDuration(fmt.Sprint(w.(map[string]any)["timeoutSeconds"], "s"))
			if err != nil {
				t.Fatal(err)
			}
			if b := defaultBounds; b.turn >= b.review || b.review >= b.late || given-b.late < time.Second/2 {
				t.Errorf("API servers wait %s for %v, and it is answered within %+v", given, w.(map[string]any)["name"], b)
			}
			calls++
		}
	}
	if calls == 0 {
		t.Error("the configuration has no webhooks")
	}
}
