package cluster

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/transport"
)

const (
	// hostTimeout bounds one exchange with the host where the caller sets no bound: a command that only reads has no deadline,
	// and a server that accepts connections and never answers must not hold it for ever. A login is not part of the exchange.
	hostTimeout = 20 * time.Second
	// maxHeaderBytes bounds the headers of a response; those of an API server are hundreds of bytes.
	maxHeaderBytes = 64 << 10
	// maxStreamBuffer is what an HTTP/2 server may send ahead of what is read of a response.
	maxStreamBuffer = 1 << 20
)

// newClient is rest.HTTPClientFor with bounds: on headers, on bodies, on the time that a login may take, and with no
// redirects. Its connections are its own.
func newClient(side Side, config *rest.Config) (*http.Client, error) {
	c, tlsConfig, shared, err := userTransport(config)
	if err != nil {
		return nil, err
	}
	dial := (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	if c.DialHolder != nil { // a credential plugin that gives certificates ends connections that have an old one
		dial = c.DialHolder.Dial
	}
	proxy := http.ProxyFromEnvironment
	if c.Proxy != nil {
		proxy = c.Proxy
	}
	network := utilnet.SetTransportDefaults(&http.Transport{
		Proxy: proxy, DialContext: dial, TLSClientConfig: tlsConfig, TLSHandshakeTimeout: 10 * time.Second, MaxIdleConnsPerHost: 25,
		MaxResponseHeaderBytes: maxHeaderBytes, HTTP2: &http.HTTP2Config{MaxReceiveBufferPerStream: maxStreamBuffer},
		DisableCompression: c.DisableCompression, OnProxyConnectResponse: connected,
	})
	wrapped, err := transport.HTTPWrappersForConfig(c, onlyAPI{&bounded{RoundTripper: network, side: side, timeout: exchangeTimeout(side, config)}})
	if err != nil {
		return nil, err
	}
	return &http.Client{Transport: &interruptible{&withLogin{wrapped, shared}}, Timeout: config.Timeout}, nil
}

// userTransport is what sends the requests of a configuration's user, but the network: with the user's own login, of which processes that
// start one program share what it gives.
func userTransport(config *rest.Config) (c *transport.Config, tlsConfig *tls.Config, shared *sharedLogin, err error) {
	login, err := loginOf(config)
	if err != nil {
		return nil, nil, nil, err
	}
	others := rest.CopyConfig(config)
	others.AuthProvider = nil
	shared = sharedLoginOf(config)
	if c, err = shared.transportConfig(others); err != nil {
		return nil, nil, nil, err
	}
	if login != nil {
		c.Wrap(login)
	}
	tlsConfig, err = transport.TLSConfigFor(c)
	return c, tlsConfig, shared, err
}

// exchangeTimeout is how long an exchange may take; 0 is no bound but that of its context.
func exchangeTimeout(side Side, config *rest.Config) time.Duration {
	if side == Host && config.Timeout == 0 {
		return hostTimeout
	}
	return 0
}

// bounded sends requests and bounds what is read of the responses.
type bounded struct {
	http.RoundTripper
	side    Side
	timeout time.Duration
}

// RoundTrip implements http.RoundTripper. A redirect is an error: where it leads the credential would go as well.
func (b *bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	limit, watch := limitOf(r.Context(), b.side)
	cancel := context.CancelFunc(func() {})
	if b.timeout > 0 && !watch {
		ctx, stop := context.WithTimeout(r.Context(), b.timeout)
		r, cancel = r.WithContext(ctx), stop
	}
	response, err := b.RoundTripper.RoundTrip(r)
	if err != nil {
		cancel()
		return nil, err
	}
	readClock(r.Context(), response.Header)
	if code := response.StatusCode; code >= 300 && code < 400 {
		_ = response.Body.Close()
		cancel()
		redirect := &Redirect{Code: code}
		if to, err := response.Location(); err == nil {
			redirect.Host = to.Host
		}
		return nil, redirect
	}
	if err := enoughMemory(); err != nil {
		_ = response.Body.Close()
		cancel()
		return nil, err
	}
	if response.StatusCode >= http.StatusBadRequest {
		limit = objectLimit(Member)
	}
	response.Body = &body{ReadCloser: response.Body, counter: counter{limit: limit}, shared: !watch, reading: reading[b.side], closed: cancel}
	return response, nil
}

// WrappedRoundTripper lets idle connections be closed.
func (b *bounded) WrappedRoundTripper() http.RoundTripper { return b.RoundTripper }

// Redirect is a response that leads elsewhere. It is not followed.
type Redirect struct {
	Code int
	// Host is where it leads to; empty when it does not say.
	Host string
}

func (r *Redirect) Error() string {
	return fmt.Sprintf("the response redirects to %s (%d), which is not followed since the credential would go there as well", Quoted(Shortened(r.Host)), r.Code)
}

// body is the body of a response, which is an error where it is larger than its limit.
type body struct {
	io.ReadCloser
	counter
	// shared says whether what is read of it counts in reading, and taken how much does.
	shared  bool
	reading *atomic.Int64
	taken   int64
	closed  func()
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if large := b.count(p[:n]); large != nil {
		return 0, large
	}
	if over := int64(b.bytes) - freeBytes - b.taken; b.shared && over > 0 {
		b.taken += over
		if b.reading.Add(over) > maxReading {
			return 0, &TooLarge{What: fmt.Sprintf("more than %s while others of %s in all are read", size(freeBytes), size(maxReading))}
		}
	}
	return n, err
}

func (b *body) Close() error {
	b.reading.Add(-b.taken)
	b.taken = 0
	err := b.ReadCloser.Close()
	b.closed()
	return err
}

// interruptible ends a request with its context also while a login is under way, which knows no context: a credential plugin,
// or an issuer of ID tokens that does not answer.
type interruptible struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (i *interruptible) RoundTrip(r *http.Request) (*http.Response, error) {
	type result struct {
		response *http.Response
		err      error
	}
	results := make(chan result, 1)
	go func() {
		response, err := i.RoundTripper.RoundTrip(r) //nolint:bodyclose // who gets it closes it
		results <- result{response, err}
	}()
	select {
	case got := <-results:
		return got.response, got.err
	case <-r.Context().Done():
		go func() {
			if late := <-results; late.err == nil {
				_ = late.response.Body.Close()
			}
		}()
		return nil, r.Context().Err()
	}
}

// WrappedRoundTripper lets idle connections be closed.
func (i *interruptible) WrappedRoundTripper() http.RoundTripper { return i.RoundTripper }
