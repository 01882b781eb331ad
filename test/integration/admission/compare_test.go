//go:build unix

package admission

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/host/install"
	"github.com/kubefederate/kubectl-federate/pkg/version"
)

// TestCompareWhileOthersWrite has another client write to the journal between the read and the dry run of a comparison, as the
// manager does after each join: that is no change that init would make. One that it would make is still found.
func TestCompareWhileOthersWrite(t *testing.T) {
	t.Parallel()
	h := enforcing(t)
	write := func(labels, annotations string) error {
		journal := &corev1.ConfigMap{}
		journal.Namespace, journal.Name = v1alpha1.HostNamespace, manifests.Journal
		patch := fmt.Sprintf(`{"metadata": {"labels": %s, "annotations": %s}}`, labels, annotations)
		return h.admin.Patch(t.Context(), journal, client.RawPatch(types.MergePatchType, []byte(patch)))
	}
	config := rest.CopyConfig(h.Cluster.Config())
	writes := 0
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(q *http.Request) (*http.Response, error) {
			if q.Method == http.MethodPatch && strings.HasSuffix(q.URL.Path, "/"+manifests.Journal) && writes < 3 {
				writes++
				must(t, write("{}", fmt.Sprintf(`{"example.com/writes": "%d"}`, writes)))
			}
			return next.RoundTrip(q)
		})
	})
	c, err := host.Connect(config)
	must(t, err)
	objects, err := manifests.Objects(manifests.Options{Version: version.Version})
	must(t, err)
	objects = slices.DeleteFunc(objects, func(o *unstructured.Unstructured) bool { return o.GetName() != manifests.Journal })

	missing, changed, err := install.Compare(t.Context(), c, objects)
	if err != nil || len(missing)+len(changed) > 0 || writes != 3 {
		t.Errorf("missing %v, changed %v, %v; %d writes", missing, changed, err, writes)
	}
	must(t, write(`{"app.kubernetes.io/part-of": "other"}`, "{}"))
	if _, changed, err = install.Compare(t.Context(), c, objects); err != nil || len(changed) != 1 {
		t.Errorf("changed %v, %v", changed, err)
	}
	must(t, write(`{"app.kubernetes.io/part-of": "kubefederate"}`, `{"example.com/writes": null}`))
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(q *http.Request) (*http.Response, error) { return f(q) }
