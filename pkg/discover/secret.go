package discover

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// Opener opens the member that a configuration reaches. It sends no request.
type Opener func(*rest.Config) (*member.Cluster, error)

// objectOf is what an object says that stands for a cluster.
func objectOf(kind cluster.Resource, o *unstructured.Unstructured) Object {
	return Object{Ref: kind.Of(o), JoinRequest: v1alpha1.FederationName(o.GetLabels()[v1alpha1.LabelFederation])}
}

// kindOf is kind in the version that the object was read in.
func kindOf(kind cluster.Resource, o *unstructured.Unstructured) cluster.Resource {
	kind.Version = o.GroupVersionKind().Version
	return kind
}

// accessOf reads a way to a cluster out of another system's Secret, by the strict loader only: whoever may write the Secret
// could otherwise have us run a command or read a file.
func accessOf(ctx context.Context, h *host.Cluster, secret cluster.Ref, now time.Time, source SourceName) (*kubeconfig.Access, error) {
	data, err := h.ForeignKubeconfig(ctx, secret)
	if err != nil {
		return nil, err
	}
	return parse(data, secret, now, source)
}

func parse(data []byte, secret cluster.Ref, now time.Time, source SourceName) (*kubeconfig.Access, error) {
	access, err := kubeconfig.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("host: %s: %w", secret, err)
	}
	if end, known := access.Expiry(); known && !end.After(now) {
		return nil, fmt.Errorf("host: %s: its credential ended at %s; look again when %s has written a new one",
			secret, end.UTC().Format(time.RFC3339), source.title())
	}
	return access, nil
}

// text is a string in an object of another system; empty where there is none, or something else.
func text(o *unstructured.Unstructured, path ...string) string {
	s, _, err := unstructured.NestedString(o.Object, path...)
	if err != nil {
		return ""
	}
	return s
}

// truth is a boolean in an object of another system; false where there is none, or something else.
func truth(o *unstructured.Unstructured, path ...string) bool {
	b, _, err := unstructured.NestedBool(o.Object, path...)
	return b && err == nil
}

// condition is the status of a condition of an object, and its message; both are empty where it has none.
func condition(o *unstructured.Unstructured, name string) (status, message string) {
	conditions, _, err := unstructured.NestedSlice(o.Object, "status", "conditions")
	if err != nil {
		return "", ""
	}
	for _, c := range conditions {
		if c, ok := c.(map[string]any); ok && c["type"] == name {
			status, _ = c["status"].(string)
			message, _ = c["message"].(string)
			return status, message
		}
	}
	return "", ""
}
