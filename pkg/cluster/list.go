package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/conversion/queryparams"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
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
	items, _, err := list(ctx, c, r, o, func(body []byte) (page[unstructured.Unstructured], error) {
		var l unstructured.UnstructuredList
		err := l.UnmarshalJSON(body) // it knows the kind of the items, which the items of a list do not carry
		return page[unstructured.Unstructured]{metav1.ListMeta{ResourceVersion: l.GetResourceVersion(), Continue: l.GetContinue()}, l.Items}, err
	})
	return items, err
}

// List reads all objects of a kind that o selects, in pages, and the version of the list, from which Watch continues. T is
// what is read of an object: 10,000 typed ones take a fraction of the time that untyped ones take.
func List[T any](ctx context.Context, c *Conn, r Resource, o ListOptions) (items []T, resourceVersion string, err error) {
	return list(ctx, c, r, o, typedPage[T])
}

// EachMetadata calls each with the metadata of every object of a kind that o selects. The server sends no more than that, and
// T is what is read of it. No page is kept. Begin is called before the first object, and again where the server has dropped
// the list in between, so that it is read anew.
func EachMetadata[T any](ctx context.Context, c *Conn, r Resource, o ListOptions, begin func(), each func(*T)) error {
	const accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
	return eachObject(ctx, c, r, o, accept, begin, each)
}

// Each is EachMetadata with whole objects.
func Each[T any](ctx context.Context, c *Conn, r Resource, o ListOptions, begin func(), each func(*T)) error {
	return eachObject(ctx, c, r, o, "", begin, each)
}

func eachObject[T any](ctx context.Context, c *Conn, r Resource, o ListOptions, accept string, begin func(), each func(*T)) error {
	_, err := readPages(ctx, c, r, o, accept, typedPage[T], begin, func(_ []byte, items []T) error {
		for i := range items {
			each(&items[i])
		}
		return nil
	})
	return err
}

// CountByColumn counts the objects of a kind that o selects by their values in a column of the table that the server prints of them. Of
// Secrets the server so sends name, type and age, and nothing that they hold.
func CountByColumn(ctx context.Context, c *Conn, r Resource, o ListOptions, column string) (map[string]int, error) {
	var counts map[string]int
	decode := func(body []byte) (p page[string], err error) {
		var table metav1.Table
		if err := json.Unmarshal(body, &table); err != nil {
			return p, err
		}
		i := slices.IndexFunc(table.ColumnDefinitions, func(d metav1.TableColumnDefinition) bool { return d.Name == column })
		if i < 0 {
			return p, fmt.Errorf("the server prints no column %q", column)
		}
		p.ListMeta = table.ListMeta
		for _, row := range table.Rows {
			if i >= len(row.Cells) {
				return p, fmt.Errorf("the server prints a row without a column %q", column)
			}
			p.Items = append(p.Items, fmt.Sprint(row.Cells[i]))
		}
		return p, nil
	}
	_, err := readPages(ctx, c, r, o, "application/json;as=Table;g=meta.k8s.io;v=v1", decode, func() { counts = map[string]int{} },
		func(_ []byte, values []string) error {
			for _, value := range values {
				counts[value]++
			}
			return nil
		})
	if err != nil {
		return nil, err
	}
	return counts, nil
}

func typedPage[T any](body []byte) (p page[T], err error) { return p, json.Unmarshal(body, &p) }

func list[T any](ctx context.Context, c *Conn, r Resource, o ListOptions, decode func([]byte) (page[T], error)) (items []T, resourceVersion string, err error) {
	var all counter
	begin := func() { items, all = nil, counter{limit: listLimits[c.side]} }
	resourceVersion, err = readPages(ctx, c, r, o, "", decode, begin, func(body []byte, page []T) error {
		items = append(items, page...)
		return all.count(body)
	})
	if err != nil {
		return nil, "", err
	}
	return items, resourceVersion, nil
}

// Pages of a list.
const (
	pageSize = 500
	// maxPages bounds a list whose pages are small or empty.
	maxPages = 1000
	// maxExpired is how often a list is begun anew, because the server has dropped it in between.
	maxExpired = 2
)

// readPages reads a list page by page and returns its version. A page that is too large is asked for again with fewer
// objects: some are large, and those who may create them must not keep others from reading the list.
func readPages[T any](ctx context.Context, c *Conn, r Resource, o ListOptions, accept string, decode func([]byte) (page[T], error),
	begin func(), each func(body []byte, items []T) error) (resourceVersion string, err error) {
	fail := func(err error) (string, error) { return "", c.fail("list", o.ref(r), err) }
	sent := metav1.ListOptions{Limit: pageSize}
	read, expired := 0, 0
	begin()
	for range maxPages {
		body, err := c.readPage(ctx, r, o, sent, accept)
		_, large := errors.AsType[*TooLarge](err)
		switch {
		case large && sent.Limit > 1:
			sent.Limit = max(1, sent.Limit/5)
			continue
		case apierrors.IsResourceExpired(err) && sent.Continue != "" && expired < maxExpired:
			expired++
			read, sent.Continue = 0, ""
			begin()
			continue
		case err != nil:
			return fail(err)
		}
		p, err := decodePage(body, decode)
		if err != nil {
			return fail(err)
		}
		if read += len(p.Items); read > maxItems {
			return fail(&TooLarge{What: fmt.Sprintf("more than %d objects", maxItems)})
		}
		if err := each(body, p.Items); err != nil {
			return fail(err)
		}
		switch p.Continue {
		case "":
			return p.ResourceVersion, nil
		case sent.Continue:
			return fail(errors.New("the server sends the same page again and again"))
		}
		sent.Continue = p.Continue
	}
	return fail(&TooLarge{What: fmt.Sprintf("more than %d pages", maxPages)})
}

// decoding is held while a page is decoded, which takes a multiple of its size: pages that arrive together wait for each other, and
// each finds out what the ones before it have left of memory.
var decoding sync.Mutex

func decodePage[T any](body []byte, decode func([]byte) (page[T], error)) (page[T], error) {
	decoding.Lock()
	defer decoding.Unlock()
	if err := enoughMemory(); err != nil {
		return page[T]{}, err
	}
	return decode(body)
}

func (c *Conn) readPage(ctx context.Context, r Resource, o ListOptions, sent metav1.ListOptions, accept string) ([]byte, error) {
	request, err := o.get(c.rest, r, sent)
	if err != nil {
		return nil, err
	}
	if accept != "" {
		request.SetHeader("Accept", accept)
	}
	return bodyOf(request.Do(withLimit(ctx, pageLimit)))
}
