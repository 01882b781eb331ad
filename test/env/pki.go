//go:build unix

package env

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"time"

	certutil "k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"
)

// authority is the certificate authority of one cluster. It is the root for the server and for users alike.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// pair is a certificate and its key, in PEM.
type pair struct{ cert, key []byte }

func newAuthority(name string) authority {
	key := newKey()
	return authority{must(certutil.NewSelfSignedCACert(certutil.Config{CommonName: name}, key)), key}
}

func (a authority) pem() []byte { return must(certutil.EncodeCertificates(a.cert)) }

// server issues the certificate of an API server.
func (a authority) server() pair {
	return a.issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: "kube-apiserver"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv4(10, 0, 0, 1)},
	})
}

// user issues a certificate that the API server takes as user name and groups.
func (a authority) user(name string, groups []string) pair {
	return a.issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: name, Organization: groups},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
}

// issue signs a certificate for a new key. It is valid for a year, which bounds how long a playground can run.
func (a authority) issue(template *x509.Certificate) pair {
	key := newKey()
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.SerialNumber = must(rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)))
	template.NotBefore = time.Now().Add(-time.Hour)
	template.NotAfter = time.Now().Add(365 * 24 * time.Hour)
	der := must(x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key))
	return pair{must(certutil.EncodeCertificates(must(x509.ParseCertificate(der)))), encodeKey(key)}
}

func newKey() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) }

func encodeKey(key *ecdsa.PrivateKey) []byte { return must(keyutil.MarshalPrivateKeyToPEM(key)) }

// must is for what cannot fail with the fixed templates and curves above.
func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
