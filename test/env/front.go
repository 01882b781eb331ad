//go:build unix

package env

import (
	"bytes"
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"time"

	"k8s.io/client-go/rest"
	certutil "k8s.io/client-go/util/cert"
)

// Front stands in front of a cluster for programs whose requests a test wants to see, hold or drop.
type Front struct {
	// Context leads through it, as an administrator.
	Context
	server *httptest.Server
}

// frontToken is the token of a front's administrator.
const frontToken = "front"

// Front starts a server that hands each request to handle, with its whole body read, so that r's context ends
// when the client has gone. pass hands it on to the cluster: with the administrator's certificate where it came
// with the front's Context, and else with the token that it came with. A write that was handed on is carried to its
// end, even when the client goes.
func (c *Cluster) Front(handle func(w http.ResponseWriter, r *http.Request, pass http.Handler)) (*Front, error) {
	config := c.Config()
	target, err := url.Parse(config.Host)
	if err != nil {
		return nil, err
	}
	admin, err := rest.TransportFor(config)
	if err != nil {
		return nil, err
	}
	anonymous, err := rest.TransportFor(rest.AnonymousClientConfig(config))
	if err != nil {
		return nil, err
	}
	pass := &httputil.ReverseProxy{FlushInterval: -1, Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(target) }}
	pass.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }
	pass.Transport = RoundTripper(func(r *http.Request) (*http.Response, error) {
		if r.Header.Get("Authorization") != "Bearer "+frontToken {
			return anonymous.RoundTrip(r)
		}
		r.Header.Del("Authorization")
		return admin.RoundTrip(r)
	})
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler) // the client has gone
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		handle(w, r, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodGet {
				r = r.WithContext(context.WithoutCancel(r.Context()))
			}
			pass.ServeHTTP(w, r)
		}))
	}))
	server.Config.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
		return context.WithValue(ctx, acceptedKey{}, time.Now())
	}
	server.EnableHTTP2 = true                           // as API servers do
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // clients end in the middle of a handshake
	server.StartTLS()
	ca, err := certutil.EncodeCertificates(server.Certificate())
	if err != nil {
		return nil, err
	}
	return &Front{server: server, Context: Context{Name: c.Name, Config: &rest.Config{
		Host: server.URL, BearerToken: frontToken, TLSClientConfig: rest.TLSClientConfig{CAData: ca},
	}}}, nil
}

type acceptedKey struct{}

// Accepted is when the connection of a front's request began. What a process sent before it ended may arrive while the
// next one is at work.
func Accepted(r *http.Request) time.Time {
	at, _ := r.Context().Value(acceptedKey{}).(time.Time)
	return at
}

// Close waits until the last request is answered.
func (f *Front) Close() { f.server.Close() }

// RoundTripper is a function that answers requests.
type RoundTripper func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f RoundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
