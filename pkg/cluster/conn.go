package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
	"github.com/kubefederate/kubectl-federate/pkg/version"
)

// requestTimeout bounds one request when the caller's configuration sets no bound: a server that accepts
// connections and never answers must not hold a join up for ever.
const requestTimeout = 20 * time.Second

// Conn is a connection to the API server of one side. It is safe for use by many goroutines.
type Conn struct {
	side   Side
	config *rest.Config
	server *url.URL
	http   *http.Client
	rest   rest.Interface
	dyn    dynamic.Interface
	// quiet does not tell the warnings of servers: it reads types that nobody chose to use.
	quiet dynamic.Interface
}

// Connect prepares a connection. It sends no request.
func Connect(side Side, config *rest.Config) (*Conn, error) {
	config = dynamic.ConfigFor(rest.CopyConfig(config))
	config.UserAgent = "kubectl-federate/" + version.Version
	config.QPS = -1
	config.GroupVersion = nil
	config.APIPath = "/"
	if config.Timeout == 0 {
		config.Timeout = requestTimeout
	}
	server, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, fmt.Errorf("%s: the server %q of the kubeconfig is no URL: %w", side, config.Host, err)
	}
	server.Path = strings.TrimSuffix(server.Path, "/")
	// Files are read once and here, so that a missing one is told before any request and what is stored
	// about a member never depends on a path of this machine.
	if err := rest.LoadTLSFiles(config); err != nil {
		return nil, fmt.Errorf("%s: read the certificates that the kubeconfig names: %w", side, err)
	}
	config.Wrap(newFirstRequestFirst)
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("%s: use the credential of the kubeconfig: %w", side, err)
	}
	r, err := rest.UnversionedRESTClientForConfigAndClient(config, client)
	if err != nil {
		return nil, fmt.Errorf("%s: use the kubeconfig: %w", side, err)
	}
	silent := rest.CopyConfig(config)
	silent.WarningHandler, silent.WarningHandlerWithContext = rest.NoWarnings{}, rest.NoWarnings{}
	quiet, err := rest.UnversionedRESTClientForConfigAndClient(silent, client)
	if err != nil {
		return nil, fmt.Errorf("%s: use the kubeconfig: %w", side, err)
	}
	return &Conn{side: side, config: config, server: server, http: client, rest: r, dyn: dynamic.New(r), quiet: dynamic.New(quiet)}, nil
}

// CloseIdle closes what is open to the server and not in use. The next request opens it again.
func (c *Conn) CloseIdle() { utilnet.CloseIdleConnectionsFor(c.http.Transport) }

// Side is the side that the connection goes to.
func (c *Conn) Side() Side { return c.side }

// Server is the URL of the API server, without a slash at its end.
func (c *Conn) Server() string { return c.server.String() }

// Endpoint is how the connection reaches its server. A proxy that only the environment of this process names is not part
// of it: that is the caller's own affair.
func (c *Conn) Endpoint() endpoint.Endpoint {
	e := endpoint.Endpoint{
		Server: c.Server(), CABundle: c.config.CAData, TLSServerName: c.config.ServerName, InsecureSkipTLSVerify: c.config.Insecure,
	}
	if c.config.Proxy != nil {
		if proxy, err := c.config.Proxy(&http.Request{URL: c.server}); err == nil && proxy != nil {
			e.ProxyURL = proxy.String()
		}
	}
	return e.Canonical()
}

// Config is the configuration that the connection uses. It is not to be changed.
func (c *Conn) Config() *rest.Config { return c.config }

func (c *Conn) resource(r Ref) dynamic.ResourceInterface {
	if r.Namespace == "" {
		return c.dyn.Resource(r.Resource.GroupVersionResource)
	}
	return c.dyn.Resource(r.Resource.GroupVersionResource).Namespace(r.Namespace)
}

// Fail wraps err, the failure of verb on what object names; nil stays nil.
func (c *Conn) Fail(verb, object string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Side: c.side, Server: c.Server(), Verb: verb, Object: object, Fault: FaultOf(err), Err: err}
}

// Write says how a request that writes is meant.
type Write struct {
	// DryRun asks the server to judge the request and to store nothing.
	DryRun bool
}

func (w Write) dryRun() []string {
	if w.DryRun {
		return []string{metav1.DryRunAll}
	}
	return nil
}

// Get reads one object.
func (c *Conn) Get(ctx context.Context, r Ref) (*unstructured.Unstructured, error) {
	o, err := c.resource(r).Get(ctx, r.Name, metav1.GetOptions{})
	return o, c.Fail("get", r.String(), err)
}

// Find reads one object; nil without an error means that it is not there.
func (c *Conn) Find(ctx context.Context, r Ref) (*unstructured.Unstructured, error) {
	o, err := c.Get(ctx, r)
	if IsAbsent(err) {
		return nil, nil
	}
	return o, err
}

// List reads all objects of a kind that match a label selector ("" matches all), in pages.
func (c *Conn) List(ctx context.Context, r Resource, selector string) ([]unstructured.Unstructured, error) {
	return c.list(ctx, c.dyn.Resource(r.GroupVersionResource), r.Resource, selector)
}

// ListOf reads all objects of a kind in a namespace, in pages.
func (c *Conn) ListOf(ctx context.Context, r Resource, namespace string) ([]unstructured.Unstructured, error) {
	return c.list(ctx, c.dyn.Resource(r.GroupVersionResource).Namespace(namespace), r.Resource+" in namespace "+Quoted(namespace), "")
}

func (c *Conn) list(ctx context.Context, resource dynamic.ResourceInterface, what, selector string) ([]unstructured.Unstructured, error) {
	var items []unstructured.Unstructured
	options := metav1.ListOptions{LabelSelector: selector, Limit: 500}
	for {
		page, err := resource.List(ctx, options)
		if err != nil {
			return nil, c.Fail("list", what, err)
		}
		items = append(items, page.Items...)
		if options.Continue = page.GetContinue(); options.Continue == "" {
			return items, nil
		}
	}
}

// ListQuietly reads all objects of a kind, in pages, without telling what the server warns of: nobody chose the version.
func (c *Conn) ListQuietly(ctx context.Context, r Resource) ([]unstructured.Unstructured, error) {
	return c.list(ctx, c.quiet.Resource(r.GroupVersionResource), r.GroupResource().String(), "")
}

// Options select what is listed and watched; the zero value selects everything of a kind.
type Options struct {
	// Namespace is empty for all.
	Namespace string
	// Labels and Fields are selectors as kubectl's -l and --field-selector take them.
	Labels, Fields string
}

// pageSize is how many objects a server is asked for at once, as kubectl asks.
const pageSize = 500

// ListInto reads all objects of a kind in pages, straight into typed ones: 10,000 of them take a fraction of the time
// that List needs. It returns the version of the list as well, which a watch goes on from.
func ListInto[T any](ctx context.Context, c *Conn, r Resource, o Options) (items []T, resourceVersion string, err error) {
	limit, next := pageSize, ""
	for {
		page, err := getPage[T](ctx, c, r, o, limit, next)
		if next != "" && apierrors.IsResourceExpired(err) {
			// It took so long that the server has forgotten where the list began: once more, and in one go.
			items, limit, next = nil, 0, ""
			continue
		}
		if err != nil {
			return nil, "", c.Fail("list", o.object(r), err)
		}
		items = append(items, page.Items...)
		if next = page.Metadata.Continue; next == "" {
			return items, page.Metadata.ResourceVersion, nil
		}
	}
}

type page[T any] struct {
	Metadata metav1.ListMeta `json:"metadata"`
	Items    []T             `json:"items"`
}

func getPage[T any](ctx context.Context, c *Conn, r Resource, o Options, limit int, next string) (*page[T], error) {
	request := c.rest.Get().AbsPath(r.path(o.Namespace)).SetHeader("Accept", runtime.ContentTypeJSON)
	for key, value := range map[string]string{"labelSelector": o.Labels, "fieldSelector": o.Fields, "continue": next} {
		if value != "" {
			request.Param(key, value)
		}
	}
	if limit > 0 {
		request.Param("limit", strconv.Itoa(limit))
	}
	result := request.Do(ctx)
	// Raw would give the code of an error without what the server says about it.
	if err := result.Error(); err != nil {
		return nil, err
	}
	body, err := result.Raw()
	if err != nil {
		return nil, err
	}
	p := &page[T]{}
	return p, json.Unmarshal(body, p)
}

func (o Options) object(r Resource) string {
	if o.Namespace == "" {
		return r.Resource
	}
	return r.Resource + " in namespace " + Quoted(o.Namespace)
}

// ListIn reads up to 500 objects of any type in a namespace, without telling what the server warns of.
func (c *Conn) ListIn(ctx context.Context, r schema.GroupVersionResource, namespace string) ([]unstructured.Unstructured, error) {
	page, err := c.quiet.Resource(r).Namespace(namespace).List(ctx, metav1.ListOptions{Limit: 500})
	if err != nil {
		return nil, c.Fail("list", r.GroupResource().String()+" in namespace "+Quoted(namespace), err)
	}
	return page.Items, nil
}

// Create posts o, so that of two creators one learns that it was second.
func (c *Conn) Create(ctx context.Context, r Resource, o *unstructured.Unstructured, w Write) (*unstructured.Unstructured, error) {
	ref := r.Of(o)
	made, err := c.resource(ref).Create(ctx, o, metav1.CreateOptions{DryRun: w.dryRun(), FieldManager: v1alpha1.FieldOwner})
	return made, c.Fail("create", ref.String(), err)
}

// Update puts o in the place of what is there, whatever that is.
func (c *Conn) Update(ctx context.Context, r Resource, o *unstructured.Unstructured) error {
	ref := r.Of(o)
	_, err := c.resource(ref).Update(ctx, o, metav1.UpdateOptions{FieldManager: v1alpha1.FieldOwner})
	return c.Fail("update", ref.String(), err)
}

// Apply makes the fields of o so, by server-side apply as FieldOwner, and leaves all other fields alone.
// Fields that others own are taken over: a join that runs again must be able to repair what was changed.
func (c *Conn) Apply(ctx context.Context, r Resource, o *unstructured.Unstructured, w Write) (*unstructured.Unstructured, error) {
	ref := r.Of(o)
	made, err := c.resource(ref).Apply(ctx, o.GetName(), o, metav1.ApplyOptions{DryRun: w.dryRun(), FieldManager: v1alpha1.FieldOwner, Force: true})
	return made, c.Fail("apply", ref.String(), err)
}

// MergePatch applies a JSON merge patch. A metadata.resourceVersion in it is a precondition.
func (c *Conn) MergePatch(ctx context.Context, r Ref, patch map[string]any, w Write) (*unstructured.Unstructured, error) {
	body, err := json.Marshal(patch)
	if err != nil {
		return nil, c.Fail("patch", r.String(), err)
	}
	made, err := c.resource(r).Patch(ctx, r.Name, types.MergePatchType, body, metav1.PatchOptions{DryRun: w.dryRun(), FieldManager: v1alpha1.FieldOwner})
	return made, c.Fail("patch", r.String(), err)
}

// JSONPatch applies a JSON patch (RFC 6902).
func (c *Conn) JSONPatch(ctx context.Context, r Ref, operations []map[string]any) (*unstructured.Unstructured, error) {
	body, err := json.Marshal(operations)
	if err != nil {
		return nil, c.Fail("patch", r.String(), err)
	}
	made, err := c.resource(r).Patch(ctx, r.Name, types.JSONPatchType, body, metav1.PatchOptions{FieldManager: v1alpha1.FieldOwner})
	return made, c.Fail("patch", r.String(), err)
}

// Preconditions of a delete; empty fields are not checked.
type Preconditions struct {
	UID             types.UID
	ResourceVersion string
}

// Delete deletes one object if the preconditions hold; that it is not there is no error. The object may still
// be there, until its finalizers are done: see Remove.
func (c *Conn) Delete(ctx context.Context, r Ref, p Preconditions, w Write) error {
	_, err := c.delete(ctx, r, p, w)
	return err
}

// Remove is Delete for an object whose presence gives something away: that it stays until finalizers of others
// are done is an error, a *Lingering.
func (c *Conn) Remove(ctx context.Context, r Ref, p Preconditions) error {
	answer, err := c.delete(ctx, r, p, Write{})
	if err != nil || len(answer) == 0 {
		return err
	}
	// The answer is a Status when the object is gone, and the object when it is not yet.
	var left struct {
		Kind     string            `json:"kind"`
		Metadata metav1.ObjectMeta `json:"metadata"`
	}
	if err := json.Unmarshal(answer, &left); err != nil {
		return c.Fail("delete", r.String(), err)
	}
	if left.Kind == r.Resource.Kind && len(left.Metadata.Finalizers) > 0 {
		return &Lingering{Side: c.side, Object: r, Finalizers: left.Metadata.Finalizers}
	}
	return nil
}

// Lingering is an object that is being deleted and stays until finalizers of others are done.
type Lingering struct {
	Side       Side
	Object     Ref
	Finalizers []string
}

func (l *Lingering) Error() string {
	return string(l.Side) + ": " + l.Object.String() + ": " + l.Cause()
}

// Cause says what the object waits for.
func (l *Lingering) Cause() string {
	return "is deleted, and stays until its finalizers are done: " + Printable(strings.Join(l.Finalizers, ", "))
}

func (c *Conn) delete(ctx context.Context, r Ref, p Preconditions, w Write) ([]byte, error) {
	background := metav1.DeletePropagationBackground
	options := metav1.DeleteOptions{DryRun: w.dryRun(), PropagationPolicy: &background}
	if p != (Preconditions{}) {
		options.Preconditions = &metav1.Preconditions{}
		if p.UID != "" {
			options.Preconditions.UID = &p.UID
		}
		if p.ResourceVersion != "" {
			options.Preconditions.ResourceVersion = &p.ResourceVersion
		}
	}
	path, err := r.path()
	if err != nil {
		return nil, c.Fail("delete", r.String(), err)
	}
	answer, err := answered(c.rest.Delete().AbsPath(path).Body(&options).Do(ctx))
	if IsAbsent(err) {
		return nil, nil
	}
	return answer, c.Fail("delete", r.String(), err)
}

// Subresource posts o to a subresource of the object that r names and reads the answer into o.
func (c *Conn) Subresource(ctx context.Context, r Ref, subresource string, o *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	o.SetName(r.Name)
	made, err := c.resource(r).Create(ctx, o, metav1.CreateOptions{}, subresource)
	return made, c.Fail("create", r.Resource.Resource+"/"+subresource+" of "+r.String(), err)
}

// Raw reads a path of the API server, such as /version.
func (c *Conn) Raw(ctx context.Context, path, accept string, query url.Values) ([]byte, error) {
	request := c.rest.Get().AbsPath(path)
	for key, values := range query {
		for _, v := range values {
			request.Param(key, v)
		}
	}
	if accept != "" {
		request.SetHeader("Accept", accept)
	}
	raw, err := answered(request.Do(ctx))
	return raw, c.Fail("get", path, err)
}

// answered is the body of an answer. Only Error reads what the server said of a failure: that of Raw is "unknown".
func answered(r rest.Result) ([]byte, error) {
	if err := r.Error(); err != nil {
		return nil, err
	}
	return r.Raw()
}

// ID is the cluster's identity: the UID of its kube-system namespace.
func (c *Conn) ID(ctx context.Context) (v1alpha1.ClusterID, error) {
	o, err := c.Get(ctx, Ref{Resource: Namespaces, Name: v1alpha1.IdentityNamespace})
	if err != nil {
		return "", err
	}
	return v1alpha1.ClusterID(o.GetUID()), nil
}

// ToUnstructured is a typed object as it is sent, without its status, which is others' to write.
func ToUnstructured(r Resource, typed any) (*unstructured.Unstructured, error) {
	m, err := runtime.DefaultUnstructuredConverter.ToUnstructured(typed)
	if err != nil {
		return nil, err
	}
	unstructured.RemoveNestedField(m, "metadata", "creationTimestamp")
	delete(m, "status")
	o := &unstructured.Unstructured{Object: m}
	o.SetGroupVersionKind(r.GroupVersion().WithKind(r.Kind))
	return o, nil
}

// FromUnstructured reads o into typed.
func FromUnstructured(o *unstructured.Unstructured, typed any) error {
	return runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, typed)
}
