package cluster

import (
	"net/http"
	"time"
)

// ExchangeTimeout is exchangeTimeout.
var ExchangeTimeout = exchangeTimeout

// Bounded bounds exchanges with the host.
func Bounded(next http.RoundTripper, timeout time.Duration) http.RoundTripper {
	return &bounded{RoundTripper: next, side: Host, timeout: timeout}
}
