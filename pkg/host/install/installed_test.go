package install

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// deploymentOf is the Deployment of an install, and where resources of another manager are given, with those.
func deploymentOf(t *testing.T, o manifests.Options, manager, container string) *unstructured.Unstructured {
	t.Helper()
	objects, err := manifests.Objects(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, object := range objects {
		if object.GetKind() != managerDeployment.Resource.Kind {
			continue
		}
		fields, err := json.Marshal(map[string]any{"f:spec": map[string]any{"f:template": map[string]any{"f:spec": map[string]any{
			"f:containers": map[string]any{`k:{"name":"` + container + `"}`: map[string]any{"f:resources": map[string]any{"f:limits": map[string]any{}}}},
		}}}})
		if err != nil {
			t.Fatal(err)
		}
		object.SetManagedFields([]metav1.ManagedFieldsEntry{
			{Manager: "kube-controller-manager", FieldsV1: metav1.NewFieldsV1(`{"f:status":{}}`)}, {Manager: "none"},
			{Manager: manager, FieldsV1: metav1.NewFieldsV1(string(fields))},
		})
		return object
	}
	return nil
}

// TestOptionsOf installs with options and reads them back: installing again with what was read changes nothing.
func TestOptionsOf(t *testing.T) {
	t.Parallel()
	const shipped = "kubefederate/manager:v0.0.0-dev"
	resources := map[string]any{"limits": map[string]any{"memory": "1Gi"}, "requests": map[string]any{"cpu": "200m"}}
	for name, test := range map[string]struct {
		installed manifests.Options
		manager   string
		container string
		want      manifests.Options
	}{
		"as shipped": {manifests.Options{}, v1alpha1.FieldOwner, "manager",
			manifests.Options{Image: shipped, Replicas: 2, Certificates: "manager", Version: "v0.0.0-dev"}},
		"all": {manifests.Options{Image: "a/b@sha256:1", Replicas: 5, Certificates: "cert-manager", Version: "v1.2.3+4", Resources: resources}, "kubectl-edit", "manager",
			manifests.Options{Image: "a/b@sha256:1", Replicas: 5, Certificates: "cert-manager", Version: "v1.2.3_4", Resources: resources}},
		"resources of init": {manifests.Options{Resources: resources}, v1alpha1.FieldOwner, "manager",
			manifests.Options{Image: shipped, Replicas: 2, Certificates: "manager", Version: "v0.0.0-dev"}},
		"resources of a sidecar": {manifests.Options{Resources: resources}, "mesh", "proxy",
			manifests.Options{Image: shipped, Replicas: 2, Certificates: "manager", Version: "v0.0.0-dev"}},
		"outside": {manifests.Options{WebhookURL: "https://m.example.com/x"}, "", "", manifests.Options{WebhookURL: "https://m.example.com/x", Certificates: "manager"}},
	} {
		deployment := deploymentOf(t, test.installed, test.manager, test.container)
		got, err := OptionsOf(configurationOf(t, test.installed), deployment)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: got %+v\nwant %+v", name, got, test.want)
		}
		if deployment == nil || name == "resources of init" || name == "resources of a sidecar" {
			continue
		}
		before, err := deployment.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := deploymentOf(t, got, test.manager, test.container).MarshalJSON(); err != nil || !bytes.Equal(again, before) {
			t.Errorf("%s: %v, installed again:\n%s\nbefore:\n%s", name, err, again, before)
		}
	}
	if got, err := OptionsOf(nil, nil); err != nil || !reflect.DeepEqual(got, manifests.Options{}) {
		t.Errorf("nothing: %+v, %v", got, err)
	}
	renamed := deploymentOf(t, manifests.Options{}, "", "")
	if err := unstructured.SetNestedSlice(renamed.Object, []any{map[string]any{"name": "other", "image": "x"}}, "spec", "template", "spec", "containers"); err != nil {
		t.Fatal(err)
	}
	if got, err := OptionsOf(nil, renamed); err != nil || got.Image != "" {
		t.Errorf("another container: %+v, %v", got, err)
	}
}
