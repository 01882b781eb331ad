//go:build unix

package admission

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/client-go/util/keyutil"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/test/env"
	envhost "github.com/kubefederate/kubectl-federate/test/env/host"
	"github.com/kubefederate/kubectl-federate/test/forger"
)

// documented is a file that a page shows in a YAML block which begins with its path.
func documented(t *testing.T, page, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "..", filepath.FromSlash(page)))
	must(t, err)
	found := regexp.MustCompile("(?s)```yaml\n# " + regexp.QuoteMeta(path) + "\n(.*?)```").FindStringSubmatch(string(text))
	if found == nil {
		t.Fatalf("%s has no %s", page, path)
	}
	return found[1]
}

// TestClientCertificates has an API server authenticated to the webhook, configured by the files of docs/security.md: it is served, and
// who knows the webhook's URL and has no certificate is not.
func TestClientCertificates(t *testing.T) {
	t.Parallel()
	const documentedDir = "/etc/kubernetes/admission"
	dir := t.TempDir()
	ca, certificate, key := clientCertificate(t)
	for name, content := range map[string][]byte{"ca.crt": ca, "kubefederate.crt": certificate, "kubefederate.key": key} {
		must(t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
	}
	configuration := filepath.Join(dir, "configuration.yaml")
	must(t, os.WriteFile(configuration, []byte(strings.ReplaceAll(documented(t, "docs/security.md", documentedDir+"/configuration.yaml"), documentedDir, dir)), 0o600))
	kubeconfig := strings.ReplaceAll(documented(t, "docs/security.md", documentedDir+"/webhooks.kubeconfig"), documentedDir, dir)
	// Here the webhook is called by a URL whose port is not known yet, so the user is the one for all of them.
	const user = "name: kubefederate-webhook.kubefederate-system.svc\n"
	if !strings.Contains(kubeconfig, user) {
		t.Fatal("the documented kubeconfig does not name the webhook's host")
	}
	must(t, os.WriteFile(filepath.Join(dir, "webhooks.kubeconfig"), []byte(strings.ReplaceAll(kubeconfig, user, "name: '*'\n")), 0o600))

	c, err := fleet(t).Add(t.Context(), env.Spec{Name: "authenticated", AdmissionConfiguration: configuration})
	must(t, err)
	t.Cleanup(c.Stop)
	m, err := envhost.New(c, "")
	must(t, err)
	t.Cleanup(m.Close)
	m.Flags = []string{"--client-ca-file=" + filepath.Join(dir, "ca.crt")}
	must(t, m.Install(t.Context()))
	must(t, m.Start(t.Context()))
	must(t, m.Wait(t.Context()))

	admin, _ := as(t, c.Config())
	must(t, admin.Create(t.Context(), fed("authenticated")))
	must(t, admin.Create(t.Context(), member("authenticated", "authenticated")))
	var webhooks admissionregistrationv1.ValidatingWebhookConfiguration
	must(t, admin.Get(t.Context(), client.ObjectKey{Name: manifests.WebhookConfiguration}, &webhooks))
	f := forger.New(*webhooks.Webhooks[0].ClientConfig.URL)
	defer f.Close()
	if answer, err := f.Send(t.Context(), forger.Review{Operation: admissionv1.Create, New: member("forged", "authenticated")}); err == nil {
		t.Errorf("a forged review was answered with %s", answer)
	}
	if scraped(t, admin, m, `kubefederate_webhook_rejected_total{reason="certificate"} `) == 0 {
		t.Error("it was not counted")
	}
}

// clientCertificate makes a CA and a certificate for client authentication, in PEM.
func clientCertificate(t *testing.T) (ca, certificate, key []byte) {
	t.Helper()
	issue := func(template, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
		own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		must(t, err)
		if parent == nil {
			parent, signer = template, own
		}
		template.SerialNumber, template.NotBefore, template.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &own.PublicKey, signer)
		must(t, err)
		issued, err := x509.ParseCertificate(der)
		must(t, err)
		return issued, own
	}
	authority, signer := issue(&x509.Certificate{
		Subject: pkix.Name{CommonName: "kubefederate-api-servers"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, nil, nil)
	leaf, own := issue(&x509.Certificate{
		Subject: pkix.Name{CommonName: "kube-apiserver"}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, authority, signer)
	key, err := keyutil.MarshalPrivateKeyToPEM(own)
	must(t, err)
	encode := func(c *x509.Certificate) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
	}
	return encode(authority), encode(leaf), key
}
