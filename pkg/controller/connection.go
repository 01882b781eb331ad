package controller

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
	"github.com/kubefederate/kubectl-federate/pkg/member"
	"github.com/kubefederate/kubectl-federate/pkg/version"
)

// Bounds on what is read of a member.
const (
	// probeBytes and probeRequests are those of all that one probe reads: the nodes of a large cluster are 5,000 of up to 20 KB.
	probeBytes, probeRequests = 256 << 20, 300
	// objectBytes is of a response that is one object: what etcd stores, or a page of labels.
	objectBytes = 2 << 20
	maxError    = 64 << 10
	// maxNodes is four times what Kubernetes supports in one cluster.
	maxNodes = 20_000
	// nodePage is small, since one node takes up to 20 KB.
	nodePage = 100
	// maxTopology, of regions or of zones, is that of the CustomResourceDefinition, and maxLabel that of Kubernetes.
	maxTopology, maxLabel = 256, 63
	// maxContinue is what an API server sends to continue a list, several times over.
	maxContinue = 8 << 10
	maxToken    = 16 << 10
)

// budget is what a probe may still read of a member.
type budget struct {
	bytes    int64
	requests int
}

func newBudget() *budget { return &budget{bytes: probeBytes, requests: probeRequests} }

var errBudget = &contentError{fmt.Sprintf("it sends more than %d MiB, or more than %d responses, for one probe", probeBytes>>20, probeRequests)}

// bounded is a body that is read within a budget. It ends with an error after most bytes.
type bounded struct {
	io.Reader
	budget *budget
	most   int64
	what   string
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	b.budget.bytes -= int64(n)
	b.most -= int64(n)
	switch {
	case b.budget.bytes < 0:
		return n, errBudget
	case b.most < 0:
		return n, &contentError{b.what + ": the response is too long"}
	}
	return n, err
}

// connection sends requests to one member, one at a time and over one connection that it keeps. client-go is not used: the
// parts of it that follow redirects, retry as late as a server asks and cache every transport would all have to be
// replaced, and so would the decoding, which holds a whole response in memory.
type connection struct {
	server, token string
	// boundTo is the Secret on the member that the token is bound to; nil for none.
	boundTo   *authenticationv1.BoundObjectReference
	client    *http.Client
	transport *http.Transport

	dials atomic.Int64
	// sealed is true while no new connection may be made.
	sealed atomic.Bool
}

// errReconnected says that a request would have used a connection over which the ID of the cluster has not been read.
var errReconnected = errors.New("the connection ended while it was in use")

// connect prepares a connection, which a dialer makes if there is one.
func connect(access *kubeconfig.Access, dialer *cluster.Dialer) (*connection, error) {
	config := access.RESTConfig()
	dial := new(net.Dialer).DialContext
	if dialer != nil {
		dialer.Apply(config)
		dial = config.Dial
	}
	trust, err := rest.TLSConfigFor(config)
	if err != nil {
		return nil, err
	}
	if trust == nil {
		trust = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	// Requests come one after another, so HTTP/2 would only cost memory: there may be ten thousand members.
	trust.NextProtos = []string{"http/1.1"}
	c := &connection{server: strings.TrimRight(access.Server, "/"), token: access.Token}
	if name, uid := access.BoundSecret(); name != "" {
		c.boundTo = &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Secret", Name: name, UID: uid}
	}
	c.transport = &http.Transport{
		TLSClientConfig: trust,
		Proxy:           config.Proxy,
		MaxConnsPerHost: 1,
		// The prober closes it sooner when it will not use it soon.
		IdleConnTimeout: 2 * longestIdle,
		// A probe is some hundred bytes each way, and there may be ten thousand connections; scan has a buffer of its own.
		ReadBufferSize:         1 << 10,
		WriteBufferSize:        1 << 10,
		TLSHandshakeTimeout:    time.Minute,
		MaxResponseHeaderBytes: maxError,
		// A kilobyte of gzip may be a megabyte.
		DisableCompression: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if c.sealed.Load() {
				return nil, errReconnected
			}
			c.dials.Add(1)
			return dial(ctx, network, address)
		},
	}
	if config.Proxy == nil {
		c.transport.Proxy = utilnet.NewProxierWithNoProxyCIDR(http.ProxyFromEnvironment)
	}
	c.client = &http.Client{
		Transport: c.transport,
		// A redirect leads away from the endpoint that was admitted.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

func (c *connection) close() { c.transport.CloseIdleConnections() }

// seal has f send its requests over the connection that is open; they fail with errReconnected when it ends.
func (c *connection) seal(f func() error) error {
	c.sealed.Store(true)
	defer c.sealed.Store(false)
	return f()
}

// statusError is a response with another status than 200.
type statusError struct {
	code int
	// what was requested: verb and object.
	what string
	// message is the server's, and reason that of its Status; empty where it sends none.
	message string
	reason  metav1.StatusReason
}

func (e *statusError) Error() string {
	text := fmt.Sprintf("%s: %d %s", e.what, e.code, http.StatusText(e.code))
	if e.message != "" {
		text += ": " + e.message
	}
	return text
}

// codeOf is the code of a response that is an error; 0 where err is none.
func codeOf(err error) int {
	if refused, ok := errors.AsType[*statusError](err); ok {
		return refused.code
	}
	return 0
}

// contentError is a response with status 200 that does not hold what was requested.
type contentError struct{ what string }

func (e *contentError) Error() string { return e.what }

// request is a GET, or with a body a POST, where method does not say.
type request struct {
	path, accept string
	method       string
	query        url.Values
	// verb and object name it in messages.
	verb, object string
	// anonymous requests carry no token.
	anonymous bool
	body      any
	// most is how long the response may be, in bytes; 0 is objectBytes.
	most int64
}

// what is the request in messages.
func (r request) what() string { return r.verb + " " + r.object }

// send sends a request and has read read the JSON of the response, within the budget; nil reads nothing. It returns the
// fingerprint of the certificate that the server presented.
func (c *connection) send(ctx context.Context, b *budget, r request, read func(*scanner) error) (presented fingerprint, err error) {
	if b.requests--; b.requests < 0 {
		return presented, errBudget
	}
	target := c.server + r.path
	if len(r.query) > 0 {
		target += "?" + r.query.Encode()
	}
	method, body := cmp.Or(r.method, http.MethodGet), []byte(nil)
	if r.body != nil {
		method = cmp.Or(r.method, http.MethodPost)
		if body, err = json.Marshal(r.body); err != nil {
			return presented, err
		}
	}
	sent, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return presented, err
	}
	if r.body != nil {
		sent.Header.Set("Content-Type", "application/json")
	}
	sent.Header.Set("User-Agent", "kubefederate-manager/"+version.Version)
	accept := r.accept
	if accept == "" {
		accept = "application/json"
	}
	sent.Header.Set("Accept", accept)
	if c.token != "" && !r.anonymous {
		sent.Header.Set("Authorization", "Bearer "+c.token)
	}
	response, err := c.client.Do(sent)
	if err != nil {
		return presented, err
	}
	defer response.Body.Close()
	if response.TLS != nil && len(response.TLS.PeerCertificates) > 0 {
		presented = sha256.Sum256(response.TLS.PeerCertificates[0].Raw)
	}
	answer := &bounded{response.Body, b, cmp.Or(r.most, objectBytes), r.what()}
	if code := response.StatusCode; code != http.StatusOK && (r.body == nil || code != http.StatusCreated && code != http.StatusAccepted) {
		status := statusOf(answer)
		return presented, &statusError{code, r.what(), status.Message, status.Reason}
	}
	if read != nil {
		err = read(scan(answer))
	}
	switch content := (*contentError)(nil); {
	case err == nil:
		// The rest is a line break; the connection is kept when the response was read whole.
		_, _ = io.Copy(io.Discard, io.LimitReader(answer, 512))
	case errors.Is(err, errSyntax) && !errors.As(err, &content):
		err = &contentError{r.what() + ": the response is not the JSON of that object"}
	}
	return presented, err
}

// statusOf is the Status that a server sends, or an empty one.
func statusOf(body io.Reader) (status metav1.Status) {
	text, err := io.ReadAll(io.LimitReader(body, maxError))
	if err != nil || json.Unmarshal(text, &status) != nil || status.Kind != "Status" {
		return metav1.Status{}
	}
	return status
}

// fingerprint is the hash of the certificate that a server presents.
type fingerprint [sha256.Size]byte

// identityRequest is for the namespace whose UID is the ID of the cluster.
var identityRequest = request{path: "/api/v1/namespaces/" + v1alpha1.IdentityNamespace, verb: "get", object: "namespace " + v1alpha1.IdentityNamespace}

// id is the UID of the namespace kube-system.
func (c *connection) id(ctx context.Context, b *budget) (id v1alpha1.ClusterID, presented fingerprint, err error) {
	presented, err = c.send(ctx, b, identityRequest, func(s *scanner) error {
		return s.fields(map[string]func() error{"metadata": func() error {
			return s.fields(map[string]func() error{"uid": func() error {
				text, _, err := s.text(maxLabel)
				id = v1alpha1.ClusterID(text)
				return err
			}})
		}})
	})
	if err == nil && id == "" {
		err = &contentError{"the response has no UID of namespace " + v1alpha1.IdentityNamespace}
	}
	return id, presented, err
}

var versionRequest = request{path: "/version", verb: "get", object: "/version", most: maxError}

// certificate is what the server presents to a request without a credential, whatever the response.
func (c *connection) certificate(ctx context.Context, b *budget) (fingerprint, error) {
	r := versionRequest
	r.anonymous = true
	presented, err := c.send(ctx, b, r, nil)
	if failed := (*statusError)(nil); errors.As(err, &failed) {
		err = nil
	}
	return presented, err
}

// version is the Kubernetes version. It is empty on a cluster that does not allow reading it, or reports none.
func (c *connection) version(ctx context.Context, b *budget) (version string, err error) {
	_, err = c.send(ctx, b, versionRequest, func(s *scanner) error {
		return s.fields(map[string]func() error{"gitVersion": func() error {
			text, _, err := s.text(maxName)
			version = member.KnownVersion(text)
			return err
		}})
	})
	if failed := (*statusError)(nil); errors.As(err, &failed) && failed.code == http.StatusForbidden {
		return "", nil
	}
	return version, err
}

// page is the part of a list's metadata that says how much there is.
type page struct {
	more string
	// remaining is nil when the server does not say.
	remaining *int64
}

func (p *page) read(s *scanner) error {
	return s.fields(map[string]func() error{
		"continue": func() error {
			text, fits, err := s.text(maxContinue)
			if err == nil && !fits {
				err = &contentError{fmt.Sprintf("list nodes: the token to continue has more than %d bytes", maxContinue)}
			}
			p.more = text
			return err
		},
		"remainingItemCount": func() (err error) {
			p.remaining, err = s.number()
			return err
		},
	})
}

func nodes(limit int, accept string) request {
	return request{path: "/api/v1/nodes", accept: accept, query: url.Values{"limit": {strconv.Itoa(limit)}}, verb: "list", object: "nodes"}
}

// count is the number of nodes, by a list of one; it is false when the server does not report the rest.
func (c *connection) count(ctx context.Context, b *budget) (int32, bool, error) {
	const metadataOnly = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
	var (
		list page
		n    int64
	)
	_, err := c.send(ctx, b, nodes(1, metadataOnly), func(s *scanner) error {
		return s.fields(map[string]func() error{
			"metadata": func() error { return list.read(s) },
			"items":    func() error { return s.array(func() error { n++; return s.skip() }) },
		})
	})
	if err != nil || list.more != "" && list.remaining == nil {
		return 0, false, err
	}
	if list.more != "" {
		// Neither number is believed further than a cluster can be large.
		n += min(max(*list.remaining, 0), maxNodes)
	}
	return int32(min(n, maxNodes)), true, nil
}
