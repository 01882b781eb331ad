package cluster

import (
	"net/http"
	"sync/atomic"
)

// firstRequestFirst sends the first request of a connection alone; others wait until it is answered, or has failed. Without
// it, requests that are sent at once to a new server open a TLS connection each, some 50 in a join, since the client does not
// know yet that the server speaks HTTP/2: that took more time than everything else.
type firstRequestFirst struct {
	http.RoundTripper
	sent atomic.Bool
	// ended is closed when the first request has ended.
	ended chan struct{}
}

func newFirstRequestFirst(next http.RoundTripper) http.RoundTripper {
	return &firstRequestFirst{RoundTripper: next, ended: make(chan struct{})}
}

// RoundTrip implements http.RoundTripper.
func (f *firstRequestFirst) RoundTrip(r *http.Request) (*http.Response, error) {
	loggedIn(r)
	if f.sent.CompareAndSwap(false, true) {
		defer close(f.ended)
		return f.RoundTripper.RoundTrip(r)
	}
	select {
	case <-f.ended:
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	return f.RoundTripper.RoundTrip(r)
}

// WrappedRoundTripper lets idle connections be closed.
func (f *firstRequestFirst) WrappedRoundTripper() http.RoundTripper { return f.RoundTripper }
