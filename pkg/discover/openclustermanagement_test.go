package discover

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// TestManagedClusterCandidates reads ManagedClusters with the ManagedServiceAccounts of their namespaces.
func TestManagedClusterCandidates(t *testing.T) {
	t.Parallel()
	const meta = "apiVersion: cluster.open-cluster-management.io/v1\nkind: ManagedCluster\nmetadata: {name: prod-a, labels: {kubefederate.io/federation: emea}}\n"
	const up = "\nstatus: {conditions: [{type: ManagedClusterConditionAvailable, status: \"True\"}]}"
	const one = meta + "spec: {hubAcceptsClient: true, managedClusterClientConfigs: [{url: 'https://a', caBundle: aGVsbG8=}]}" + up
	const object1 = "open-cluster-management:prod-a; managedclusters.cluster.open-cluster-management.io/prod-a asks for emea"
	account := func(namespace, name, labels, status string) string {
		return "apiVersion: authentication.open-cluster-management.io/v1beta1\nkind: ManagedServiceAccount\nmetadata: {name: " + name + ", namespace: " + namespace + ", labels: {" + labels + "}}\nstatus: " + status
	}
	ready := account("prod-a", "kubefederate", "", "{tokenSecretRef: {name: kubefederate}}")
	other := account("prod-a", "argocd", "", "{tokenSecretRef: {name: argocd}}")
	for _, tt := range []struct {
		name     string
		cluster  string
		accounts []string
		want     string
	}{
		{"one account", one, []string{ready, account("prod-b", "x", "", "{tokenSecretRef: {name: x}}")}, object1 + "; Secret prod-a/kubefederate"},
		{"no account", one, nil, object1 + `; error: there is no ManagedServiceAccount with a token in namespace "prod-a": create one, and give its account the rights of a joiner on the cluster`},
		{"an account without a token", one, []string{account("prod-a", "kubefederate", "", "{}")},
			object1 + `; error: there is no ManagedServiceAccount with a token in namespace "prod-a": create one, and give its account the rights of a joiner on the cluster`},
		{"one of two has a token", one, []string{account("prod-a", "argocd", "", "7"), ready}, object1 + "; Secret prod-a/kubefederate"},
		{"two accounts", one, []string{ready, other}, object1 + `; error: there are 2 ManagedServiceAccounts with a token in namespace "prod-a", and nothing says which to use: ` +
			"label one of them with kubefederate.io/federation"},
		{"two accounts, one labeled", one, []string{other, account("prod-a", "kubefederate", "kubefederate.io/federation: emea", "{tokenSecretRef: {name: k}}")}, object1 + "; Secret prod-a/k"},
		{"no address", meta + "spec: {hubAcceptsClient: true}" + up, []string{ready}, object1 + "; error: the object has no address of the cluster in spec.managedClusterClientConfigs: " +
			"set externalServerURLs in the spec of its Klusterlet, or join it by a context of your own"},
		{"two addresses", meta + "spec: {hubAcceptsClient: true, managedClusterClientConfigs: [{url: 'https://a'}, 7, {url: 'https://b'}]}" + up, []string{ready},
			object1 + "; Secret prod-a/kubefederate\nopen-cluster-management:prod-a/2; managedclusters.cluster.open-cluster-management.io/prod-a asks for emea; Secret prod-a/kubefederate; " +
				"duplicate open-cluster-management:prod-a"},
		{"a CA that is not base64", meta + "spec: {hubAcceptsClient: true, managedClusterClientConfigs: [{url: 'https://a', caBundle: '%'}]}" + up, []string{ready},
			object1 + "; Secret prod-a/kubefederate; error: its field caBundle is not base64"},
		{"not accepted", meta + "spec: {managedClusterClientConfigs: [{url: 'https://a'}]}", []string{ready}, object1 + "; Secret prod-a/kubefederate; hint: the hub of Open Cluster Management has not accepted it"},
		{"lost", meta + "spec: {hubAcceptsClient: true, managedClusterClientConfigs: [{url: 'https://a'}]}\nstatus: {conditions: [{type: ManagedClusterConditionAvailable, status: Unknown, message: its lease ended}]}",
			[]string{ready}, object1 + "; Secret prod-a/kubefederate; hint: Open Cluster Management does not report it available: its lease ended"},
		{"wrong types", meta + "spec: {managedClusterClientConfigs: text}\nstatus: []", []string{ready, account("prod-a", "bad", "", "{tokenSecretRef: []}")},
			object1 + "; hint: the hub of Open Cluster Management has not accepted it; error: the object has no address of the cluster in spec.managedClusterClientConfigs: " +
				"set externalServerURLs in the spec of its Klusterlet, or join it by a context of your own"},
	} {
		var accounts []unstructured.Unstructured
		for _, text := range tt.accounts {
			accounts = append(accounts, object(t, text))
		}
		got := lines(managedClusterCandidates([]unstructured.Unstructured{object(t, tt.cluster)}, accounts))
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
	many := object(t, meta+"spec: {managedClusterClientConfigs: [{url: a}, {url: b}, {url: c}, {url: d}, {url: e}, {url: f}]}")
	if n := len(managedClusterCandidates([]unstructured.Unstructured{many}, []unstructured.Unstructured{object(t, ready)})); n != maxClientConfigs {
		t.Errorf("six addresses are %d candidates, want %d", n, maxClientConfigs)
	}
}
