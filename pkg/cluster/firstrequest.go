package cluster

import (
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
)

// firstRequestFirst sends the first request of a connection alone; others wait until it has a connection, which they then share,
// or has failed. Without it, requests that are sent at once to a new server open a TLS connection each, some 50 in a join, since
// the client does not know yet that the server speaks HTTP/2: that took more time than everything else.
type firstRequestFirst struct {
	http.RoundTripper
	sent atomic.Bool
	// open is closed when the first request is on its way, or has failed before.
	open chan struct{}
}

func newFirstRequestFirst(next http.RoundTripper) http.RoundTripper {
	return &firstRequestFirst{RoundTripper: next, open: make(chan struct{})}
}

// RoundTrip implements http.RoundTripper.
func (f *firstRequestFirst) RoundTrip(r *http.Request) (*http.Response, error) {
	loggedIn(r)
	if f.sent.CompareAndSwap(false, true) {
		opened := sync.OnceFunc(func() { close(f.open) })
		defer opened()
		trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { opened() }}
		return f.RoundTripper.RoundTrip(r.WithContext(httptrace.WithClientTrace(r.Context(), trace)))
	}
	select {
	case <-f.open:
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	return f.RoundTripper.RoundTrip(r)
}

// WrappedRoundTripper lets idle connections be closed.
func (f *firstRequestFirst) WrappedRoundTripper() http.RoundTripper { return f.RoundTripper }
