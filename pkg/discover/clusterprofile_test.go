package discover

import (
	"testing"

	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
	"github.com/kubefederate/kubectl-federate/pkg/inventory"
)

func TestClusterProfileCandidates(t *testing.T) {
	t.Parallel()
	if ownManager != inventory.Manager || secretReader != inventory.Provider {
		t.Errorf("the inventory publishes as %s with %s", inventory.Manager, inventory.Provider)
	}
	const kind = "apiVersion: multicluster.x-k8s.io/v1alpha1\nkind: ClusterProfile\n"
	const meta = kind + "metadata: {name: prod-a, namespace: inventory, labels: {x-k8s.io/cluster-manager: other, kubefederate.io/federation: emea}}\nspec: {displayName: Prod A, clusterManager: {name: other}}\n"
	const object = "cluster-profile:inventory/prod-a; clusterprofiles.multicluster.x-k8s.io/prod-a --namespace inventory asks for emea"
	provider := func(list, extension string) string {
		return meta + "status: {" + list + ": [{name: kubeconfig-secretreader, cluster: {server: 'https://10.0.0.1:6443', extensions: [{name: other}, " +
			"{name: client.authentication.k8s.io/exec, extension: " + extension + "}]}}]}"
	}
	testRead(t, clusterProfileSource, []readTest{
		{"its own namespace", provider("accessProviders", "{name: s, key: value}"), object + "; Secret inventory/s"},
		{"its own namespace, named", provider("accessProviders", "{name: s, key: value, namespace: inventory, context: c}"), object + "; Secret inventory/s"},
		{"the deprecated list", provider("credentialProviders", "{name: s, key: value}"), object + "; Secret inventory/s"},
		{"another namespace", provider("accessProviders", "{name: s, key: value, namespace: kube-system}"), object + `; error: its access provider kubeconfig-secretreader names a Secret in namespace ` +
			`"kube-system": discovery reads only those of the profile's own namespace`},
		{"no key", provider("accessProviders", "{name: s}"), object + "; Secret inventory/s; error: its access provider kubeconfig-secretreader names no Secret and key in the extension client.authentication.k8s.io/exec: join it by a context of your own"},
		{"wrong types", provider("accessProviders", "[7]"), object + "; error: its access provider kubeconfig-secretreader names no Secret and key in the extension client.authentication.k8s.io/exec: join it by a context of your own"},
		{"other providers", meta + "status: {accessProviders: [{name: google}, {name: secretreader}, {name: open-cluster-management}, {name: x}, 7], conditions: [{type: ControlPlaneHealthy, status: \"False\"}]}",
			object + `; hint: its manager reports that its control plane is not healthy; error: its access providers are "google", "secretreader", "open-cluster-management" and 1 more, ` +
				"and discovery reads kubeconfig-secretreader only: join it by a context of your own"},
		{"no provider", meta + "status: text", object + "; error: it has no access provider, and discovery reads kubeconfig-secretreader only: join it by a context of your own"},
		{"kubectl federate's, by its label", kind + "metadata: {name: a, namespace: n, labels: {x-k8s.io/cluster-manager: kubefederate}}", ""},
		{"kubectl federate's, by its spec", kind + "metadata: {name: a, namespace: n}\nspec: {clusterManager: {name: kubefederate}}", ""},
	})
}

// TestClusterProfileCredential holds that the credential of a kubeconfig goes to no server but its own: who may write a profile chooses
// which kubeconfig of the namespace is read.
func TestClusterProfileCredential(t *testing.T) {
	t.Parallel()
	at := func(server, key, context string) Candidate {
		return Candidate{server: endpoint.Endpoint{Server: server}, key: key, context: context}
	}
	two := "{current-context: x, contexts: [{name: x, context: {cluster: x, user: x}}, {name: v, context: {cluster: x, user: v}}], " +
		"clusters: [{name: x, cluster: {server: 'https://10.0.0.1:6443'}}], users: [{name: x, user: {token: tx}}, {name: v, user: {token: ty}}]}"
	tests := []credentialTest{
		{name: "the current context", candidate: at("https://10.0.0.1:6443/", "k", ""), data: map[string]string{"k": two}, want: "https://10.0.0.1:6443 with a CA of 0 bytes, token tx"},
		{name: "another context", candidate: at("https://10.0.0.1:6443", "k", "v"), data: map[string]string{"k": two}, want: "https://10.0.0.1:6443 with a CA of 0 bytes, token ty"},
		{name: "an unknown context", candidate: at("https://10.0.0.1:6443", "k", "w"), data: map[string]string{"k": two},
			want: "kubeconfig refused: contexts has no entry with the name that the current context refers to"},
		{name: "another key", candidate: at("https://10.0.0.1:6443", "l", ""), data: map[string]string{"k": two}, want: `it has no key "l"`},
		{name: "another server", candidate: at("https://evil.example", "k", ""), data: map[string]string{"k": two},
			want: `its kubeconfig is for https://10.0.0.1:6443, and the ClusterProfile for "https://evil.example": its credential is sent to no other server`},
		{name: "no server", candidate: at("", "k", ""), data: map[string]string{"k": two},
			want: `its kubeconfig is for https://10.0.0.1:6443, and the ClusterProfile for "": its credential is sent to no other server`},
	}
	for _, h := range hostile {
		tests = append(tests, credentialTest{name: h.name, candidate: at("https://10.0.0.1:6443", "k", ""), data: map[string]string{"k": h.data}, want: h.refusal})
	}
	testCredential(t, clusterProfileSource, nil, tests)
}
