package cluster

import (
	"context"
	"encoding/json"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/conversion/queryparams"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/pager"
)

// ListOptions select what is listed and watched; the zero value selects all objects of a kind.
type ListOptions struct {
	// Namespace is empty for all.
	Namespace string
	// Labels and Fields are selectors as kubectl's -l and --field-selector take them.
	Labels, Fields string
	// Quiet drops the warnings of the server, where no person chose to use the type.
	Quiet bool
}

// ref names what is listed.
func (o ListOptions) ref(r Resource) Ref { return Ref{Resource: r, Namespace: o.Namespace} }

// get is the request for objects of a kind, with sent, whose selectors it sets.
func (o ListOptions) get(client rest.Interface, r Resource, sent metav1.ListOptions) (*rest.Request, error) {
	sent.LabelSelector, sent.FieldSelector = o.Labels, o.Fields
	parameters, err := queryparams.Convert(&sent)
	if err != nil {
		return nil, err
	}
	request := client.Get().AbsPath(r.path(o.Namespace)).SetHeader("Accept", runtime.ContentTypeJSON)
	if o.Quiet {
		request.WarningHandlerWithContext(rest.NoWarnings{})
	}
	for name, values := range parameters {
		for _, value := range values {
			request.Param(name, value)
		}
	}
	return request, nil
}

// page is a part of a list.
type page[T any] struct {
	metav1.ListMeta `json:"metadata"`
	Items           []T `json:"items"`
}

// List reads all objects of a kind that o selects, in pages.
func (c *Conn) List(ctx context.Context, r Resource, o ListOptions) ([]unstructured.Unstructured, error) {
	items, _, err := list(ctx, c, r, o, "", func(body []byte) (page[unstructured.Unstructured], error) {
		var l unstructured.UnstructuredList
		err := l.UnmarshalJSON(body) // it knows the kind of the items, which the items of a list do not carry
		return page[unstructured.Unstructured]{metav1.ListMeta{ResourceVersion: l.GetResourceVersion(), Continue: l.GetContinue()}, l.Items}, err
	})
	return items, err
}

// List reads all objects of a kind that o selects, in pages, and the version of the list, from which Watch continues. T is
// what is read of an object: 10,000 typed ones take a fraction of the time that untyped ones take. Of
// metav1.PartialObjectMetadata the server sends no more than that.
func List[T any](ctx context.Context, c *Conn, r Resource, o ListOptions) (items []T, resourceVersion string, err error) {
	accept := ""
	if _, metadata := any(new(T)).(*metav1.PartialObjectMetadata); metadata {
		accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
	}
	return list(ctx, c, r, o, accept, func(body []byte) (p page[T], err error) { return p, json.Unmarshal(body, &p) })
}

func list[T any](ctx context.Context, c *Conn, r Resource, o ListOptions, accept string, decode func([]byte) (page[T], error)) (items []T, resourceVersion string, err error) {
	read := func(ctx context.Context, sent metav1.ListOptions) (runtime.Object, error) {
		request, err := o.get(c.rest, r, sent)
		if err != nil {
			return nil, err
		}
		if accept != "" {
			request.SetHeader("Accept", accept)
		}
		body, err := bodyOf(request.Do(ctx))
		if err != nil {
			return nil, err
		}
		p, err := decode(body)
		if sent.Continue == "" {
			items = nil // the pager begins anew when the server has dropped the list that the pages are of
		}
		items, resourceVersion = append(items, p.Items...), p.ResourceVersion
		return &metav1.PartialObjectMetadataList{ListMeta: p.ListMeta}, err
	}
	if _, _, err := pager.New(read).List(ctx, metav1.ListOptions{}); err != nil {
		return nil, "", c.fail("list", o.ref(r), err)
	}
	return items, resourceVersion, nil
}
