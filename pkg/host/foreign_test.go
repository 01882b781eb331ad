package host_test

import (
	"cmp"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/host"
)

// TestForeignSecret holds that no credential is taken from a Secret that belongs to another system's cluster, or to the host itself:
// names can be chosen so that it is read.
func TestForeignSecret(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		name := path.Base(r.URL.Path)
		owner := map[string]string{
			"kubeadm": `{"apiVersion":"controlplane.cluster.x-k8s.io/v1beta2","kind":"KubeadmControlPlane","name":"a"}`,
			"capi":    `{"apiVersion":"cluster.x-k8s.io/v1beta2","kind":"Cluster","name":"a"}`,
			"rancher": `{"apiVersion":"provisioning.cattle.io/v1","kind":"Cluster","name":"a"}`,
		}[name]
		kind := map[string]string{"account": "kubernetes.io/service-account-token", "consumer": "kubefederate.io/consumer-credential"}[name]
		value := map[string]string{"malformed": "%"}[name]
		fmt.Fprintf(w, `{"kind":"Secret","apiVersion":"v1","metadata":{"name":"x","namespace":"fleet","ownerReferences":[%s]},"type":%q,"data":{"value":%q}}`,
			owner, cmp.Or(kind, "Opaque"), cmp.Or(value, "aGVsbG8="))
	}))
	t.Cleanup(server.Close)
	h, err := host.Connect(&rest.Config{Host: server.URL, TLSClientConfig: rest.TLSClientConfig{Insecure: true}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ namespace, name, group, result string }{
		{"fleet", "rancher", "", "hello"},
		{"fleet", "unlabeled", "cluster.x-k8s.io", "hello"}, // CAPZ gave it neither type nor label
		{"fleet", "kubeadm", "cluster.x-k8s.io", "hello"},
		{"fleet", "capi", "cluster.x-k8s.io", "hello"},
		{"fleet", "rancher", "cluster.x-k8s.io", `host: Secret "fleet/rancher" belongs to a Cluster of "provisioning.cattle.io", not of "cluster.x-k8s.io"`},
		{"fleet", "account", "", `host: Secret "fleet/account" holds the token of an account of the host itself, which is sent to no other cluster`},
		{"fleet", "consumer", "", `host: Secret "fleet/consumer" was made by kubectl federate, and stands for no cluster`},
		{"kubefederate-credentials", "a", "", `host: Secret "kubefederate-credentials/a" was made by kubectl federate, and stands for no cluster`},
		{"kubefederate-system", "a", "", `host: Secret "kubefederate-system/a" was made by kubectl federate, and stands for no cluster`},
		{"fleet", "malformed", "", `host: Secret "fleet/malformed": error decoding from json: illegal base64 data at input byte 0`},
	} {
		secret, err := h.ForeignSecret(t.Context(), host.ForeignSecret{Ref: cluster.Ref{Resource: cluster.Secrets, Namespace: tt.namespace, Name: tt.name}, Group: tt.group})
		var got string
		if err != nil {
			got = err.Error()
		} else {
			got = string(secret.Data["value"])
		}
		if got != tt.result {
			t.Errorf("%s of %q: %s, want %s", tt.name, tt.group, got, tt.result)
		}
	}
}

// TestForeign reads kinds of a group that is served, of one that is not, and of the core group, which has no group to ask
// for: Argo CD and others describe clusters in Secrets, of which only the metadata is asked for.
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
			if !strings.Contains(r.Header.Get("Accept"), "as=PartialObjectMetadataList") || r.URL.Query().Get("labelSelector") != "a=b" {
				w.WriteHeader(http.StatusNotAcceptable)
			}
			fmt.Fprint(w, `{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1","items":[{"metadata":{"name":"b","namespace":"argocd","uid":"1","labels":{"a":"b"},`+
				`"creationTimestamp":"2026-01-01T00:00:00Z","deletionTimestamp":"2026-01-02T00:00:00Z"}}]}`)
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
		kind, served, err := h.Served(t.Context(), tt.versions...)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		var objects []unstructured.Unstructured
		if served {
			if objects, err = h.Foreign(t.Context(), kind, cluster.ListOptions{Labels: "a=b"}); err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
		}
		got := fmt.Sprint(served)
		for i := range objects {
			o := &objects[i]
			got += " " + o.GetName()
			if tt.versions[0] == cluster.Secrets && (o.GetNamespace() != "argocd" || o.GetUID() != "1" || o.GetLabels()["a"] != "b" || o.GetCreationTimestamp().Day() != 1 ||
				o.GetDeletionTimestamp() == nil || o.GetKind() != "Secret") {
				t.Errorf("%s: %v", tt.name, o)
			}
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
