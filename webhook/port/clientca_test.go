package port

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authority signs client certificates.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return authority{certificate, key}
}

func (a authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.certificate.Raw})
}

func (a authority) sign(t *testing.T, usage x509.ExtKeyUsage, until time.Time) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "api-server"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: until,
		ExtKeyUsage: []x509.ExtKeyUsage{usage},
	}, a.certificate, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestClientCA(t *testing.T) {
	t.Parallel()
	own, other := newAuthority(t), newAuthority(t)
	file := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(file, own.pem(), 0o600); err != nil {
		t.Fatal(err)
	}
	ca, err := ReadClientCA(file)
	if err != nil {
		t.Fatal(err)
	}
	s, address := serve(t, defaultBounds, ca, func(http.ResponseWriter, *http.Request) {})
	later := time.Now().Add(time.Hour)
	for name, certificates := range map[string][]tls.Certificate{
		"none":           nil,
		"another CA's":   {other.sign(t, x509.ExtKeyUsageClientAuth, later)},
		"a server's":     {own.sign(t, x509.ExtKeyUsageServerAuth, later)},
		"an expired one": {own.sign(t, x509.ExtKeyUsageClientAuth, time.Now().Add(-time.Minute))},
	} {
		if code, _, err := post(t, client(certificates...), address, known, strings.NewReader("{}")); err == nil {
			t.Errorf("with %s certificate: %d", name, code)
		}
	}
	holds(t, s, reasonCertificate, 4)
	good := client(own.sign(t, x509.ExtKeyUsageClientAuth, later))
	if code, _, err := post(t, good, address, known, strings.NewReader("{}")); code != 200 || err != nil {
		t.Errorf("an API server: %d %v", code, err)
	}

	// The CA changes, and is missing for a moment.
	for i, content := range [][]byte{other.pem(), nil} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		ca.mu.Lock()
		ca.read = time.Now().Add(-reloadInterval)
		ca.mu.Unlock()
		if code, _, err := post(t, good, address, known, strings.NewReader("{}")); err == nil {
			t.Errorf("change %d: %d", i, code)
		}
		next := client(other.sign(t, x509.ExtKeyUsageClientAuth, later))
		if code, _, err := post(t, next, address, known, strings.NewReader("{}")); code != 200 || err != nil {
			t.Errorf("change %d: %d %v", i, code, err)
		}
	}
	if _, err := ReadClientCA(file); err == nil || err.Error() != file+" holds no certificate" {
		t.Errorf("an empty file: %v", err)
	}
}
