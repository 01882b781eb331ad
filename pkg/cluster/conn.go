package cluster

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
	"github.com/kubefederate/kubectl-federate/pkg/version"
)

// Conn is a connection to the API server of one side. It is safe for use by many goroutines.
type Conn struct {
	side   Side
	config *rest.Config
	server *url.URL
	http   *http.Client
	rest   rest.Interface
	dyn    dynamic.Interface
	// credential says that requests carry one.
	credential bool
	// proxy is the URL of the proxy to the server, without a password; empty where there is none.
	proxy string
}

// Connect prepares a connection. It sends no request.
func Connect(side Side, config *rest.Config) (*Conn, error) {
	config = dynamic.ConfigFor(rest.CopyConfig(config))
	config.UserAgent = "kubectl-federate/" + version.Version
	config.QPS = -1
	config.GroupVersion = nil
	config.APIPath = "/"
	server, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, fmt.Errorf("%s: the server %q of the kubeconfig is not a URL: %w", side, config.Host, err)
	}
	server.Path = strings.TrimSuffix(server.Path, "/")
	// Files are read here and once: a missing one is reported before any request, and what is stored about a member never
	// depends on a path of this machine.
	if err := rest.LoadTLSFiles(config); err != nil {
		return nil, fmt.Errorf("%s: read the certificates that the kubeconfig names: %w", side, err)
	}
	config.Wrap(newFirstRequestFirst)
	client, err := newClient(side, config)
	if err != nil {
		return nil, fmt.Errorf("%s: use the kubeconfig: %w", side, err)
	}
	r, err := rest.UnversionedRESTClientForConfigAndClient(config, client)
	if err != nil {
		return nil, fmt.Errorf("%s: use the kubeconfig: %w", side, err)
	}
	c := &Conn{side: side, config: config, server: server, http: client, rest: r, dyn: dynamic.New(r), credential: hasCredential(config)}
	proxy := config.Proxy
	if proxy == nil {
		proxy = http.ProxyFromEnvironment
	}
	if u, err := proxy(&http.Request{URL: server}); err == nil && u != nil {
		c.proxy = u.Redacted()
	}
	return c, nil
}

// hasCredential says whether requests with a configuration carry a credential that Kubernetes knows: basic authentication
// ended with 1.19.
func hasCredential(c *rest.Config) bool {
	return c.BearerToken != "" || c.BearerTokenFile != "" || len(c.CertData) > 0 || c.ExecProvider != nil || c.AuthProvider != nil
}

// CloseIdle closes what is open to the server and not in use. The next request opens it again.
func (c *Conn) CloseIdle() { utilnet.CloseIdleConnectionsFor(c.http.Transport) }

// Side is the side that the connection goes to.
func (c *Conn) Side() Side { return c.side }

// Server is the URL of the API server, without a slash at its end.
func (c *Conn) Server() string { return c.server.String() }

// Endpoint is how the connection reaches its server. A proxy that only the environment of this process names is not part
// of it: the host does not share that environment.
func (c *Conn) Endpoint() endpoint.Endpoint {
	e := endpoint.Endpoint{
		Server: c.Server(), CABundle: c.config.CAData, TLSServerName: c.config.ServerName, InsecureSkipTLSVerify: c.config.Insecure,
	}
	if c.config.Proxy != nil {
		request := (&http.Request{URL: c.server}).WithContext(context.WithValue(context.Background(), configuredOnly{}, true))
		if proxy, err := c.config.Proxy(request); err == nil && proxy != nil {
			e.ProxyURL = proxy.String()
		}
	}
	return e.Canonical()
}

// Config is the configuration of the connection. Callers must not change it.
func (c *Conn) Config() *rest.Config { return c.config }

// fail wraps err, the failure of verb on object; nil stays nil.
func (c *Conn) fail(verb string, object Ref, err error) error {
	if err == nil {
		return nil
	}
	fault := FaultOf(err)
	if fault == FaultUnauthorized && !c.credential || fault == FaultForbidden && isAnonymous(err) {
		fault = FaultAnonymous
	}
	return &Error{Side: c.side, Server: c.Server(), Verb: verb, Object: object, Fault: fault, Proxy: c.proxy, Err: err}
}
