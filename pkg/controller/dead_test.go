package controller

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
)

// pipes are connections in memory: they take no time but that of the test's clock.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	if c, ok := <-p; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p pipes) dial(ctx context.Context) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case p <- there:
		return here, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// serve answers what is dialled, to the end of the test.
func (p pipes) serve(t *testing.T, handler http.HandlerFunc) {
	t.Helper()
	certificate := httptest.NewUnstartedServer(nil)
	certificate.StartTLS()
	config := &tls.Config{Certificates: certificate.TLS.Certificates}
	certificate.Close()
	server := &http.Server{Handler: handler, ErrorLog: log.New(io.Discard, "", 0)}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(tls.NewListener(p, config)) })
	t.Cleanup(func() {
		close(p)
		_ = server.Close()
		serving.Wait()
	})
}

// followOver follows a member that is reached by dial, and has its name as its token.
func followOver(t *testing.T, p *prober, name string, dial func(context.Context) (net.Conn, error)) {
	t.Helper()
	access := &kubeconfig.Access{Endpoint: endpoint.Endpoint{Server: "https://192.0.2.1", InsecureSkipTLSVerify: true}, Token: name}
	if _, err := p.follow(name, target{id: "x"}, opening(access), known{granted: true}); err != nil {
		t.Fatal(err)
	}
	p.members[name].conn.transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) }
}

// cycles follows members that never answer, and others that do, and gives how long the live ones waited from one probe to
// the next. It plays on the test's clock.
func cycles(t *testing.T, dead, live int, long time.Duration, change func(*prober)) (waits []time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var (
			mu   sync.Mutex
			last = map[string]time.Time{}
		)
		listener := make(pipes)
		listener.serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != askID {
				fmt.Fprint(w, `{}`)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			name := r.Header.Get("Authorization")
			if before, ok := last[name]; ok {
				waits = append(waits, time.Since(before))
			}
			last[name] = time.Now()
			fmt.Fprint(w, `{"metadata":{"uid":"x"}}`)
		})
		p := probing(t, 30*time.Second, 10*time.Second)
		if change != nil {
			change(p)
		}
		for i := range max(dead, live) {
			if i < dead {
				followOver(t, p, fmt.Sprint("dead-", i), func(ctx context.Context) (net.Conn, error) {
					<-ctx.Done()
					return nil, ctx.Err()
				})
			}
			if i < live {
				followOver(t, p, fmt.Sprint("live-", i), listener.dial)
			}
		}
		start(t, p)
		time.Sleep(long) //nolint:forbidigo // on the test's clock
	})
	slices.Sort(waits)
	return waits
}

// TestDeadMembers holds that 5,000 members that do not answer, from the first probe on, do not delay those that do.
func TestDeadMembers(t *testing.T) {
	t.Parallel()
	const dead, live, most = 5000, 100, 36 * time.Second
	waits := cycles(t, dead, live, 2*time.Minute, nil)
	if len(waits) < 3*live {
		t.Fatalf("%d live members were probed %d times", live, len(waits))
	}
	t.Logf("beside %d dead members, the cycle of %d live ones is %s at most, %s in the median", dead, live, waits[len(waits)-1], waits[len(waits)/2])
	if longest := waits[len(waits)-1]; longest > most {
		t.Errorf("a live member waited %s, more than %s", longest, most)
	}
	// The negative control: the dead keep their places.
	waits = cycles(t, dead/2, live, 2*time.Minute, func(p *prober) { p.slowAfter = time.Hour })
	if len(waits) > 0 && waits[len(waits)-1] <= most {
		t.Errorf("without places of their own, the dead delay no other member: %s", waits[len(waits)-1])
	}
}
