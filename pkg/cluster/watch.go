package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"io"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
)

// Event is one change that a watch reports.
type Event[T any] struct {
	// Type is ADDED, MODIFIED, DELETED, or BOOKMARK, which has only a version.
	Type watch.EventType
	// Object is as it is now, or as it was when it was deleted; nil for a BOOKMARK.
	Object *T
	// ResourceVersion is where a watch continues after this event.
	ResourceVersion string
}

// Watch calls each with every change after resourceVersion until the server ends the watch, which it does after a while,
// until each fails, or until ctx ends. It is an error by IsTooOld that the server does not have changes that old any more:
// list again then.
func Watch[T any](ctx context.Context, c *Conn, r Resource, o ListOptions, resourceVersion string, each func(Event[T]) error) error {
	fail := func(err error) error { return c.fail("watch", o.ref(r), err) }
	// A watch has no end, and the timeout of requests would end it.
	config, client := rest.CopyConfig(c.config), *c.http
	config.Timeout, client.Timeout = 0, 0
	endless, err := rest.UnversionedRESTClientForConfigAndClient(config, &client)
	if err != nil {
		return fail(err)
	}
	request, err := o.get(endless, r, metav1.ListOptions{Watch: true, AllowWatchBookmarks: true, ResourceVersion: resourceVersion})
	if err != nil {
		return fail(err)
	}
	body, err := request.Stream(withLimit(ctx, limit{}))
	if err != nil {
		return fail(err)
	}
	defer body.Close()
	bounds := &eventReader{Reader: body}
	stream := json.NewDecoder(bounds)
	for {
		bounds.counter = counter{limit: eventLimit}
		event, err := readEvent[T](stream)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fail(err)
		}
		if err := each(event); err != nil {
			return err
		}
	}
}

func readEvent[T any](stream *json.Decoder) (Event[T], error) {
	var sent metav1.WatchEvent
	if err := stream.Decode(&sent); err != nil {
		return Event[T]{}, err
	}
	e := Event[T]{Type: watch.EventType(sent.Type)}
	if e.Type == watch.Error {
		status := &metav1.Status{}
		if err := json.Unmarshal(sent.Object.Raw, status); err != nil {
			return e, err
		}
		return e, apierrors.FromObject(status)
	}
	var at struct {
		Metadata struct {
			ResourceVersion string `json:"resourceVersion"`
		} `json:"metadata"`
	}
	if err := json.Unmarshal(sent.Object.Raw, &at); err != nil {
		return e, err
	}
	e.ResourceVersion = at.Metadata.ResourceVersion
	if e.Type == watch.Bookmark {
		return e, nil
	}
	e.Object = new(T)
	return e, json.Unmarshal(sent.Object.Raw, e.Object)
}

// IsTooOld says whether a server no longer has the changes since the version that a watch began at.
func IsTooOld(err error) bool { return apierrors.IsResourceExpired(err) || apierrors.IsGone(err) }

// eventReader bounds each event of a watch.
type eventReader struct {
	io.Reader
	counter
}

func (r *eventReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if large := r.count(p[:n]); large != nil {
		return 0, large
	}
	return n, err
}
