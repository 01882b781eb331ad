//go:build unix

package env

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"time"
)

// lifetime is how long certificates of a cluster are valid, which bounds how long a playground can stand.
const lifetime = 365 * 24 * time.Hour

// authority is the certificate authority of one cluster. It is the root for the server and for users alike.
type authority struct {
	cert *x509.Certificate
	pem  []byte
	key  *ecdsa.PrivateKey
}

// pair is a certificate and its key, in PEM.
type pair struct{ cert, key []byte }

func newAuthority(name string) *authority {
	key := newKey()
	der := sign(&x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}, nil, key, key)
	cert, err := x509.ParseCertificate(der)
	must(err)
	return &authority{cert: cert, pem: encode("CERTIFICATE", der), key: key}
}

// server issues a certificate for names and addresses.
func (a *authority) server(names []string, ips ...net.IP) pair {
	return a.issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: "kube-apiserver"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    names,
		IPAddresses: ips,
	})
}

// user issues a certificate that the API server takes as user name and groups.
func (a *authority) user(name string, groups []string) pair {
	return a.issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: name, Organization: groups},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
}

func (a *authority) issue(template *x509.Certificate) pair {
	template.KeyUsage = x509.KeyUsageDigitalSignature
	key := newKey()
	return pair{cert: encode("CERTIFICATE", sign(template, a.cert, key, a.key)), key: encodeKey(key)}
}

// sign fills in what all certificates share and signs; without a parent it signs with itself.
func sign(template, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) []byte {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	must(err)
	template.SerialNumber = serial
	template.NotBefore = time.Now().Add(-time.Hour)
	template.NotAfter = time.Now().Add(lifetime)
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	must(err)
	return der
}

func newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	return key
}

func encodeKey(key *ecdsa.PrivateKey) []byte {
	der, err := x509.MarshalECPrivateKey(key)
	must(err)
	return encode("EC PRIVATE KEY", der)
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// must is for what cannot fail with the fixed templates and curves above.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
