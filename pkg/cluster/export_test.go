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

// CountValues counts the values of data that is read in parts of a size.
func CountValues(data []byte, size int) int {
	const many = 1 << 62
	c := counter{limit: limit{many, many}}
	for len(data) > 0 {
		n := min(size, len(data))
		_ = c.count(data[:n]) // within the limit
		data = data[n:]
	}
	return c.values
}
