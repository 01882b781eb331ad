package cluster

import (
	"net/http"
	"sync/atomic"
)

// vanguard lets the first request of a connection go alone; others wait until it is answered, or has failed. Requests that
// are sent at once to a server that nobody has talked to yet open a TLS connection each, some 50 in a join, since nobody
// knows that it speaks HTTP/2: that took more time than everything else.
type firstRequestFirst struct {
	http.RoundTripper
	sent atomic.Bool
	// back is closed when the first request has ended.
	back chan struct{}
}

func newFirstRequestFirst(next http.RoundTripper) http.RoundTripper {
	return &firstRequestFirst{RoundTripper: next, back: make(chan struct{})}
}

// RoundTrip implements http.RoundTripper.
func (v *firstRequestFirst) RoundTrip(r *http.Request) (*http.Response, error) {
	if v.sent.CompareAndSwap(false, true) {
		defer close(v.back)
		return v.RoundTripper.RoundTrip(r)
	}
	select {
	case <-v.back:
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	return v.RoundTripper.RoundTrip(r)
}

// WrappedRoundTripper lets idle connections be closed.
func (v *firstRequestFirst) WrappedRoundTripper() http.RoundTripper { return v.RoundTripper }
