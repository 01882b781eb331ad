//go:build unix

package host

import (
	"context"
	"io"
	"net"
	"sync"
)

// Balancer forwards connections to managers in turn, as a Service does to pods. API servers speak HTTP/1.1 to
// webhooks, so requests at one time come over connections of their own.
type Balancer struct {
	// URL is where it listens.
	URL string

	listener net.Listener
	mu       sync.Mutex
	backends []string
	next     int
}

// Balance listens on a free port of the loopback interface for the managers.
func Balance(managers ...*Manager) (*Balancer, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	b := &Balancer{URL: "https://" + l.Addr().String(), listener: l}
	for _, m := range managers {
		b.backends = append(b.backends, m.address)
	}
	go b.serve()
	return b, nil
}

// Close ends it for new connections.
func (b *Balancer) Close() { _ = b.listener.Close() }

func (b *Balancer) serve() {
	for {
		client, err := b.listener.Accept()
		if err != nil {
			return
		}
		go b.forward(client)
	}
}

// forward takes the next manager that listens.
func (b *Balancer) forward(client net.Conn) {
	defer client.Close()
	var dialer net.Dialer
	for range b.backends {
		b.mu.Lock()
		address := b.backends[b.next%len(b.backends)]
		b.next++
		b.mu.Unlock()
		server, err := dialer.DialContext(context.Background(), "tcp", address)
		if err != nil {
			continue
		}
		go func() {
			_, _ = io.Copy(server, client)
			_ = server.Close()
		}()
		_, _ = io.Copy(client, server)
		_ = server.Close()
		return
	}
}
