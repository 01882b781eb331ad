package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"io"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
)

// Event is what a watch tells of one object.
type Event[T any] struct {
	// Type is ADDED, MODIFIED, DELETED, or BOOKMARK, which tells a version only.
	Type watch.EventType
	// Object is as it is now, or as it was last; nil of a BOOKMARK.
	Object *T
	// ResourceVersion is the one to go on from after this event.
	ResourceVersion string
}

// WatchInto tells of every change after resourceVersion until the server ends the watch, which it does after a while,
// until each fails, or ctx ends. That the server does not know changes that old any more is an error by
// IsTooOld: what is there must be listed again.
func WatchInto[T any](ctx context.Context, c *Conn, r Resource, o Options, resourceVersion string, each func(Event[T]) error) error {
	// One request has no end here, and the bound for requests would end it.
	config := rest.CopyConfig(c.config)
	config.Timeout = 0
	client, err := rest.UnversionedRESTClientFor(config)
	if err != nil {
		return c.Fail("watch", o.object(r), err)
	}
	request := client.Get().AbsPath(r.path(o.Namespace)).SetHeader("Accept", runtime.ContentTypeJSON).
		Param("watch", "true").Param("allowWatchBookmarks", "true").Param("resourceVersion", resourceVersion)
	if o.Labels != "" {
		request.Param("labelSelector", o.Labels)
	}
	if o.Fields != "" {
		request.Param("fieldSelector", o.Fields)
	}
	body, err := request.Stream(ctx)
	if err != nil {
		return c.Fail("watch", o.object(r), err)
	}
	defer body.Close()
	stream := json.NewDecoder(body)
	for {
		event, err := readEvent[T](stream)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return c.Fail("watch", o.object(r), err)
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

// IsTooOld says that a server does not know changes since the version that was asked for.
func IsTooOld(err error) bool { return apierrors.IsResourceExpired(err) || apierrors.IsGone(err) }
