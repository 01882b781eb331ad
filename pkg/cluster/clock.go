package cluster

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"
)

// Clock is what the clock of a server showed when it answered a request.
type Clock struct{ date atomic.Pointer[time.Time] }

// clockKey is the key of the Clock of a request.
type clockKey struct{}

// Of returns ctx for a request, whose response sets the clock.
func (c *Clock) Of(ctx context.Context) context.Context {
	return context.WithValue(ctx, clockKey{}, c)
}

// Now is the Date header of the response (RFC 9110, section 6.6.1), which shows whole seconds; zero where there was none.
func (c *Clock) Now() time.Time {
	if date := c.date.Load(); date != nil {
		return *date
	}
	return time.Time{}
}

// ReadsClock sends requests through next, and sets the Clock that is asked for.
func ReadsClock(next http.RoundTripper) http.RoundTripper { return clockReader{next} }

type clockReader struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (r clockReader) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := r.RoundTripper.RoundTrip(request)
	if err == nil {
		readClock(request.Context(), response.Header)
	}
	return response, err
}

// WrappedRoundTripper lets idle connections be closed.
func (r clockReader) WrappedRoundTripper() http.RoundTripper { return r.RoundTripper }

// readClock sets the Clock of ctx.
func readClock(ctx context.Context, header http.Header) {
	clock, asked := ctx.Value(clockKey{}).(*Clock)
	if !asked {
		return
	}
	if date, err := http.ParseTime(header.Get("Date")); err == nil {
		clock.date.Store(&date)
	}
}
