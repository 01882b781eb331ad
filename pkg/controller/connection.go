package controller

import (
	"bytes"
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
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
	"github.com/kubefederate/kubectl-federate/pkg/member"
	"github.com/kubefederate/kubectl-federate/pkg/version"
)

// Bounds on what is read of a member.
const (
	maxResponse = 32 << 20
	maxError    = 64 << 10
	// maxNodes is four times what Kubernetes supports in one cluster.
	maxNodes = 20_000
	// nodePage is small, since one node takes up to 20 KB.
	nodePage = 100
	// maxTopology, of regions or of zones, and maxVersion are those of the CustomResourceDefinition.
	maxTopology, maxVersion = 256, 128
)

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

func connect(access *kubeconfig.Access) (*connection, error) {
	config := access.RESTConfig()
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
	var dialer net.Dialer
	c.transport = &http.Transport{
		TLSClientConfig: trust,
		Proxy:           config.Proxy,
		MaxConnsPerHost: 1,
		// Longer than any sensible interval between probes.
		IdleConnTimeout:        5 * time.Minute,
		TLSHandshakeTimeout:    time.Minute,
		MaxResponseHeaderBytes: maxError,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if c.sealed.Load() {
				return nil, errReconnected
			}
			c.dials.Add(1)
			return dialer.DialContext(ctx, network, address)
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
	// message is the server's.
	message string
}

func (e *statusError) Error() string {
	text := fmt.Sprintf("%s: %d %s", e.what, e.code, http.StatusText(e.code))
	if e.message != "" {
		text += ": " + e.message
	}
	return text
}

// contentError is a response with status 200 that does not hold what was requested.
type contentError struct{ what string }

func (e *contentError) Error() string { return e.what }

// request is a GET, or with a body a POST.
type request struct {
	path, accept string
	query        url.Values
	// verb and object name it in messages.
	verb, object string
	// anonymous requests carry no token.
	anonymous bool
	body      any
}

// what is the request in messages.
func (r request) what() string { return r.verb + " " + r.object }

// send sends a request and decodes the JSON of the response into the value that into points to. It returns the fingerprint of
// the certificate that the server presented.
func (c *connection) send(ctx context.Context, r request, into any) (presented fingerprint, err error) {
	target := c.server + r.path
	if len(r.query) > 0 {
		target += "?" + r.query.Encode()
	}
	method, body := http.MethodGet, []byte(nil)
	if r.body != nil {
		method = http.MethodPost
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
	if response.StatusCode != http.StatusOK && (r.body == nil || response.StatusCode != http.StatusCreated) {
		return presented, &statusError{response.StatusCode, r.what(), messageOf(response.Body)}
	}
	if into == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, maxError))
		return presented, nil
	}
	decoder := json.NewDecoder(http.MaxBytesReader(nil, response.Body, maxResponse))
	if err := decoder.Decode(into); err != nil {
		if network := net.Error(nil); errors.As(err, &network) || errors.Is(err, io.ErrUnexpectedEOF) || ctx.Err() != nil {
			return presented, err
		}
		return presented, &contentError{r.what() + ": the response is not the JSON of that object"}
	}
	// The rest is a line break; the connection is kept when the response was read whole.
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 512))
	return presented, nil
}

// messageOf is the message of a Status, or nothing.
func messageOf(body io.Reader) string {
	text, err := io.ReadAll(io.LimitReader(body, maxError))
	if err != nil {
		return ""
	}
	var status metav1.Status
	if json.Unmarshal(text, &status) != nil || status.Kind != "Status" {
		return ""
	}
	return status.Message
}

// fingerprint is the hash of the certificate that a server presents.
type fingerprint [sha256.Size]byte

// identityRequest is for the namespace whose UID is the ID of the cluster.
var identityRequest = request{path: "/api/v1/namespaces/" + v1alpha1.IdentityNamespace, verb: "get", object: "namespace " + v1alpha1.IdentityNamespace}

// id is the UID of the namespace kube-system.
func (c *connection) id(ctx context.Context) (v1alpha1.ClusterID, fingerprint, error) {
	var namespace struct {
		Metadata struct {
			UID v1alpha1.ClusterID `json:"uid"`
		} `json:"metadata"`
	}
	presented, err := c.send(ctx, identityRequest, &namespace)
	if err == nil && namespace.Metadata.UID == "" {
		err = &contentError{"the response has no UID of namespace " + v1alpha1.IdentityNamespace}
	}
	return namespace.Metadata.UID, presented, err
}

// certificate is what the server presents to a request without a credential, whatever the response.
func (c *connection) certificate(ctx context.Context) (fingerprint, error) {
	presented, err := c.send(ctx, request{path: "/version", verb: "get", object: "/version", anonymous: true}, nil)
	if failed := (*statusError)(nil); errors.As(err, &failed) {
		err = nil
	}
	return presented, err
}

// version is the Kubernetes version. It is empty on a cluster that does not allow reading it.
func (c *connection) version(ctx context.Context) (string, error) {
	var info struct {
		GitVersion string `json:"gitVersion"`
	}
	_, err := c.send(ctx, request{path: "/version", verb: "get", object: "/version"}, &info)
	if failed := (*statusError)(nil); errors.As(err, &failed) && failed.code == http.StatusForbidden {
		return "", nil
	}
	if len(info.GitVersion) > maxVersion {
		return "", err
	}
	return info.GitVersion, err
}

// page is the part of a list's metadata that says how much there is.
type page struct {
	Continue           string `json:"continue"`
	RemainingItemCount *int64 `json:"remainingItemCount"`
}

func nodes(limit int, accept string) request {
	return request{path: "/api/v1/nodes", accept: accept, query: url.Values{"limit": {strconv.Itoa(limit)}}, verb: "list", object: "nodes"}
}

// count is the number of nodes, by a list of one; it is false when the server does not report the rest.
func (c *connection) count(ctx context.Context) (int32, bool, error) {
	var list struct {
		Metadata page              `json:"metadata"`
		Items    []json.RawMessage `json:"items"`
	}
	const metadataOnly = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
	if _, err := c.send(ctx, nodes(1, metadataOnly), &list); err != nil {
		return 0, false, err
	}
	n := int64(len(list.Items))
	if list.Metadata.Continue != "" {
		if list.Metadata.RemainingItemCount == nil {
			return 0, false, nil
		}
		n += *list.Metadata.RemainingItemCount
	}
	return int32(min(max(n, 0), maxNodes)), true, nil
}

// topologyLabels are the labels of a node that name its region and its zone, as they are today and were before 1.17.
type topologyLabels struct {
	Region    string `json:"topology.kubernetes.io/region"`
	Zone      string `json:"topology.kubernetes.io/zone"`
	OldRegion string `json:"failure-domain.beta.kubernetes.io/region"`
	OldZone   string `json:"failure-domain.beta.kubernetes.io/zone"`
}

func (l topologyLabels) labels() map[string]string {
	return map[string]string{
		"topology.kubernetes.io/region": l.Region, "failure-domain.beta.kubernetes.io/region": l.OldRegion,
		"topology.kubernetes.io/zone": l.Zone, "failure-domain.beta.kubernetes.io/zone": l.OldZone,
	}
}

// node is what is read of a node.
type node struct {
	Metadata struct {
		Labels topologyLabels `json:"labels"`
	} `json:"metadata"`
	Status struct {
		Capacity map[corev1.ResourceName]string `json:"capacity"`
	} `json:"status"`
}

// facts are the version, and what follows from all nodes.
func (c *connection) facts(ctx context.Context, version string) (*v1alpha1.Facts, error) {
	var all []node
	r := nodes(nodePage, "")
	for {
		var list struct {
			Metadata page   `json:"metadata"`
			Items    []node `json:"items"`
		}
		if _, err := c.send(ctx, r, &list); err != nil {
			return nil, err
		}
		all = append(all, list.Items...)
		if list.Metadata.Continue == "" || len(all) >= maxNodes {
			return factsOf(version, all), nil
		}
		r.query.Set("continue", list.Metadata.Continue)
	}
}

// countedResources are those whose capacity is reported.
var countedResources = []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourcePods}

// factsOf sums nodes up. What no API server would store is left out: a member may send anything.
func factsOf(version string, nodes []node) *v1alpha1.Facts {
	facts := &v1alpha1.Facts{Nodes: int32(len(nodes))}
	facts.KubernetesVersion = version
	labels := make([]map[string]string, len(nodes))
	total := map[corev1.ResourceName]*resource.Quantity{}
	for i := range nodes {
		labels[i] = nodes[i].Metadata.Labels.labels()
		for _, name := range countedResources {
			quantity, err := resource.ParseQuantity(nodes[i].Status.Capacity[name])
			if err != nil || quantity.Sign() < 0 {
				continue
			}
			if total[name] == nil {
				total[name] = &resource.Quantity{Format: quantity.Format}
			}
			total[name].Add(quantity)
		}
	}
	topology := member.TopologyOf(labels)
	facts.Regions, facts.Zones = valid(topology.Regions), valid(topology.Zones)
	for name, quantity := range total {
		if facts.Capacity == nil {
			facts.Capacity = corev1.ResourceList{}
		}
		// Written and read once, so that it compares equal with what the host stores.
		facts.Capacity[name] = resource.MustParse(quantity.String())
	}
	return facts
}

// valid are the values that a label may have, as many as a status holds.
func valid(values []string) []string {
	values = slices.DeleteFunc(values, func(v string) bool { return len(validation.IsValidLabelValue(v)) > 0 })
	return values[:min(len(values), maxTopology)]
}
