package port

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// TestBodies holds which body ends when there are too many.
func TestBodies(t *testing.T) {
	t.Parallel()
	const half, most = unjudgedBodies / 2, unjudgedBodies
	var (
		l       bodies
		stopped []string
	)
	begin := func(name string) *body { return l.begin(func() { stopped = append(stopped, name) }) }
	add := func(b *body, n int, want string) {
		t.Helper()
		if reason := b.add(n); reason != want || l.bytes > most {
			t.Errorf("%q, want %q, with %d bytes", reason, want, l.bytes)
		}
	}
	a, b, c := begin("a"), begin("b"), begin("c")
	add(a, half-1, "")
	add(b, half-1, "")
	add(a, 1, "")
	add(c, 2, "") // in the place of b, which has waited longest
	add(b, 1, reasonSlow)
	if reason := b.whole(); reason != reasonSlow {
		t.Errorf("what was ended is whole: %q", reason)
	}
	// One that is whole is not ended for others; without another one, the last ends.
	if reason := a.whole(); reason != "" {
		t.Errorf("a: %q", reason)
	}
	add(c, half-2, "")
	add(c, 1, reasonReviews)
	d := begin("d")
	add(d, half, "")
	a.end()
	add(d, half, "")
	for _, each := range []*body{b, c, d} {
		each.end()
	}
	if l.bytes != 0 || l.coming.Len() != 0 || fmt.Sprint(stopped) != "[b]" {
		t.Errorf("%d bytes of %d bodies are left; stopped were %v", l.bytes, l.coming.Len(), stopped)
	}
}

// TestSlowLargeBodies holds that clients that send large bodies slowly, or all but their end, turn no large review away.
func TestSlowLargeBodies(t *testing.T) {
	t.Parallel()
	b := defaultBounds
	b.read = time.Minute // they are not ended by time
	s, address := serve(t, b, nil, func(http.ResponseWriter, *http.Request) {})
	attack := func(size int) {
		dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}
		c, err := dialer.DialContext(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", known, maxBody)
		if _, err := c.Write(make([]byte, size)); err != nil {
			t.Fatal(err)
		}
	}
	review := func(size int) {
		t.Helper()
		if code, _, err := post(t, client(), address, known, bytes.NewReader(make([]byte, size))); code != 200 || err != nil {
			t.Errorf("a review of %d bytes: %d %v", size, code, err)
		}
	}
	for range 200 {
		attack(smallBody + 1)
	}
	for _, size := range []int{smallBody + 1, 1 << 20, maxBody} {
		review(size)
	}
	holds(t, s, reasonSlow, 0)
	const whole = 20
	for range whole {
		attack(maxBody - 1)
		review(maxBody)
	}
	// All of the slow ones, and the first of these. The server has yet to answer the last of them.
	ended := func() float64 { return testutil.ToFloat64(s.rejected.WithLabelValues(reasonSlow)) }
	patience := time.After(time.Minute)
	for ended() < 200 {
		select {
		case <-time.After(time.Millisecond):
		case <-patience:
			t.Fatalf("%v bodies were ended for others", ended())
		}
	}
	s.unjudged.mu.Lock()
	defer s.unjudged.mu.Unlock()
	if s.unjudged.bytes > unjudgedBodies {
		t.Errorf("%d bytes are held", s.unjudged.bytes)
	}
}
