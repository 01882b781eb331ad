package discover

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestSecretCandidates(t *testing.T) {
	t.Parallel()
	const kind = "apiVersion: v1\nkind: Secret\n"
	testRead(t, secretSource, []readTest{
		{"a Secret", kind + "metadata: {name: prod-a, namespace: team-x, labels: {kubefederate.io/federation: emea}}", "secret:team-x/prod-a; secrets/prod-a --namespace team-x asks for emea; Secret team-x/prod-a"},
		{"the credential of a member", kind + "metadata: {name: prod-a, namespace: kubefederate-credentials, labels: {kubefederate.io/federation: emea}}", ""},
	})
	for _, tt := range []struct{ object, base string }{
		{"metadata: {name: prod-a, namespace: n}", "prod-a"},
		{"metadata: {name: prod-a-kubeconfig, namespace: n}", "prod-a"},
		{"metadata: {name: prod-a-admin-kubeconfig, namespace: n}", "prod-a"},
		{"metadata: {name: prod-a-sveltos-kubeconfig, namespace: n}", "prod-a"},
		{"metadata: {name: -kubeconfig, namespace: n}", "kubeconfig"},
		{"metadata: {name: vc-shop, namespace: n, labels: {app: vcluster, vcluster-name: shop}}", "shop"},
	} {
		c := secretCandidates([]unstructured.Unstructured{object(t, kind+tt.object)})[0]
		if got := string(c.base()); got != tt.base {
			t.Errorf("%s: the member would be called %q, want %q", tt.object, got, tt.base)
		}
	}
}

// TestSecretCredential takes the one kubeconfig of a Secret, in whichever of the known keys it is.
func TestSecretCredential(t *testing.T) {
	t.Parallel()
	good := kubeconfigOf("{token: secret}")
	var tests []credentialTest
	for _, key := range kubeconfigKeys {
		tests = append(tests, credentialTest{name: key, data: map[string]string{key: good, "super-admin.conf": "other", "token": "x"}, want: "https://10.0.0.1:6443 with a CA of 0 bytes, token secret"})
	}
	testCredential(t, secretSource, nil, append(tests,
		credentialTest{name: "none", data: map[string]string{"other": good}, want: "it has a kubeconfig in none of the keys value, kubeconfig, config, Config, admin.conf, value.yaml"},
		credentialTest{name: "two", data: map[string]string{"value": good, "admin.conf": good},
			want: "it has something in the keys value, admin.conf, and nothing says which is the kubeconfig: leave one of them"},
		credentialTest{name: "vcluster's own server", data: map[string]string{"config": strings.Replace(good, "https://10.0.0.1:6443", "https://localhost:8443", 1)},
			want: "its server https://localhost:8443 is the machine that reads it, and not the cluster: put the cluster's own address into it; for vcluster, set exportKubeConfig.server"},
	))
}
