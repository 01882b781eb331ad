package discover

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubefederate/kubectl-federate/test/cases"
)

func TestArgoCDCandidates(t *testing.T) {
	t.Parallel()
	const kind = "apiVersion: v1\nkind: Secret\n"
	testRead(t, argoCDSource, []readTest{
		{"a cluster", kind + "metadata: {name: cluster-api.prod-a.example-1234567890, namespace: argocd, labels: {argocd.argoproj.io/secret-type: cluster, kubefederate.io/federation: emea}}",
			"argocd:argocd/cluster-api.prod-a.example-1234567890; secrets/cluster-api.prod-a.example-1234567890 --namespace argocd asks for emea; Secret argocd/cluster-api.prod-a.example-1234567890"},
		{"being deleted", kind + `metadata: {name: a, namespace: argocd, deletionTimestamp: "2026-01-01T00:00:00Z"}`, ""},
	})
}

func TestArgoCDCredential(t *testing.T) {
	t.Parallel()
	certificate, key := cases.KeyPair(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC))
	b64 := base64.StdEncoding.EncodeToString
	secret := func(config string) map[string]string {
		return map[string]string{"name": "prod-a", "server": "https://10.0.0.1:6443/", "config": config}
	}
	const instead = "; give Argo CD a token (argocd cluster add), or join it by a context of your own"
	const notJSON = "its key config is not the JSON that Argo CD takes"
	testCredential(t, argoCDSource, nil, []credentialTest{
		{name: "a token", data: secret(fmt.Sprintf(`{"bearerToken":"secret","tlsClientConfig":{"insecure":false,"caData":%q}}`, b64(certificate))),
			want: fmt.Sprintf("https://10.0.0.1:6443 with a CA of %d bytes, token secret", len(certificate))},
		{name: "a certificate", data: secret(fmt.Sprintf(`{"tlsClientConfig":{"serverName":"a.example","certData":%q,"keyData":%q},"proxyUrl":"socks5://10.0.0.9:1080"}`, b64(certificate), b64(key))),
			want: fmt.Sprintf("https://10.0.0.1:6443 with a CA of 0 bytes, as a.example, by socks5://10.0.0.9:1080, certificate of %d bytes", len(certificate))},
		{name: "fields that are null or unknown", data: secret(`{"bearerToken":"secret","awsAuthConfig":null,"execProviderConfig":null,"disableCompression":true,"x":[]}`),
			want: "https://10.0.0.1:6443 with a CA of 0 bytes, token secret"},
		{name: "AWS", data: secret(`{"awsAuthConfig":{"clusterName":"a"},"bearerToken":"secret"}`), want: "its credential comes from AWS (awsAuthConfig), which only Argo CD can use" + instead},
		{name: "a command", data: secret(`{"execProviderConfig":{"command":"touch"},"bearerToken":"secret"}`),
			want: "its credential comes from a command (execProviderConfig), and discovery runs none" + instead},
		{name: "a password", data: secret(`{"username":"admin","password":"x"}`), want: "its credential is basic authentication, which discovery does not use" + instead},
		{name: "not verified", data: secret(`{"bearerToken":"secret","tlsClientConfig":{"insecure":true}}`),
			want: "tlsClientConfig.insecure leaves the server unverified, and discovery sends no credential to such a server: give Argo CD the CA, as tlsClientConfig.caData"},
		{name: "Argo CD's own cluster", data: map[string]string{"server": "https://kubernetes.default.svc/", "config": `{}`},
			want: "its server https://kubernetes.default.svc is the cluster that Argo CD runs in, of which it has no credential: join that by a context of your own"},
		{name: "an agent of Argo CD", data: map[string]string{"server": "https://10.0.0.1?agentName=a", "config": `{"bearerToken":"secret"}`},
			want: "credential refused: server must be an https URL with the name or address of a server, without user, query or fragment"},
		{name: "no server", data: map[string]string{"config": `{"bearerToken":"secret"}`},
			want: "credential refused: server must be an https URL with the name or address of a server, without user, query or fragment"},
		{name: "no config", data: map[string]string{"server": "https://10.0.0.1"}, want: `it has no key "config"`},
		{name: "no credential", data: secret(`{}`), want: "credential refused: it has neither an inline token nor an inline certificate"},
		{name: "a token that has ended", data: secret(`{"bearerToken":"` + jwtOf(`{"exp":1}`) + `"}`),
			want: "its credential expired at 1970-01-01T00:00:01Z; give Argo CD a new one, with argocd cluster rotate-auth"},
		{name: "not JSON", data: secret(`bearerToken: secret`), want: notJSON},
		{name: "wrong types", data: secret(`{"bearerToken":{}}`), want: notJSON},
		{name: "a CA that is not base64", data: secret(`{"bearerToken":"secret","tlsClientConfig":{"caData":"%"}}`), want: notJSON},
		{name: "65 KiB", data: secret(strings.Repeat(" ", 65<<10)), want: "its key config is larger than 64 KiB"},
	})
	c := Candidate{Source: FromArgoCD, Base: "cluster-10.0.0.1-123"}
	if _, err := argoCDCredential(&c, &corev1.Secret{Data: map[string][]byte{
		"name": []byte("prod-a"), "server": []byte("https://10.0.0.1"), "namespaces": []byte("a,b"), "config": []byte(`{"bearerToken":"secret"}`),
	}}); err != nil || c.base() != "prod-a" || c.Hint != `Argo CD uses its credential in the namespaces "a,b" only` {
		t.Errorf("%v: base %q, hint %q", err, c.base(), c.Hint)
	}
}
