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

// Authority is a certificate authority. That of a cluster is the root for the server and for users alike.
type Authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// Pair is a certificate and its key, in PEM.
type Pair struct{ Cert, Key []byte }

// NewAuthority makes an authority with a key.
func NewAuthority(name string, key crypto.Signer) Authority {
	return Authority{must(certutil.NewSelfSignedCACert(certutil.Config{CommonName: name}, key)), key}
}

// PEM is the authority's own certificate.
func (a Authority) PEM() []byte { return must(certutil.EncodeCertificates(a.cert)) }

// Server issues the certificate of a server on loopback, and Outside, under the names of an API server as well.
func (a Authority) Server() Pair {
	addresses := []net.IP{net.IPv4(127, 0, 0, 1), net.IPv4(10, 0, 0, 1)}
	if outside, err := outsideAddress(); err == nil {
		addresses = append(addresses, net.ParseIP(outside))
	}
	return a.issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: "kube-apiserver"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"},
		IPAddresses: addresses,
	})
}

// user issues a certificate that the API server takes as user name and groups.
func (a Authority) user(name string, groups []string) Pair {
	return a.issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: name, Organization: groups},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
}

// issue signs a certificate for a new key. It is valid for a year, which bounds how long a playground can run.
func (a Authority) issue(template *x509.Certificate) Pair {
	key := NewKey()
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.SerialNumber = must(rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)))
	template.NotBefore = time.Now().Add(-time.Hour)
	template.NotAfter = time.Now().Add(365 * 24 * time.Hour)
	der := must(x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key))
	return Pair{must(certutil.EncodeCertificates(must(x509.ParseCertificate(der)))), encodeKey(key)}
}

// NewKey makes a key.
func NewKey() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) }

func encodeKey(key *ecdsa.PrivateKey) []byte { return must(keyutil.MarshalPrivateKeyToPEM(key)) }

// must is for what cannot fail with the fixed templates and curves above.
func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
