package controller

import (
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

// Bounds on what a member can make us read.
const (
	maxAnswer = 32 << 20
	maxError  = 64 << 10
	// maxNodes is four times what Kubernetes supports in one cluster.
	maxNodes = 20_000
	// nodePage is small, since one node takes up to 20 KB.
	nodePage = 100
	// maxPlaces and maxVersion are those of the CustomResourceDefinition.
	maxPlaces, maxVersion = 256, 128
)

// connection sends requests to one member, one at a time and over one connection that it keeps. It is not
// client-go's: that follows redirects with the token, waits as long as a server asks before it tries again, and
// keeps every transport that it ever made.
type connection struct {
	server, token string
	client        *http.Client
	transport     *http.Transport

	dials atomic.Int64
	// sealed is set while no new connection may be made.
	sealed atomic.Bool
}

// errReconnected says that a request would have taken a connection on which nobody has asked which cluster answers.
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
	var dialer net.Dialer
	c.transport = &http.Transport{
		TLSClientConfig: trust,
		Proxy:           config.Proxy,
		MaxConnsPerHost: 1,
		// Longer than any interval between probes that makes sense.
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
		// What a redirect names is not the endpoint that was admitted.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

func (c *connection) close() { c.transport.CloseIdleConnections() }

// seal lets f send requests over the connection that is there, and over no other.
func (c *connection) seal(f func() error) error {
	c.sealed.Store(true)
	defer c.sealed.Store(false)
	return f()
}

// answerError is an answer that is no success.
type answerError struct {
	code int
	// verb and object say what was asked.
	verb, object string
	// message is the server's.
	message string
}

func (e *answerError) Error() string {
	return fmt.Sprintf("%s %s: %d: %s", e.verb, e.object, e.code, e.message)
}

// contentError is a success that does not hold what it must.
type contentError struct{ what string }

func (e *contentError) Error() string { return e.what }

// request is what is asked of a member.
type request struct {
	path, accept string
	query        url.Values
	// verb and object are for people.
	verb, object string
	// anonymous requests carry no token.
	anonymous bool
}

// get sends a request and reads the answer into the JSON value that into points to. It returns the certificate that the
// server showed.
func (c *connection) get(ctx context.Context, r request, into any) (shown fingerprint, err error) {
	target := c.server + r.path
	if len(r.query) > 0 {
		target += "?" + r.query.Encode()
	}
	sent, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return shown, err
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
	answer, err := c.client.Do(sent)
	if err != nil {
		return shown, err
	}
	defer answer.Body.Close()
	if answer.TLS != nil && len(answer.TLS.PeerCertificates) > 0 {
		shown = sha256.Sum256(answer.TLS.PeerCertificates[0].Raw)
	}
	if answer.StatusCode != http.StatusOK {
		return shown, &answerError{answer.StatusCode, r.verb, r.object, messageOf(answer.Body)}
	}
	if into == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, maxError))
		return shown, nil
	}
	decoder := json.NewDecoder(&bounded{answer.Body, maxAnswer})
	if err := decoder.Decode(into); err != nil {
		if network := net.Error(nil); errors.As(err, &network) || errors.Is(err, io.ErrUnexpectedEOF) || ctx.Err() != nil {
			return shown, err
		}
		return shown, &contentError{fmt.Sprintf("%s %s: the answer is not what it must be", r.verb, r.object)}
	}
	// The rest is a line break; what is read whole keeps the connection.
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 512))
	return shown, nil
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

// bounded is a reader that fails when there is more than left to read.
type bounded struct {
	from io.Reader
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errors.New("the answer is too long")
	}
	n, err := b.from.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// fingerprint is of the certificate that a server shows.
type fingerprint [sha256.Size]byte

// id is the UID of the namespace kube-system.
func (c *connection) id(ctx context.Context) (v1alpha1.ClusterID, fingerprint, error) {
	var namespace struct {
		Metadata struct {
			UID v1alpha1.ClusterID `json:"uid"`
		} `json:"metadata"`
	}
	r := request{path: "/api/v1/namespaces/" + v1alpha1.IdentityNamespace, verb: "get", object: "namespace " + v1alpha1.IdentityNamespace}
	shown, err := c.get(ctx, r, &namespace)
	if err == nil && namespace.Metadata.UID == "" {
		err = &contentError{"it gives no UID of namespace " + v1alpha1.IdentityNamespace}
	}
	return namespace.Metadata.UID, shown, err
}

// certificate is what the server shows to a request without a credential. Any answer will do.
func (c *connection) certificate(ctx context.Context) (fingerprint, error) {
	shown, err := c.get(ctx, request{path: "/version", verb: "get", object: "/version", anonymous: true}, nil)
	if answered := (*answerError)(nil); errors.As(err, &answered) {
		err = nil
	}
	return shown, err
}

// version is the Kubernetes version. It is empty on a cluster that tells it nobody.
func (c *connection) version(ctx context.Context) (string, error) {
	var info struct {
		GitVersion string `json:"gitVersion"`
	}
	_, err := c.get(ctx, request{path: "/version", verb: "get", object: "/version"}, &info)
	if answered := (*answerError)(nil); errors.As(err, &answered) && answered.code == http.StatusForbidden {
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

// count is the number of nodes, by a list of one; false is a server that does not say.
func (c *connection) count(ctx context.Context) (int32, bool, error) {
	var list struct {
		Metadata page              `json:"metadata"`
		Items    []json.RawMessage `json:"items"`
	}
	const metadataOnly = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
	if _, err := c.get(ctx, nodes(1, metadataOnly), &list); err != nil {
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

// placeLabels are the labels of a node that tell where it stands.
type placeLabels struct {
	Region    string `json:"topology.kubernetes.io/region"`
	Zone      string `json:"topology.kubernetes.io/zone"`
	OldRegion string `json:"failure-domain.beta.kubernetes.io/region"`
	OldZone   string `json:"failure-domain.beta.kubernetes.io/zone"`
}

func (l placeLabels) labels() map[string]string {
	return map[string]string{
		"topology.kubernetes.io/region": l.Region, "failure-domain.beta.kubernetes.io/region": l.OldRegion,
		"topology.kubernetes.io/zone": l.Zone, "failure-domain.beta.kubernetes.io/zone": l.OldZone,
	}
}

// node is what is read of one.
type node struct {
	Metadata struct {
		Labels placeLabels `json:"labels"`
	} `json:"metadata"`
	Status struct {
		Capacity map[corev1.ResourceName]string `json:"capacity"`
	} `json:"status"`
}

// facts are what all nodes say, with the version.
func (c *connection) facts(ctx context.Context, version string) (*v1alpha1.Facts, error) {
	var all []node
	r := nodes(nodePage, "")
	for {
		var list struct {
			Metadata page   `json:"metadata"`
			Items    []node `json:"items"`
		}
		if _, err := c.get(ctx, r, &list); err != nil {
			return nil, err
		}
		all = append(all, list.Items...)
		if list.Metadata.Continue == "" || len(all) >= maxNodes {
			return factsOf(version, all), nil
		}
		r.query.Set("continue", list.Metadata.Continue)
	}
}

// summed are the resources whose capacity is told.
var summed = []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourcePods}

// factsOf sums nodes up. What no API server would store is left out: nobody has vouched for who answers.
func factsOf(version string, nodes []node) *v1alpha1.Facts {
	facts := &v1alpha1.Facts{Nodes: int32(len(nodes))}
	facts.KubernetesVersion = version
	labels := make([]map[string]string, len(nodes))
	total := map[corev1.ResourceName]*resource.Quantity{}
	for i := range nodes {
		labels[i] = nodes[i].Metadata.Labels.labels()
		for _, name := range summed {
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
	facts.Regions, facts.Zones = places(topology.Regions), places(topology.Zones)
	for name, quantity := range total {
		if facts.Capacity == nil {
			facts.Capacity = corev1.ResourceList{}
		}
		// Written and read once, so that it compares equal with what the host stores.
		facts.Capacity[name] = resource.MustParse(quantity.String())
	}
	return facts
}

func places(values []string) []string {
	values = slices.DeleteFunc(values, func(v string) bool { return len(validation.IsValidLabelValue(v)) > 0 })
	return values[:min(len(values), maxPlaces)]
}
