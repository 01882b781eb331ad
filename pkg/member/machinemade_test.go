package member

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
)

// TestFieldCaseMesh holds what keeps kubefederate-member and what does not, object by object.
func TestFieldCaseMesh(t *testing.T) {
	t.Parallel()
	const registry, account, token = "openshift.io/internal-registry-auth-token.service-account", "kubernetes.io/service-account.name", "kubernetes.io/service-account-token"
	for _, tt := range []struct {
		resource, name string
		// kind is the type of a Secret; label and annotation are KEY=VALUE.
		kind, label, annotation string
		machine                 bool
	}{
		{resource: "configmaps", name: "kube-root-ca.crt", machine: true},
		{resource: "configmaps", name: "istio-ca-root-cert", machine: true},
		{resource: "configmaps", name: "openshift-service-ca.crt", machine: true},
		{resource: "configmaps", name: "config-trusted-cabundle", machine: true},
		{resource: "configmaps", name: "company-roots", label: "trust.cert-manager.io/bundle=company-roots", machine: true},
		{resource: "configmaps", name: "mine"},
		{resource: "configmaps", name: "istio-ca-root-cert-2"},
		{resource: "configmaps", name: "default"},
		{resource: "serviceaccounts", name: "default", machine: true},
		{resource: "serviceaccounts", name: "builder", machine: true},
		{resource: "serviceaccounts", name: "deployer", machine: true},
		{resource: "serviceaccounts", name: "pipeline", machine: true},
		{resource: "serviceaccounts", name: "app"},
		{resource: "secrets", name: "default-token-x7x7x", kind: token, annotation: account + "=default", machine: true},
		{resource: "secrets", name: "kubefederate-manager-token-x7x7x", kind: token, annotation: account + "=kubefederate-manager", machine: true},
		{resource: "secrets", name: "app-token-x7x7x", kind: token, annotation: account + "=app"},
		{resource: "secrets", name: "default-token-x7x7x", kind: "Opaque", annotation: account + "=default"},
		{resource: "secrets", name: "builder-dockercfg-abc12", kind: "kubernetes.io/dockercfg", machine: true},
		{resource: "secrets", name: "x", kind: "kubernetes.io/dockercfg", annotation: registry + "=deployer", machine: true},
		{resource: "secrets", name: "x", kind: "kubernetes.io/dockercfg", annotation: account + "=default", machine: true},
		{resource: "secrets", name: "kubefederate-manager-dockercfg-abc12", kind: "kubernetes.io/dockercfg", machine: true},
		{resource: "secrets", name: "registry", kind: "kubernetes.io/dockercfg"},
		{resource: "secrets", name: "app-dockercfg-abc12", kind: "kubernetes.io/dockercfg"},
		{resource: "secrets", name: "builder-dockercfg-abc12", kind: "Opaque"},
		{resource: "secrets", name: "istio-ca-root-cert", kind: "Opaque"},
		{resource: "rolebindings.rbac.authorization.k8s.io", name: "system:image-pullers", machine: true},
		{resource: "rolebindings.authorization.openshift.io", name: "system:deployers", machine: true},
		{resource: "rolebindings.rbac.authorization.k8s.io", name: "admin"},
		{resource: "roles.rbac.authorization.k8s.io", name: "system:image-pullers"},
		{resource: "events", name: "x", machine: true},
		{resource: "events.events.k8s.io", name: "x", machine: true},
		{resource: "pods.metrics.k8s.io", name: "x", machine: true},
		{resource: "packagemanifests.packages.operators.coreos.com", name: "x", machine: true},
		{resource: "appliedclusterresourcequotas.quota.openshift.io", name: "x", machine: true},
		{resource: "clusterserviceversions.operators.coreos.com", name: "x", label: "olm.copiedFrom=operators", machine: true},
		{resource: "clusterserviceversions.operators.coreos.com", name: "x"},
		{resource: "limitranges", name: "defaults", label: "generate.kyverno.io/policy-name=defaults", machine: true},
		{resource: "networkpolicies.networking.k8s.io", name: "deny", label: "hnc.x-k8s.io/inherited-from=team", machine: true},
		{resource: "limitranges", name: "defaults"},
		{resource: "policyreports.wgpolicyk8s.io", name: "x", machine: true},
		{resource: "pods", name: "x"},
	} {
		o := &unstructured.Unstructured{Object: map[string]any{}}
		o.SetName(tt.name)
		if tt.kind != "" {
			o.Object["type"] = tt.kind
		}
		if key, value, ok := strings.Cut(tt.label, "="); ok {
			o.SetLabels(map[string]string{key: value})
		}
		if key, value, ok := strings.Cut(tt.annotation, "="); ok {
			o.SetAnnotations(map[string]string{key: value})
		}
		if got := isMachineMade(schema.ParseGroupResource(tt.resource), o); got != tt.machine {
			t.Errorf("%s %s (%s, %s, %s): %v, want %v", tt.resource, tt.name, tt.kind, tt.label, tt.annotation, got, tt.machine)
		}
	}
	for _, m := range machineMades {
		if m.source == "" {
			t.Errorf("a row without a source: %+v", m)
		}
	}
}

// TestFieldCaseMeshBroken removes the namespace of a cluster whose metrics server does not respond, which holds nothing, and
// keeps that of one where another server does not.
func TestFieldCaseMeshBroken(t *testing.T) {
	t.Parallel()
	for group, want := range map[string]string{
		"metrics.k8s.io": "",
		"example.com":    `its contents could not be read: the server is currently unable to handle the request`,
	} {
		deleted := false
		mux := http.NewServeMux()
		answer := func(path string, object map[string]any) {
			mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
				deleted = deleted || r.Method == http.MethodDelete
				w.Header().Set("Content-Type", "application/json")
				_ = json.NewEncoder(w).Encode(object)
			})
		}
		namespace := NamespaceManifest()
		namespace.SetUID("1")
		answer("/api/v1/namespaces/kubefederate-member", namespace.Object)
		answer("/apis", map[string]any{"kind": "APIGroupList", "groups": []any{
			map[string]any{"name": group, "versions": []any{map[string]any{"groupVersion": group + "/v1", "version": "v1"}}},
		}})
		answer("/api/v1", map[string]any{"kind": "APIResourceList", "groupVersion": "v1", "resources": []any{
			map[string]any{"name": "configmaps", "kind": "ConfigMap", "namespaced": true, "verbs": []any{"list"}},
		}})
		answer("/api/v1/namespaces/kubefederate-member/configmaps", map[string]any{"kind": "ConfigMapList", "apiVersion": "v1", "items": []any{
			map[string]any{"metadata": map[string]any{"name": "istio-ca-root-cert"}},
		}})
		mux.HandleFunc("/apis/"+group+"/v1", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
		server := httptest.NewServer(mux)
		t.Cleanup(server.Close)
		c, err := Connect(&rest.Config{Host: server.URL})
		if err != nil {
			t.Fatal(err)
		}
		outcome, err := c.RemoveNamespace(t.Context())
		if err != nil || outcome.Kept != want || deleted != (want == "") || outcome.Holds == deleted {
			t.Errorf("%s: %+v, deleted %v, error %v", group, outcome, deleted, err)
		}
	}
}
