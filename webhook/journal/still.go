package journal

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// Still says whether the API server has an object as it is known here. False says that it has another, or none, or that
// it could not be asked: then it is read as anything else is.
type Still func(ctx context.Context, kind Kind, known client.Object) bool

// NewStill asks with a configuration. Most refusals rest on an object that nobody has changed, and reading that from an
// answer takes a fraction of what making an object of it does.
func NewStill(config *rest.Config) (Still, error) {
	c, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	group := v1alpha1.GroupVersion
	server, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, err
	}
	at := map[Kind]string{}
	for kind, resource := range map[Kind]string{Member: "memberclusters", Federation: "federations"} {
		at[kind] = server.JoinPath("apis", group.Group, group.Version, resource).String() + "/"
	}
	return func(ctx context.Context, kind Kind, known client.Object) bool {
		// Names of our kinds are DNS labels.
		version, err := resourceVersion(ctx, c, at[kind]+known.GetName())
		return err == nil && version == known.GetResourceVersion()
	}, nil
}

// resourceVersion is that of the object at a URL.
func resourceVersion(ctx context.Context, c *http.Client, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	request.Header.Set("Accept", "application/json")
	answer, err := c.Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return "", err
	}
	if answer.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s", answer.Status)
	}
	var o struct {
		Metadata struct {
			ResourceVersion string `json:"resourceVersion"`
		} `json:"metadata"`
	}
	err = json.Unmarshal(text, &o)
	return o.Metadata.ResourceVersion, err
}
