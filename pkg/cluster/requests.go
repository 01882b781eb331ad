package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// DryRun says what a run may send.
type DryRun int

// The dry runs of kubectl.
const (
	// DryRunNone writes.
	DryRunNone DryRun = iota
	// DryRunClient only reads.
	DryRunClient
	// DryRunServer has the servers evaluate requests that store nothing.
	DryRunServer
)

// options are the dryRun parameter of a request. A write of a client's dry run is never sent; were it, nothing is stored.
func (d DryRun) options() []string {
	if d == DryRunNone {
		return nil
	}
	return []string{metav1.DryRunAll}
}

func (c *Conn) resource(r Ref) dynamic.ResourceInterface {
	if r.Namespace == "" {
		return c.dyn.Resource(r.Resource.GroupVersionResource)
	}
	return c.dyn.Resource(r.Resource.GroupVersionResource).Namespace(r.Namespace)
}

// Get reads one object.
func (c *Conn) Get(ctx context.Context, r Ref) (*unstructured.Unstructured, error) {
	o, err := c.resource(r).Get(ctx, r.Name, metav1.GetOptions{})
	return o, c.fail("get", r, err)
}

// Find reads one object; nil without an error means that it does not exist.
func (c *Conn) Find(ctx context.Context, r Ref) (*unstructured.Unstructured, error) {
	o, err := c.Get(ctx, r)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return o, err
}

// FindMetadata reads the metadata of one object; nil without an error means that it does not exist. The server sends no more than that.
func (c *Conn) FindMetadata(ctx context.Context, r Ref) (*metav1.PartialObjectMetadata, error) {
	path, err := r.path()
	if err != nil {
		return nil, c.fail("get", r, err)
	}
	const accept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
	body, err := bodyOf(c.rest.Get().AbsPath(path).SetHeader("Accept", accept).Do(withLimit(ctx, objectLimit(c.side))))
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	o := &metav1.PartialObjectMetadata{}
	if err == nil {
		err = json.Unmarshal(body, o)
	}
	return o, c.fail("get", r, err)
}

// Create posts o: of two that create one object at once, the second gets an error.
func (c *Conn) Create(ctx context.Context, r Resource, o *unstructured.Unstructured, d DryRun) (*unstructured.Unstructured, error) {
	ref := r.Of(o)
	made, err := c.resource(ref).Create(ctx, o, metav1.CreateOptions{DryRun: d.options(), FieldManager: v1alpha1.FieldOwner})
	return made, c.fail("create", ref, err)
}

// Judge asks by a dry run whether o may be created. Warnings of the server are dropped.
func (c *Conn) Judge(ctx context.Context, r Resource, o *unstructured.Unstructured) error {
	body, err := o.MarshalJSON()
	if err != nil {
		return err
	}
	err = c.rest.Post().AbsPath(r.path(o.GetNamespace())).Param("dryRun", metav1.DryRunAll).Param("fieldManager", v1alpha1.FieldOwner).
		SetHeader("Accept", runtime.ContentTypeJSON).SetHeader("Content-Type", runtime.ContentTypeJSON).
		WarningHandlerWithContext(rest.NoWarnings{}).Body(body).Do(ctx).Error()
	return c.fail("create", r.Of(o), err)
}

// Update replaces the object, whatever it holds.
func (c *Conn) Update(ctx context.Context, r Resource, o *unstructured.Unstructured, d DryRun) error {
	ref := r.Of(o)
	_, err := c.resource(ref).Update(ctx, o, metav1.UpdateOptions{DryRun: d.options(), FieldManager: v1alpha1.FieldOwner})
	return c.fail("update", ref, err)
}

// Apply sets the fields of o by server-side apply as FieldOwner and leaves all other fields alone. It is forced, since a
// join that runs again must be able to repair fields that others have changed.
func (c *Conn) Apply(ctx context.Context, r Resource, o *unstructured.Unstructured, d DryRun) (*unstructured.Unstructured, error) {
	ref := r.Of(o)
	made, err := c.resource(ref).Apply(ctx, o.GetName(), o, metav1.ApplyOptions{DryRun: d.options(), FieldManager: v1alpha1.FieldOwner, Force: true})
	return made, c.fail("apply", ref, err)
}

// MergePatch applies a JSON merge patch (RFC 7386). A metadata.resourceVersion in it is a precondition.
func (c *Conn) MergePatch(ctx context.Context, r Ref, patch map[string]any, d DryRun) (*unstructured.Unstructured, error) {
	return c.patch(ctx, r, types.MergePatchType, patch, d)
}

// JSONPatch applies a JSON patch (RFC 6902).
func (c *Conn) JSONPatch(ctx context.Context, r Ref, operations []map[string]any) (*unstructured.Unstructured, error) {
	return c.patch(ctx, r, types.JSONPatchType, operations, DryRunNone)
}

func (c *Conn) patch(ctx context.Context, r Ref, kind types.PatchType, patch any, d DryRun) (*unstructured.Unstructured, error) {
	body, err := json.Marshal(patch)
	if err != nil {
		return nil, c.fail("patch", r, err)
	}
	made, err := c.resource(r).Patch(ctx, r.Name, kind, body, metav1.PatchOptions{DryRun: d.options(), FieldManager: v1alpha1.FieldOwner})
	return made, c.fail("patch", r, err)
}

// Preconditions of a delete; empty fields are not checked.
type Preconditions struct {
	UID             types.UID
	ResourceVersion string
}

// Delete deletes one object if the preconditions hold. One that does not exist is no error. The object may still exist
// afterwards, until its finalizers are removed: see Remove.
func (c *Conn) Delete(ctx context.Context, r Ref, p Preconditions, d DryRun) error {
	_, err := c.delete(ctx, r, p, d)
	return err
}

// Remove is Delete for an object that grants something for as long as it exists: if finalizers keep it, that is an error,
// a *Lingering.
func (c *Conn) Remove(ctx context.Context, r Ref, p Preconditions) error {
	body, err := c.delete(ctx, r, p, DryRunNone)
	if err != nil || len(body) == 0 {
		return err
	}
	// The response is a Status when the object is gone, and otherwise the object.
	var left struct {
		Kind     string            `json:"kind"`
		Metadata metav1.ObjectMeta `json:"metadata"`
	}
	if err := json.Unmarshal(body, &left); err != nil {
		return c.fail("delete", r, err)
	}
	if left.Kind == r.Resource.Kind && len(left.Metadata.Finalizers) > 0 {
		return &Lingering{Side: c.side, Object: r, Finalizers: left.Metadata.Finalizers, Managers: finalizerManagers(left.Metadata.ManagedFields)}
	}
	return nil
}

// finalizerManagers are the field managers that have set finalizers.
func finalizerManagers(entries []metav1.ManagedFieldsEntry) []string {
	var managers []string
	for _, e := range entries {
		var fields struct {
			Metadata struct {
				Finalizers json.RawMessage `json:"f:finalizers"`
			} `json:"f:metadata"`
		}
		if e.FieldsV1 != nil && json.Unmarshal(e.FieldsV1.GetRawBytes(), &fields) == nil && fields.Metadata.Finalizers != nil {
			managers = append(managers, e.Manager)
		}
	}
	slices.Sort(managers)
	return slices.Compact(managers)
}

// Lingering is an object that is being deleted and that finalizers keep.
type Lingering struct {
	Side       Side
	Object     Ref
	Finalizers []string
	// Managers are the field managers that have set them, as far as the object says.
	Managers []string
}

func (l *Lingering) Error() string {
	return string(l.Side) + ": " + l.Object.String() + ": " + l.Cause()
}

// Cause says which finalizers keep the object.
func (l *Lingering) Cause() string {
	text := "is being deleted, and stays until its finalizers are done: " + strings.Join(l.Finalizers, ", ")
	if len(l.Managers) > 0 {
		text += " (set by " + strings.Join(l.Managers, ", ") + ")"
	}
	return Printable(text)
}

func (c *Conn) delete(ctx context.Context, r Ref, p Preconditions, d DryRun) ([]byte, error) {
	background := metav1.DeletePropagationBackground
	options := metav1.DeleteOptions{DryRun: d.options(), PropagationPolicy: &background}
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
		return nil, c.fail("delete", r, err)
	}
	body, err := bodyOf(c.rest.Delete().AbsPath(path).Body(&options).Do(ctx))
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return body, c.fail("delete", r, err)
}

// CreateSubresource posts o to the subresource that r names and returns the answer.
func (c *Conn) CreateSubresource(ctx context.Context, r Ref, o *unstructured.Unstructured, d DryRun) (*unstructured.Unstructured, error) {
	o.SetName(r.Name)
	made, err := c.resource(r).Create(ctx, o, metav1.CreateOptions{DryRun: d.options()}, r.Subresource)
	return made, c.fail("create", r, err)
}

// Token is a token of a ServiceAccount.
type Token struct {
	Value string
	// Expires is when it ends, whatever was asked for.
	Expires time.Time
}

// TokenRef names the tokens of an account.
func TokenRef(account Ref) Ref {
	account.Subresource = "token"
	return account
}

// RequestToken requests a token of an account by the spec of a TokenRequest (authentication.k8s.io/v1).
func (c *Conn) RequestToken(ctx context.Context, account Ref, spec map[string]any, d DryRun) (Token, error) {
	request := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}}
	answer, err := c.CreateSubresource(ctx, TokenRef(account), request, d)
	if err != nil {
		return Token{}, err
	}
	token, _, _ := unstructured.NestedString(answer.Object, "status", "token")
	end, _, _ := unstructured.NestedString(answer.Object, "status", "expirationTimestamp")
	expires, err := time.Parse(time.RFC3339, end)
	if token == "" || err != nil {
		return Token{}, fmt.Errorf("%s: %s issued no token with an expiry for %s", c.side, c.Server(), account)
	}
	return Token{Value: token, Expires: expires}, nil
}

// GetPath reads the document at a path of the API server, such as /version, into a value.
func (c *Conn) GetPath(ctx context.Context, path string, into any) error {
	body, err := bodyOf(c.rest.Get().AbsPath(path).SetHeader("Accept", runtime.ContentTypeJSON).Do(ctx))
	if err == nil {
		err = json.Unmarshal(body, into)
	}
	return c.fail("get", Ref{Path: path}, err)
}

// GetKeySet reads the public keys of the API server's token issuer, a JSON Web Key Set (RFC 7517).
func (c *Conn) GetKeySet(ctx context.Context) ([]byte, error) {
	const path = "/openid/v1/jwks"
	body, err := bodyOf(c.rest.Get().AbsPath(path).SetHeader("Accept", "application/jwk-set+json").Do(ctx))
	return body, c.fail("get", Ref{Path: path}, err)
}

// bodyOf is the body of a response. Only Error has the server's message of a failure: that of Raw is "unknown".
func bodyOf(r rest.Result) ([]byte, error) {
	if err := r.Error(); err != nil {
		return nil, err
	}
	return r.Raw()
}

// ID is the cluster's identity: the UID of its kube-system namespace.
func (c *Conn) ID(ctx context.Context) (v1alpha1.ClusterID, error) {
	o, err := c.Get(ctx, IdentityNamespace)
	if err != nil {
		return "", err
	}
	return c.IDOf(o)
}

// IDOf is the identity of the cluster whose kube-system namespace was read. One without a UID is an error: an empty ID would
// pass wherever two are compared.
func (c *Conn) IDOf(namespace *unstructured.Unstructured) (v1alpha1.ClusterID, error) {
	id := v1alpha1.ClusterID(namespace.GetUID())
	if id == "" {
		return "", fmt.Errorf("%s: namespace %q of %s has no UID, which is a cluster's identity: this is not a Kubernetes cluster",
			c.side, v1alpha1.IdentityNamespace, c.Server())
	}
	return id, nil
}

// LogOptions choose what Logs reads of a container.
type LogOptions struct {
	Container string
	// Previous is the instance that ended before the one that runs.
	Previous bool
	// Lines are the last ones that are read, and Bytes how much of them.
	Lines, Bytes int
}

// Logs reads the log of a container of a pod.
func (c *Conn) Logs(ctx context.Context, namespace, pod string, o LogOptions) ([]byte, error) {
	r := Ref{Resource: Pods, Namespace: namespace, Name: pod, Subresource: "log"}
	path, err := r.path()
	if err != nil {
		return nil, c.fail("get", r, err)
	}
	request := c.rest.Get().AbsPath(path, r.Subresource).Param("container", o.Container).
		Param("tailLines", strconv.Itoa(o.Lines)).Param("limitBytes", strconv.Itoa(o.Bytes))
	if o.Previous {
		request.Param("previous", "true")
	}
	body, err := bodyOf(request.Do(plainText(ctx)))
	return body, c.fail("get", r, err)
}

// ProxyOptions choose what ProxyGet reads of a pod.
type ProxyOptions struct {
	Port int32
	Path string
	// Header is passed on to the pod; an Authorization is not.
	Header http.Header
}

// ProxyGet reads the plain text that a pod serves over TLS, through the API server, which does not verify the pod's certificate.
func (c *Conn) ProxyGet(ctx context.Context, namespace, pod string, o ProxyOptions) ([]byte, error) {
	r := Ref{Resource: Pods, Namespace: namespace, Name: fmt.Sprintf("https:%s:%d", pod, o.Port), Subresource: "proxy"}
	path, err := r.path()
	if err != nil {
		return nil, c.fail("get", r, err)
	}
	request := c.rest.Get().AbsPath(path, r.Subresource, o.Path)
	for name, values := range o.Header {
		request.SetHeader(name, values...)
	}
	body, err := bodyOf(request.Do(plainText(ctx)))
	return body, c.fail("get", r, err)
}

// plainText is the context of a request whose answer is plain text of at most pageLimit bytes.
func plainText(ctx context.Context) context.Context {
	return withLimit(context.WithValue(ctx, textKey{}, true), pageLimit)
}

type textKey struct{}
