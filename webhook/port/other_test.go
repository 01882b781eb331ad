package port

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
)

// TestOther holds that connections to a port which is not for reviews are bounded in number and time, with TLS and without.
func TestOther(t *testing.T) {
	t.Parallel()
	certificates := httptest.NewTLSServer(nil)
	t.Cleanup(certificates.Close)
	for name, config := range map[string]*tls.Config{
		"TLS": {MinVersion: tls.VersionTLS12, Certificates: certificates.TLS.Certificates}, "no TLS": nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			free, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			address := free.Addr().String()
			_ = free.Close()
			serve, err := other(t.Context(), address, config, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), logr.Discard(), 3*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			ctx, end := context.WithCancel(context.WithoutCancel(t.Context()))
			var serving sync.WaitGroup
			serving.Go(func() {
				if err := serve(ctx); err != nil {
					t.Error(err)
				}
			})
			defer serving.Wait()
			defer end()
			dial := func() net.Conn {
				c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
				if err != nil {
					t.Fatal(err)
				}
				if config != nil {
					c = tls.Client(c, &tls.Config{InsecureSkipVerify: true})
				}
				return c
			}
			// Each holds a request that does not end.
			began := time.Now()
			var held sync.WaitGroup
			for range 2 * maxOtherConnections {
				c := dial()
				defer c.Close()
				held.Go(func() {
					fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: a\r\nX-")
					_, _ = io.Copy(io.Discard, c)
				})
			}
			c := dial()
			defer c.Close()
			fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
			r, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil || r.StatusCode != http.StatusOK {
				t.Fatalf("a request meanwhile: %v", err)
			}
			_ = r.Body.Close()
			held.Wait()
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("requests that do not end are ended after %s", took)
			}
		})
	}
}
