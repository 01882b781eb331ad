package cluster

import (
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
)

// NotAPI is an answer that no Kubernetes API server gives: something else answers at its URL, such as a page to sign in.
type NotAPI struct {
	// ContentType is empty where the answer is JSON, and not an object of the API.
	ContentType string
}

func (n *NotAPI) Error() string {
	if n.ContentType == "" {
		return "its answer is not an object of the Kubernetes API"
	}
	return "it answers with " + n.ContentType + " in place of JSON"
}

// onlyAPI fails for answers that no API server gives. Of those client-go says that it has no serializer.
type onlyAPI struct{ http.RoundTripper }

// apiTypes are the media types that API servers answer with; those that end in +json are, too.
var apiTypes = []string{"", "application/json", "application/vnd.kubernetes.protobuf", "application/cbor", "application/yaml"}

// RoundTrip implements http.RoundTripper.
func (o onlyAPI) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := o.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	written := resp.Header.Get("Content-Type")
	media, _, err := mime.ParseMediaType(written)
	if err != nil {
		media = written
	}
	ok := slices.Contains(apiTypes, media) || media == "text/plain" && r.Context().Value(textKey{}) != nil || strings.HasSuffix(media, "+json")
	// What stands before an API server that fails has pages of its own, with the code of the failure.
	if !ok && (resp.StatusCode < http.StatusMultipleChoices || resp.StatusCode < http.StatusInternalServerError && media == "text/html") {
		_ = resp.Body.Close()
		return nil, &NotAPI{ContentType: media}
	}
	return resp, nil
}

// WrappedRoundTripper lets idle connections be closed.
func (o onlyAPI) WrappedRoundTripper() http.RoundTripper { return o.RoundTripper }

// notAPI is err as a *NotAPI; nil where an API server may have answered.
func notAPI(err error) *NotAPI {
	if n, ok := errors.AsType[*NotAPI](err); ok {
		return n
	}
	var syntax *json.SyntaxError
	var shape *json.UnmarshalTypeError
	if runtime.IsMissingKind(err) || runtime.IsMissingVersion(err) || errors.As(err, &syntax) || errors.As(err, &shape) {
		return &NotAPI{}
	}
	return nil
}
