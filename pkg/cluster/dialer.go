package cluster

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"sync"
	"syscall"
	"time"

	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
)

const (
	// dialTimeout bounds a dial with all addresses of a name.
	dialTimeout = 30 * time.Second
	// hostAddressesAge is how long the addresses of the host's API server are used before they are looked up again.
	hostAddressesAge = time.Minute
)

// serviceHost is the environment variable in which a pod finds the address of its cluster's API server.
const serviceHost = "KUBERNETES_SERVICE_HOST"

// Dialer keeps connections to a discovered cluster where its federation allows them: at each dial, the address that is dialled is
// judged, which is what a name resolved to then. What it refuses is an *endpoint.NotAllowed in the error.
type Dialer struct {
	// Allow is the allow-list as it is now. It is asked at each dial.
	Allow func() endpoint.AllowList
	// Host has the addresses that are never dialled.
	Host *HostAddresses

	resolver *net.Resolver
}

// Apply has all connections of a configuration be made by the dialer. A proxy that the environment of this process names, rather than
// the configuration, is used only where an entry names it, which "*" does not: a proxy reaches what this process must not, so
// a list that allows everything does not mean it.
func (d Dialer) Apply(config *rest.Config) {
	config.Dial = d.DialContext
	own, environment := config.Proxy, http.ProxyFromEnvironment
	config.Proxy = func(r *http.Request) (*url.URL, error) {
		return d.proxy(r, own, environment)
	}
}

type proxyFunc func(*http.Request) (*url.URL, error)

// configuredOnly, in the context of a request, asks for the proxy of the configuration and not of the environment.
type configuredOnly struct{}

// proxy is the proxy for a request; nil for none. Through one, the server is judged by its name, since no address of it is seen here.
func (d Dialer) proxy(r *http.Request, own, environment proxyFunc) (*url.URL, error) {
	allow := d.Allow()
	var proxy *url.URL
	var err error
	if own != nil {
		proxy, err = own(r)
	} else if r.Context().Value(configuredOnly{}) != nil {
		return nil, nil
	} else if proxy, err = environment(r); err == nil && proxy != nil && !allow.Named(proxy.Hostname()) {
		proxy = nil
	}
	if err != nil || proxy == nil {
		return nil, err
	}
	server := url.URL{Scheme: r.URL.Scheme, Host: r.URL.Host}
	return proxy, allow.Judge(endpoint.Endpoint{Server: server.String(), ProxyURL: proxy.String()})
}

// DialContext connects to an address that is a host, or an IP address, and a port. Each address that the host resolves to is judged
// before it is dialled, and the first that is allowed and answers is taken.
func (d Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	allow := d.Allow()
	if err := allow.Name(host); err != nil {
		return nil, err
	}
	own, err := d.Host.Get(ctx)
	if err != nil {
		return nil, err
	}
	var refused error
	var mu sync.Mutex
	dialer := net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second, Resolver: d.resolver, Control: func(_, dialled string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(dialled)
		if err == nil {
			err = allow.Address(host, to.Addr(), own)
		}
		if err != nil {
			mu.Lock()
			refused = cmp.Or(refused, err)
			mu.Unlock()
		}
		return err
	}}
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		mu.Lock()
		defer mu.Unlock()
		// Of several addresses the dialer reports the first that failed; that one is refused says more.
		return nil, cmp.Or(refused, err)
	}
	return conn, nil
}

// HostAddresses are the addresses at which the host's own API server is reached: those that the host of its URL resolves to, and that of
// the Service which pods use. It is safe for use by many goroutines.
type HostAddresses struct {
	hosts  []string
	lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)

	mu    sync.Mutex
	at    time.Time
	known []netip.Addr
}

// NewHostAddresses prepares the addresses of the API server that a configuration leads to. It looks nothing up.
func NewHostAddresses(config *rest.Config) (*HostAddresses, error) {
	server, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, fmt.Errorf("the server %q of the host's kubeconfig is not a URL: %w", config.Host, err)
	}
	h := &HostAddresses{hosts: []string{server.Hostname()}, lookup: net.DefaultResolver.LookupNetIP}
	if service := os.Getenv(serviceHost); service != "" && service != server.Hostname() {
		h.hosts = append(h.hosts, service)
	}
	return h, nil
}

// Get gives the addresses, which are looked up once a minute. What was known stays where a lookup fails. Where nothing is known, that is
// an error: which addresses are the host's is not known then.
func (h *HostAddresses) Get(ctx context.Context) ([]netip.Addr, error) {
	h.mu.Lock()
	known := h.known
	if known != nil && time.Since(h.at) < hostAddressesAge {
		h.mu.Unlock()
		return known, nil
	}
	h.at = time.Now() // others use what is known meanwhile
	h.mu.Unlock()
	var found []netip.Addr
	for _, host := range h.hosts {
		addresses, err := h.lookup(ctx, "ip", host)
		if err != nil && known == nil {
			return nil, fmt.Errorf("look up the addresses of the host's own API server, where no discovered cluster may be: %w", err)
		}
		if err != nil {
			return known, nil
		}
		for _, a := range addresses {
			found = append(found, a.Unmap())
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.known = found
	return found, nil
}
