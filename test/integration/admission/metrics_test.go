//go:build unix

package admission

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// TestMetrics scrapes the manager over TLS as a collector does: no client without a token or the right reads a number, and a
// refusal is counted by its rule.
func TestMetrics(t *testing.T) {
	h := enforcing(t)
	h.create(t, fed("measured"))

	var certificate corev1.Secret
	must(t, h.admin.Get(t.Context(), client.ObjectKey{Namespace: v1alpha1.HostNamespace, Name: manifests.KeysSecret}, &certificate))
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(certificate.Data["ca.crt"])
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	t.Cleanup(transport.CloseIdleConnections)
	var leaf *x509.Certificate
	header := "Authorization"
	get := func(token string) string {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.manager.MetricsURL, nil)
		must(t, err)
		if token != "" {
			request.Header.Set(header, "Bearer "+token)
		}
		response, err := (&http.Client{Transport: transport}).Do(request)
		must(t, err)
		defer response.Body.Close()
		leaf = response.TLS.PeerCertificates[0]
		body, err := io.ReadAll(response.Body)
		must(t, err)
		return fmt.Sprint(response.StatusCode, " ", string(body))
	}
	account := &corev1.ServiceAccount{}
	account.Namespace, account.Name = "default", "collector"
	h.create(t, account)
	var token authenticationv1.TokenRequest
	must(t, h.admin.SubResource("token").Create(t.Context(), account, &token))

	// What comes through an API server has its token in another header, and is of the account of a support bundle.
	ofBundle := &corev1.ServiceAccount{}
	ofBundle.Namespace, ofBundle.Name = v1alpha1.HostNamespace, manifests.MetricsAccount
	read := authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{manifests.MetricsAudience}}}
	must(t, h.admin.SubResource("token").Create(t.Context(), ofBundle, &read))
	const noToken = "401 requires a bearer token of the host cluster\n"
	if got := get(""); got != noToken {
		t.Errorf("without a token: %s", got)
	}
	if got := get("forged"); got != noToken {
		t.Errorf("with a forged token: %s", got)
	}
	if got := get(read.Status.Token); got != noToken {
		t.Errorf("with the token of a support bundle in the other header: %s", got)
	}
	header = manifests.MetricsHeader
	var long authenticationv1.TokenRequest
	must(t, h.admin.SubResource("token").Create(t.Context(), ofBundle, &long))
	if got := get(long.Status.Token); got != noToken {
		t.Errorf("with a token for API servers in its header: %s", got)
	}
	// The one that was refused a moment ago is another.
	must(t, h.admin.SubResource("token").Create(t.Context(), ofBundle, &read))
	if got := get(read.Status.Token); !strings.HasPrefix(got, "200 ") {
		t.Errorf("with the token of a support bundle: %s", got)
	}
	header = "Authorization"
	if got := get(token.Status.Token); got != "403 requires the verb get on the URL /metrics: bind the ClusterRole kubefederate-metrics-reader\n" {
		t.Errorf("without the right: %s", got)
	}
	binding := &rbacv1.ClusterRoleBinding{
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "kubefederate-metrics-reader"},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: account.Namespace, Name: account.Name}},
	}
	binding.Name = "test:collector"
	h.create(t, binding)
	eventually(t, "the right", func() error {
		if got := get(token.Status.Token); !strings.HasPrefix(got, "200 ") {
			return fmt.Errorf("%s", got)
		}
		return nil
	})

	const (
		decided = `kubefederate_admission_decisions_total{dry_run="true",operation="CREATE",outcome="refused",resource="memberclusters"} `
		passed  = `kubefederate_admission_decisions_total{dry_run="false",operation="CREATE",outcome="allowed",resource="memberclusters"} `
		found   = `kubefederate_admission_findings_total{outcome="refused",resource="memberclusters",rule="endpoint"} `
		other   = `kubefederate_admission_findings_total{outcome="refused",resource="memberclusters",rule="limits"} `
		took    = `kubefederate_admission_duration_seconds_count{operation="CREATE",resource="memberclusters"} `
	)
	count := func(series string) (n int) {
		t.Helper()
		for line := range strings.Lines(get(token.Status.Token)) {
			if rest, ok := strings.CutPrefix(line, series); ok {
				n, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
				must(t, err)
				return int(n)
			}
		}
		t.Fatalf("there is no series %s", series)
		return 0
	}
	if end := count("kubefederate_webhook_certificate_expiry_timestamp_seconds "); end != int(leaf.NotAfter.Unix()) {
		t.Errorf("the certificate ends at %s, the metric says %d", leaf.NotAfter, end)
	}
	before := map[string]int{}
	for _, series := range []string{decided, passed, found, other, took} {
		before[series] = count(series)
	}
	bad := member("measured-1", "measured")
	bad.Spec.Server = "https://user@measured.example.com?query"
	if err := h.admin.Create(t.Context(), bad, client.DryRunAll); len(causesOf(err)) != 2 {
		t.Fatalf("got %v", err)
	}
	h.create(t, member("measured-2", "measured"))
	for series, want := range map[string]int{decided: 1, passed: 1, found: 2, other: 0, took: 2} {
		if got := count(series) - before[series]; got != want {
			t.Errorf("%s grew by %d, want %d", series, got, want)
		}
	}
}
