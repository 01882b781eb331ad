package cluster_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

// TestOneConnection sends many requests at once to a server that speaks HTTP/2: one connection carries them all. Without the
// one that goes ahead each opens its own.
func TestOneConnection(t *testing.T) {
	var connections atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"kube-system","uid":"one"}}`))
	}))
	server.EnableHTTP2 = true
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	c, err := cluster.Connect(cluster.Host, &rest.Config{Host: server.URL, TLSClientConfig: rest.TLSClientConfig{Insecure: true}})
	if err != nil {
		t.Fatal(err)
	}
	errs := cluster.ForEach(30, func(int) error { _, err := c.ID(t.Context()); return err })
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if n := connections.Load(); n != 1 {
		t.Errorf("%d requests at once made %d connections", len(errs), n)
	}
}

// TestSecondRequest holds that a request does not wait for the answer of the first one: here the server answers neither before it
// has both.
func TestSecondRequest(t *testing.T) {
	var came sync.WaitGroup
	came.Add(2)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		came.Done()
		came.Wait()
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"kube-system","uid":"one"}}`))
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	c, err := cluster.Connect(cluster.Host, &rest.Config{Host: server.URL, Timeout: 10 * time.Second, TLSClientConfig: rest.TLSClientConfig{Insecure: true}})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(cluster.ForEach(2, func(int) error { _, err := c.ID(t.Context()); return err })...); err != nil {
		t.Error(err)
	}
}

// TestSilentServer asks a server that takes connections and says nothing: requests that wait for the first one take no longer
// than that.
func TestSilentServer(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	c, err := cluster.Connect(cluster.Host, &rest.Config{Host: "https://" + silent.Addr().String(), Timeout: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, err := range cluster.ForEach(10, func(int) error { _, err := c.ID(ctx); return err }) {
		if cluster.FaultOf(err) != cluster.FaultUnreachable {
			t.Errorf("a server that says nothing: %v", err)
		}
	}
}
