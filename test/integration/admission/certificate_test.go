//go:build unix

package admission

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	envhost "github.com/kubefederate/kubectl-federate/test/env/host"
)

// TestCertificateIsKept takes the certificate and its CA away in every way, with two replicas, and waits until API servers
// are answered again with what the Secret holds.
func TestCertificateIsKept(t *testing.T) {
	h := enforcing(t)
	key := client.ObjectKey{Namespace: v1alpha1.HostNamespace, Name: manifests.CertificateSecret}
	second, err := envhost.New(h.Cluster, "")
	must(t, err)
	t.Cleanup(second.Close)
	must(t, second.Start(t.Context()))

	secret := func() *corev1.Secret {
		s := &corev1.Secret{}
		eventually(t, "the Secret", func() error { return h.admin.Get(t.Context(), key, s) })
		return s
	}
	// agreed waits until both replicas serve what the Secret holds and both webhooks know its CA.
	agreed := func() {
		t.Helper()
		eventually(t, "all agree", func() error {
			s := secret()
			var configuration admissionregistrationv1.ValidatingWebhookConfiguration
			must(t, h.admin.Get(t.Context(), client.ObjectKey{Name: manifests.WebhookConfiguration}, &configuration))
			for _, w := range configuration.Webhooks {
				if !bytes.Equal(w.ClientConfig.CABundle, s.Data["ca.crt"]) {
					return fmt.Errorf("%s has another CA", w.Name)
				}
			}
			pair, err := tls.X509KeyPair(s.Data["tls.crt"], s.Data["tls.key"])
			if err != nil {
				return err
			}
			for _, url := range []string{h.manager.URL, second.URL} {
				if err := serves(t.Context(), url, pair.Leaf, s.Data["ca.crt"]); err != nil {
					return fmt.Errorf("%s: %w", url, err)
				}
			}
			return nil
		})
		must(t, h.manager.Wait(t.Context()))
	}
	agreed()
	first := secret()

	must(t, h.admin.Patch(t.Context(), &admissionregistrationv1.ValidatingWebhookConfiguration{ObjectMeta: objectMeta(manifests.WebhookConfiguration)},
		client.RawPatch(types.JSONPatchType, []byte(`[{"op":"remove","path":"/webhooks/0/clientConfig/caBundle"}]`))))
	agreed()
	if s := secret(); s.UID != first.UID || s.ResourceVersion != first.ResourceVersion {
		t.Error("the Secret was written again for a configuration that had lost its CA")
	}

	must(t, h.admin.Delete(t.Context(), secret()))
	agreed()
	if bytes.Equal(secret().Data["tls.crt"], first.Data["tls.crt"]) {
		t.Error("the certificate is that of the Secret that was deleted")
	}

	s := secret()
	s.Data["tls.key"] = []byte("garbage")
	must(t, h.admin.Update(t.Context(), s))
	agreed()
	if !bytes.Equal(secret().Data["ca.crt"], s.Data["ca.crt"]) {
		t.Error("the CA was issued anew for a broken certificate")
	}
}

// serves checks what a server presents.
func serves(ctx context.Context, address string, leaf *x509.Certificate, ca []byte) error {
	u, err := url.Parse(address)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	dialer := &tls.Dialer{Config: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	connection, err := dialer.DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return err
	}
	defer connection.Close()
	if !connection.(*tls.Conn).ConnectionState().PeerCertificates[0].Equal(leaf) {
		return errors.New("another certificate is served")
	}
	return nil
}
