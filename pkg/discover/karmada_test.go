package discover

import "testing"

func TestKarmadaCandidates(t *testing.T) {
	t.Parallel()
	const meta = "apiVersion: cluster.karmada.io/v1alpha1\nkind: Cluster\nmetadata: {name: member1, labels: {kubefederate.io/federation: emea}}\n"
	const object = "karmada:member1; clusters.cluster.karmada.io/member1 asks for emea"
	testRead(t, karmadaSource, []readTest{
		{"push", meta + "spec: {syncMode: Push, apiEndpoint: 'https://a', secretRef: {namespace: karmada-cluster, name: member1}}", object + "; Secret karmada-cluster/member1"},
		{"pull, with the agent's Secret", meta + "spec: {syncMode: Pull, apiEndpoint: 'https://a', secretRef: {namespace: karmada-cluster, name: member1}}\n" +
			`status: {conditions: [{type: Ready, status: "False", message: cluster is not reachable}]}`,
			object + "; Secret karmada-cluster/member1; hint: Karmada reports that it is not ready: cluster is not reachable"},
		{"pull, without", meta + "spec: {syncMode: Pull, apiEndpoint: 'https://a'}", object + "; error: Karmada has no credential of it: in mode Pull its agent reports none with " +
			"--report-secrets=None; join it by a context of your own"},
		{"push, without", meta + "spec: {syncMode: Push, secretRef: {name: member1}}", object + "; error: Karmada has no credential of it: the object has no spec.secretRef; join it by a context of your own"},
		{"not verified", meta + "spec: {insecureSkipTLSVerification: true, secretRef: {namespace: karmada-cluster, name: member1}}", object + "; error: Karmada does not verify its certificate " +
			"(spec.insecureSkipTLSVerification), and discovery sends no credential to a server that is not verified: give Karmada the CA, or join it by a context of your own"},
		{"a proxy that takes headers", meta + "spec: {proxyURL: 'https://p', proxyHeader: {X-Tenant: a}, secretRef: {namespace: karmada-cluster, name: member1}}",
			object + "; Secret karmada-cluster/member1; error: Karmada reaches it through a proxy with headers of its own (spec.proxyHeader), which discovery does not send: join it by a context of your own"},
		{"no headers", meta + "spec: {proxyHeader: {}, secretRef: {namespace: karmada-cluster, name: member1}}", object + "; Secret karmada-cluster/member1"},
		{"wrong types", meta + "spec: []\nstatus: {conditions: [7]}", object + "; error: Karmada has no credential of it: the object has no spec.secretRef; join it by a context of your own"},
	})
}
