package discover

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
	"github.com/kubefederate/kubectl-federate/test/cases"
)

// readTest is what a source makes of an object: a line for each candidate, with the Err of those that have one.
type readTest struct{ name, object, want string }

// testRead has a source read objects of its first kind, one by one.
func testRead(t *testing.T, source SourceType, tests []readTest) {
	t.Helper()
	for _, tt := range tests {
		kinds := make([][]unstructured.Unstructured, len(source.Kinds))
		kinds[0] = []unstructured.Unstructured{object(t, tt.object)}
		if diff := cmp.Diff(tt.want, lines(source.Read(kinds))); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}

func lines(candidates []Candidate) string {
	var all []string
	for _, c := range candidates {
		line := describe(c)
		if c.Err != nil {
			line += "; error: " + c.Err.Error()
		}
		all = append(all, line)
	}
	return strings.Join(all, "\n")
}

// credentialTest is what a candidate takes of a Secret: a line, or an error.
type credentialTest struct {
	name      string
	candidate Candidate
	data      map[string]string
	want      string
}

// testCredential reads the Secret team-x/a of a source.
func testCredential(t *testing.T, source SourceType, labels map[string]string, tests []credentialTest) {
	t.Helper()
	for _, tt := range tests {
		c := tt.candidate
		c.Source, c.Secret = source.Name, secretRef("team-x", "a")
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Data: map[string][]byte{}}
		for key, text := range tt.data {
			secret.Data[key] = []byte(text)
		}
		access, err := c.access(secret, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
		var got string
		if err != nil {
			got = strings.TrimPrefix(err.Error(), `host: Secret "team-x/a": `)
		} else {
			got = taken(access)
		}
		if got != tt.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.name, got, tt.want)
		}
	}
}

// taken is an access as a test reads it.
func taken(a *kubeconfig.Access) string {
	text := fmt.Sprintf("%s with a CA of %d bytes", a.Server, len(a.CABundle))
	if a.TLSServerName != "" {
		text += ", as " + a.TLSServerName
	}
	if a.ProxyURL != "" {
		text += ", by " + a.ProxyURL
	}
	if a.Token != "" {
		return text + ", token " + a.Token
	}
	return fmt.Sprintf("%s, certificate of %d bytes", text, len(a.CertData))
}

// kubeconfigOf is a kubeconfig with a user for https://10.0.0.1:6443.
func kubeconfigOf(user string) string {
	return "apiVersion: v1\nkind: Config\ncurrent-context: x\ncontexts: [{name: x, context: {cluster: x, user: x}}]\n" +
		"clusters: [{name: x, cluster: {server: 'https://10.0.0.1:6443'}}]\nusers: [{name: x, user: " + user + "}]\n"
}

// jwtOf is a token with claims.
func jwtOf(claims string) string {
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln"
}

// hostile are kubeconfigs that must not be taken, by what they try, and why each is refused.
var hostile = []struct{ name, data, refusal string }{
	{"a command", kubeconfigOf("{exec: {apiVersion: client.authentication.k8s.io/v1, command: touch, interactiveMode: Never}}"),
		"kubeconfig refused: user.exec would run a command: use an inline token or certificate"},
	{"a provider", kubeconfigOf("{token: t, auth-provider: {name: oidc}}"),
		"kubeconfig refused: user.auth-provider would run code of a provider: use an inline token or certificate"},
	{"a file", kubeconfigOf("{tokenFile: ./token-file}"), "kubeconfig refused: user.tokenFile would read a file: use inline data"},
	{"aliases", "a: &a b\nc: *a", "kubeconfig refused: it has YAML anchors or aliases, which a credential never needs: write the values out"},
	{"nothing of the kind", "hello", "kubeconfig refused: it is not a kubeconfig of version v1"},
	{"65 KiB", strings.Repeat("#", 65<<10), "kubeconfig refused: it is larger than 64 KiB"},
}

// TestKubeconfigCredential holds that every source whose Secrets hold a kubeconfig refuses what a Secret must not make us do, and a
// credential that has ended.
func TestKubeconfigCredential(t *testing.T) {
	t.Parallel()
	for _, source := range []SourceType{clusterAPISource, rancherSource, fleetSource, secretSource} {
		tests := []credentialTest{
			{name: "a token", data: map[string]string{"value": kubeconfigOf("{token: secret}")}, want: "https://10.0.0.1:6443 with a CA of 0 bytes, token secret"},
			{name: "a token that will end", data: map[string]string{"value": kubeconfigOf("{token: " + jwtOf(`{"exp":1767225601}`) + "}")},
				want: "https://10.0.0.1:6443 with a CA of 0 bytes, token " + jwtOf(`{"exp":1767225601}`)},
			{name: "a token that has ended", data: map[string]string{"value": kubeconfigOf("{token: " + jwtOf(`{"exp":1767225600}`) + "}")},
				want: "its credential expired at 2026-01-01T00:00:00Z; " + source.Renewal},
		}
		for _, h := range hostile {
			tests = append(tests, credentialTest{name: h.name, data: map[string]string{"value": h.data}, want: h.refusal})
		}
		if source.Name != FromSecret {
			tests = append(tests, credentialTest{name: "another key", data: map[string]string{"config": kubeconfigOf("{token: secret}")}, want: `it has no key "value"`})
		}
		testCredential(t, source, nil, tests)
	}
}

// TestTokenCredential reads Secrets that hold a token, for a server that the object names.
func TestTokenCredential(t *testing.T) {
	t.Parallel()
	certificate, _ := cases.KeyPair(time.Now().Add(time.Hour))
	ca := string(certificate)
	at := func(e endpoint.Endpoint) Candidate { return Candidate{server: e} }
	here := endpoint.Endpoint{Server: "https://10.0.0.1:6443"}
	withCA := func(length int) string {
		return fmt.Sprintf("https://10.0.0.1:6443 with a CA of %d bytes, token secret", length)
	}
	for _, source := range []SourceType{kubeFedSource, karmadaSource, openClusterManagementSource} {
		testCredential(t, source, map[string]string{accountSecretLabel: "true"}, []credentialTest{
			{name: "CA of the object", candidate: at(endpoint.Endpoint{Server: here.Server, CABundle: certificate}), data: map[string]string{"token": "secret", "ca.crt": "x"}, want: withCA(len(ca))},
			{name: "CA of Karmada's Secret", candidate: at(here), data: map[string]string{"token": "secret", "caBundle": ca}, want: withCA(len(ca))},
			{name: "CA of an account's Secret", candidate: at(here), data: map[string]string{"token": "secret", "ca.crt": ca}, want: withCA(len(ca))},
			{name: "the system's CAs", candidate: at(here), data: map[string]string{"token": "secret"}, want: withCA(0)},
			{name: "a proxy", candidate: at(endpoint.Endpoint{Server: here.Server, ProxyURL: "http://10.0.0.9:3128"}), data: map[string]string{"token": "secret"},
				want: "https://10.0.0.1:6443 with a CA of 0 bytes, by http://10.0.0.9:3128, token secret"},
			{name: "no token", candidate: at(here), data: map[string]string{"value": "secret"}, want: `it has no key "token"`},
			{name: "a token that has ended", candidate: at(here), data: map[string]string{"token": jwtOf(`{"exp":1}`)}, want: "its credential expired at 1970-01-01T00:00:01Z; " + source.Renewal},
			{name: "what is no token", candidate: at(here), data: map[string]string{"token": "a\r\nX-Remote-User: b"}, want: "credential refused: token has characters that a token cannot have"},
			{name: "a token of 1 MiB", candidate: at(here), data: map[string]string{"token": strings.Repeat("x", 1<<20)}, want: "credential refused: it is larger than 64 KiB"},
			{name: "no server", candidate: at(endpoint.Endpoint{}), data: map[string]string{"token": "secret"},
				want: "credential refused: server must be an https URL with the name or address of a server, without user, query or fragment"},
			{name: "without TLS", candidate: at(endpoint.Endpoint{Server: "http://10.0.0.1"}), data: map[string]string{"token": "secret"},
				want: "credential refused: server must be an https URL with the name or address of a server, without user, query or fragment"},
			{name: "a CA that is none", candidate: at(here), data: map[string]string{"token": "secret", "ca.crt": "x"},
				want: "credential refused: certificate-authority-data must be PEM certificates, of at most 40 KiB and 16384 bits a key"},
		})
	}
	for _, source := range []SourceType{kubeFedSource, karmadaSource} {
		o := object(t, "metadata: {name: a, namespace: b}\nspec: {secretRef: {namespace: b, name: c}}")
		if got, want := source.Read([][]unstructured.Unstructured{{o}})[0].secretGroup, source.Kinds[0][0].Group; got != want {
			t.Errorf("%s takes the Secret of a Cluster of %q, want %q", source.Name, got, want)
		}
	}
	testCredential(t, openClusterManagementSource, nil, []credentialTest{
		{name: "another Secret of the namespace", candidate: at(here), data: map[string]string{"token": "secret"},
			want: "it is not the Secret of a ManagedServiceAccount: it has no label authentication.open-cluster-management.io/is-managed-serviceaccount=true"},
	})
}
