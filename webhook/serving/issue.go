package serving

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"slices"
	"time"

	"k8s.io/client-go/util/keyutil"

	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
)

// Lifetimes. A certificate is renewed when a third is left, so the manager may be down for weeks.
const (
	caLifetime      = 2 * 365 * 24 * time.Hour
	servingLifetime = 90 * 24 * time.Hour
	// skew is how far the clock of an API server may be behind.
	skew = 5 * time.Minute
	// announceDuration is how long a new CA is in the webhook configuration before it signs: API servers and the other
	// replicas need a few seconds to read a change.
	announceDuration = 2 * time.Minute
)

// Keys of the Secret.
const (
	keyCABundle = "ca.crt" // the newest CA first
	keyCAKey    = "ca.key" // of the newest CA
	keyCert     = "tls.crt"
	keyKey      = "tls.key"
)

// material is the content of the Secret.
type material map[string][]byte

// renewed is the material as it should be for the names, and whether it differs.
func (m material) renewed(names []string, now time.Time) (material, bool, error) {
	// A bundle that cannot be read holds no CA: there is a new one then.
	cas, _ := endpoint.ReadCertificates(m[keyCABundle])
	cas = slices.DeleteFunc(cas, func(c *x509.Certificate) bool { return now.After(c.NotAfter) })
	var key *ecdsa.PrivateKey
	if len(cas) > 0 {
		key, _ = parseKey(m[keyCAKey], cas[0])
	}
	next, changed := material{keyCABundle: m[keyCABundle], keyCAKey: m[keyCAKey], keyCert: m[keyCert], keyKey: m[keyKey]}, false
	if key == nil || due(cas[0], now) {
		ca, newKey, err := newCA(now)
		if err != nil {
			return nil, false, err
		}
		cas, key = append([]*x509.Certificate{ca}, cas...), newKey
		if next[keyCAKey], err = encodeKey(newKey); err != nil {
			return nil, false, err
		}
		changed = true
	}
	if bundle := endpoint.EncodeCertificates(cas); !bytes.Equal(bundle, next[keyCABundle]) {
		next[keyCABundle], changed = bundle, true
	}

	serving, err := m.serving(cas, names, now)
	fresh := now.Sub(cas[0].NotBefore.Add(skew)) < announceDuration
	outdated := err == nil && (due(serving, now) || serving.CheckSignatureFrom(cas[0]) != nil)
	if err != nil || outdated && !fresh {
		if next[keyCert], next[keyKey], err = newServing(cas[0], key, names, now); err != nil {
			return nil, false, err
		}
		changed = true
	}
	return next, changed, nil
}

// serving is the serving certificate, or an error when API servers would refuse it now for one of the names.
func (m material) serving(cas []*x509.Certificate, names []string, now time.Time) (*x509.Certificate, error) {
	pair, err := tls.X509KeyPair(m[keyCert], m[keyKey])
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	for _, ca := range cas {
		roots.AddCert(ca)
	}
	for _, name := range names {
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name, CurrentTime: now}); err != nil {
			return nil, err
		}
	}
	return pair.Leaf, nil
}

// due says whether less than a third of a certificate's life is left.
func due(c *x509.Certificate, now time.Time) bool {
	return now.After(c.NotAfter.Add(-c.NotAfter.Sub(c.NotBefore) / 3))
}

func newCA(now time.Time) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "kubefederate webhook " + now.UTC().Format("2006-01-02T15:04:05Z")},
		NotBefore:             now.Add(-skew),
		NotAfter:              now.Add(caLifetime),
		KeyUsage:              x509.KeyUsageCertSign,
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
	}
	return sign(template, nil, nil)
}

func newServing(ca *x509.Certificate, caKey *ecdsa.PrivateKey, names []string, now time.Time) (certificate, key []byte, err error) {
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "kubefederate-webhook"},
		NotBefore:   now.Add(-skew),
		NotAfter:    now.Add(servingLifetime),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	leaf, private, err := sign(template, ca, caKey)
	if err != nil {
		return nil, nil, err
	}
	key, err = encodeKey(private)
	return endpoint.EncodeCertificates([]*x509.Certificate{leaf}), key, err
}

// sign makes a key and a certificate for it; without a parent the certificate signs itself.
func sign(template, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return nil, nil, err
	}
	if parent == nil {
		parent, parentKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	if err != nil {
		return nil, nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	return certificate, key, err
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) { return keyutil.MarshalPrivateKeyToPEM(key) }

// parseKey reads the key of a certificate.
func parseKey(data []byte, certificate *x509.Certificate) (*ecdsa.PrivateKey, error) {
	parsed, err := keyutil.ParsePrivateKeyPEM(data)
	if err != nil {
		return nil, err
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || !key.PublicKey.Equal(certificate.PublicKey) {
		return nil, errors.New("the key is not that of the CA")
	}
	return key, nil
}
