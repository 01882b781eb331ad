package discover

import "testing"

func TestKubeFedCandidates(t *testing.T) {
	t.Parallel()
	const kind = "apiVersion: core.kubefed.io/v1beta1\nkind: KubeFedCluster\n"
	const meta = kind + "metadata: {name: cluster2, namespace: kube-federation-system, labels: {kubefederate.io/federation: emea}}\n"
	const object = "kubefed:kube-federation-system/cluster2; kubefedclusters.core.kubefed.io/cluster2 --namespace kube-federation-system asks for emea"
	testRead(t, kubeFedSource, []readTest{
		{"joined", meta + "spec: {apiEndpoint: 'https://10.0.0.5:6443', caBundle: aGVsbG8=, secretRef: {name: cluster2-abc12}}", object + "; Secret kube-federation-system/cluster2-abc12"},
		{"not verified by KubeFed", meta + "spec: {secretRef: {name: s}, disabledTLSValidations: ['*']}", object + "; Secret kube-federation-system/s; hint: KubeFed does not verify all of its " +
			"certificate, by spec.disabledTLSValidations; discovery verifies it, so give it one that verifies: *"},
		{"no Secret", meta + "spec: {apiEndpoint: 'https://10.0.0.5:6443'}", object + "; error: KubeFed has no credential of it: the object has no spec.secretRef.name; join it by a context of your own"},
		{"a CA that is not base64", meta + "spec: {caBundle: '%', secretRef: {name: s}}", object + "; Secret kube-federation-system/s; error: its field spec.caBundle is not base64"},
		{"wrong types", meta + "spec: {caBundle: [], secretRef: 7, disabledTLSValidations: {}}", object + "; error: its field spec.caBundle is not base64"},
		{"no spec", meta + "spec: text", object + "; error: KubeFed has no credential of it: the object has no spec.secretRef.name; join it by a context of your own"},
		{"being deleted", kind + `metadata: {name: going, namespace: n, deletionTimestamp: "2026-01-01T00:00:00Z"}`, ""},
	})
}
