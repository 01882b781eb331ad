package discover

import "testing"

func TestFleetCandidates(t *testing.T) {
	t.Parallel()
	const meta = "apiVersion: fleet.cattle.io/v1alpha1\nkind: Cluster\nmetadata: {name: prod-a, namespace: team-x, labels: {kubefederate.io/federation: emea}}\n"
	const object = "fleet:team-x/prod-a; clusters.fleet.cattle.io/prod-a --namespace team-x asks for emea"
	testRead(t, fleetSource, []readTest{
		{"its own namespace", meta + "spec: {kubeConfigSecret: prod-a-kubeconfig}", object + "; Secret team-x/prod-a-kubeconfig"},
		{"Fleet's namespace", meta + "spec: {kubeConfigSecret: s, kubeConfigSecretNamespace: fleet-default}", object + "; Secret fleet-default/s"},
		{"a cluster's namespace", meta + "spec: {kubeConfigSecret: s, kubeConfigSecretNamespace: cluster-fleet-default-prod-a-1a2b3c}", object + "; Secret cluster-fleet-default-prod-a-1a2b3c/s"},
		{"another namespace", meta + "spec: {kubeConfigSecret: s, kubeConfigSecretNamespace: team-y}", object + `; error: spec.kubeConfigSecretNamespace names "team-y", of which neither Fleet nor ` +
			"discovery reads a Secret for it: put the Secret into the object's own namespace"},
		{"an agent that registered itself", meta + "spec: {clientID: x}", object + "; error: Fleet has no credential of it: its agent registered itself (spec.kubeConfigSecret is empty); " +
			"join it by a context of your own"},
		{"wrong types", meta + "spec: {kubeConfigSecret: {}}", object + "; error: Fleet has no credential of it: its agent registered itself (spec.kubeConfigSecret is empty); " +
			"join it by a context of your own"},
		{"Rancher's", "metadata: {name: a, namespace: fleet-default, labels: {management.cattle.io/cluster-name: c-m-k2x9wq7d}}\nspec: {kubeConfigSecret: s}", ""},
	})
}
