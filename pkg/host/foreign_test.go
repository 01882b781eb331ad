package host_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/host"
)

// TestForeignSecret holds that a kubeconfig is not taken from a Secret that belongs to another system's cluster: names can be chosen so
// that it is read.
func TestForeignSecret(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		owner := map[string]string{
			"kubeadm": `{"apiVersion":"controlplane.cluster.x-k8s.io/v1beta2","kind":"KubeadmControlPlane","name":"a"}`,
			"capi":    `{"apiVersion":"cluster.x-k8s.io/v1beta2","kind":"Cluster","name":"a"}`,
			"rancher": `{"apiVersion":"provisioning.cattle.io/v1","kind":"Cluster","name":"a"}`,
		}[path.Base(r.URL.Path)]
		fmt.Fprintf(w, `{"kind":"Secret","apiVersion":"v1","metadata":{"name":"x","namespace":"fleet","ownerReferences":[%s]},"type":"Opaque","data":{"value":"aGVsbG8="}}`, owner)
	}))
	t.Cleanup(server.Close)
	h, err := host.Connect(&rest.Config{Host: server.URL, TLSClientConfig: rest.TLSClientConfig{Insecure: true}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, group, result string }{
		{"rancher", "", "hello"},
		{"unlabeled", "cluster.x-k8s.io", "hello"}, // CAPZ gave it neither type nor label
		{"kubeadm", "cluster.x-k8s.io", "hello"},
		{"capi", "cluster.x-k8s.io", "hello"},
		{"rancher", "cluster.x-k8s.io", `host: Secret "fleet/rancher" belongs to a Cluster of "provisioning.cattle.io", not of "cluster.x-k8s.io"`},
	} {
		secret := host.ForeignSecret{Ref: cluster.Ref{Resource: cluster.Secrets, Namespace: "fleet", Name: tt.name}, Group: tt.group}
		data, err := h.ForeignKubeconfig(t.Context(), secret)
		got := string(data)
		if err != nil {
			got = err.Error()
		}
		if got != tt.result {
			t.Errorf("%s of %q: %s, want %s", tt.name, tt.group, got, tt.result)
		}
	}
}

// TestForeign reads kinds of a group that is served, of one that is not, and of the core group, which has no group to ask
// for: Argo CD and others describe clusters in Secrets.
func TestForeign(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/apis":
			fmt.Fprint(w, `{"kind":"APIGroupList","apiVersion":"v1","groups":[]}`)
		case "/apis/cluster.x-k8s.io":
			fmt.Fprint(w, `{"kind":"APIGroup","apiVersion":"v1","name":"cluster.x-k8s.io","versions":[{"version":"v1beta1"}]}`)
		case "/apis/cluster.x-k8s.io/v1beta1/clusters":
			fmt.Fprint(w, `{"kind":"ClusterList","apiVersion":"cluster.x-k8s.io/v1beta1","items":[{"metadata":{"name":"a","namespace":"n"}}]}`)
		case "/api/v1/secrets":
			fmt.Fprint(w, `{"kind":"SecretList","apiVersion":"v1","items":[{"metadata":{"name":"b","namespace":"argocd"}}]}`)
		default:
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}`)
		}
	}))
	t.Cleanup(server.Close)
	h, err := host.Connect(&rest.Config{Host: server.URL, TLSClientConfig: rest.TLSClientConfig{Insecure: true}})
	if err != nil {
		t.Fatal(err)
	}
	clusters := func(version string) cluster.Resource {
		return cluster.Resource{GroupVersionResource: schema.GroupVersionResource{Group: "cluster.x-k8s.io", Version: version, Resource: "clusters"}, Kind: "Cluster"}
	}
	for _, tt := range []struct {
		name     string
		versions []cluster.Resource
		want     string
	}{
		{"an older version", []cluster.Resource{clusters("v1beta2"), clusters("v1beta1")}, "true a"},
		{"a group that is not served", []cluster.Resource{cluster.RancherSettings}, "false"},
		{"the core group", []cluster.Resource{cluster.Secrets}, "true b"},
	} {
		objects, served, err := h.Foreign(t.Context(), tt.versions...)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		got := fmt.Sprint(served)
		for i := range objects {
			got += " " + objects[i].GetName()
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
