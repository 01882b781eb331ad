package install

import (
	"cmp"
	"encoding/json"
	"reflect"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

// partsOf are the parts of an install, and where resources of another manager are given, with those.
func partsOf(t *testing.T, o manifests.Options, manager, container string) Parts {
	t.Helper()
	p := Parts{
		Namespace: installedBy(t, o, Namespace(v1alpha1.HostNamespace), "", ""), Configuration: configurationOf(t, o),
		Manager: installedBy(t, o, managerDeployment, manager, container),
	}
	if o.Discovery {
		p.DiscoveryAccount, p.Discovery = installedBy(t, o, discoveryAccount, "", ""), installedBy(t, o, discoveryDeployment, manager, container)
	}
	return p
}

// installedBy is an object of an install; nil where that does not have it.
func installedBy(t *testing.T, o manifests.Options, ref cluster.Ref, manager, container string) *unstructured.Unstructured {
	t.Helper()
	objects, err := manifests.Objects(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, object := range objects {
		if object.GetKind() != ref.Resource.Kind || object.GetName() != ref.Name {
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

func text(t *testing.T, o *unstructured.Unstructured) string {
	t.Helper()
	if o == nil {
		return ""
	}
	data, err := o.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
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
		"discovery": {manifests.Options{Discovery: true}, v1alpha1.FieldOwner, "discovery",
			manifests.Options{Image: shipped, Replicas: 2, Certificates: "manager", Version: "v0.0.0-dev", Discovery: true}},
		"discovery, resources": {manifests.Options{Discovery: true, DiscoveryResources: resources}, "kubectl-edit", "discovery",
			manifests.Options{Image: shipped, Replicas: 2, Certificates: "manager", Version: "v0.0.0-dev", Discovery: true, DiscoveryResources: resources}},
		"discovery, outside": {manifests.Options{WebhookURL: "https://m.example.com/x", Discovery: true}, "", "",
			manifests.Options{WebhookURL: "https://m.example.com/x", Certificates: "manager", Discovery: true}},
	} {
		parts := partsOf(t, test.installed, test.manager, test.container)
		got, err := OptionsOf(parts)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: got %+v\nwant %+v", name, got, test.want)
		}
		// Without the webhook configuration, which was deleted, the same is installed again.
		parts.Configuration = nil
		without, err := OptionsOf(parts)
		if err != nil {
			t.Fatal(err)
		}
		without.Certificates = cmp.Or(without.Certificates, manifests.CertificatesManager)
		if !reflect.DeepEqual(without, test.want) {
			t.Errorf("%s, without a webhook configuration: got %+v\nwant %+v", name, without, test.want)
		}
		if name == "resources of init" || name == "resources of a sidecar" {
			continue
		}
		for kind, objects := range map[string][2]*unstructured.Unstructured{
			"manager":   {parts.Manager, partsOf(t, got, test.manager, test.container).Manager},
			"discovery": {parts.Discovery, partsOf(t, got, test.manager, test.container).Discovery},
		} {
			if before, again := text(t, objects[0]), text(t, objects[1]); again != before {
				t.Errorf("%s: %s, installed again:\n%s\nbefore:\n%s", name, kind, again, before)
			}
		}
	}
	if got, err := OptionsOf(Parts{}); err != nil || !reflect.DeepEqual(got, manifests.Options{}) {
		t.Errorf("nothing: %+v, %v", got, err)
	}
	renamed := installedBy(t, manifests.Options{}, managerDeployment, "", "")
	if err := unstructured.SetNestedSlice(renamed.Object, []any{map[string]any{"name": "other", "image": "x"}}, "spec", "template", "spec", "containers"); err != nil {
		t.Fatal(err)
	}
	if got, err := OptionsOf(Parts{Manager: renamed}); err != nil || got.Image != "" {
		t.Errorf("another container: %+v, %v", got, err)
	}
}
