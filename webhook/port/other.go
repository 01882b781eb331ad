package port

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/go-logr/logr"
)

// maxOtherConnections are open at one time at a port that is not for reviews.
const maxOtherConnections = 128

// Other opens a port of the manager that is not for reviews, such as the one of its metrics, over TLS unless that is nil. Pods
// reach it as well, so connections and time are bounded as for reviews. The function that is returned answers requests
// until its context ends.
func Other(ctx context.Context, address string, config *tls.Config, handler http.Handler, log logr.Logger) (serve func(context.Context) error, err error) {
	return other(ctx, address, config, handler, log, defaultBounds.read)
}

func other(ctx context.Context, address string, config *tls.Config, handler http.Handler, l logr.Logger, read time.Duration) (func(context.Context) error, error) {
	listener, err := listenAt(ctx, address, maxOtherConnections, func() {})
	if err != nil {
		return nil, err
	}
	var accepts net.Listener = listener
	if config != nil {
		config = config.Clone()
		config.NextProtos = http1
		accepts = tls.NewListener(listener, config)
	}
	server := newHTTPServer(handler, read, l)
	return func(ctx context.Context) error { return serveUntil(ctx, server, accepts) }, nil
}

// http1 is HTTP without HTTP/2: over one connection of that any client could begin and reset streams without end
// (CVE-2023-44487).
var http1 = []string{"http/1.1"}

func listenAt(ctx context.Context, address string, most int, closed func()) (*connections, error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return &connections{Listener: l, max: most, closed: closed}, nil
}

func newHTTPServer(handler http.Handler, read time.Duration, l logr.Logger) *http.Server {
	return &http.Server{
		Handler: handler, ReadHeaderTimeout: read, ReadTimeout: read, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: 16 << 10, ErrorLog: log.New(lines{l}, "", 0),
	}
}

// serveUntil answers requests until the context ends, and then those that it has.
func serveUntil(ctx context.Context, server *http.Server, l net.Listener) error {
	server.BaseContext = func(net.Listener) context.Context { return context.WithoutCancel(ctx) }
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve at %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := server.Shutdown(last); err != nil {
		return errors.Join(fmt.Errorf("answer the last requests at %s: %w", l.Addr(), err), server.Close())
	}
	return nil
}
