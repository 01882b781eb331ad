package kubeconfig

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"

	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
)

// maxRSABits is how large an RSA key of a client Go's TLS, and so an API server, accepts. With a key of 64 KB each connection takes a
// core minutes, which nothing ends, and so does reading it.
const maxRSABits = 8192

// hasWideKey says whether a certificate or a key is that of a larger one.
func hasWideKey(certificates, key []byte) bool {
	for block, rest := pem.Decode(certificates); block != nil; block, rest = pem.Decode(rest) {
		if certificate, err := x509.ParseCertificate(block.Bytes); err == nil && endpoint.RSABits(certificate) > maxRSABits {
			return true
		}
	}
	for block, rest := pem.Decode(key); block != nil; block, rest = pem.Decode(rest) {
		if modulusOf(block.Bytes).BitLen() > maxRSABits {
			return true
		}
	}
	return false
}

// modulusOf is that of an RSA key by PKCS #1 or #8; 0 for any other key. It computes nothing.
func modulusOf(der []byte) *big.Int {
	var pkcs8 struct {
		Version   int
		Algorithm pkix.AlgorithmIdentifier
		Key       []byte
	}
	if _, err := asn1.Unmarshal(der, &pkcs8); err == nil {
		der = pkcs8.Key
	}
	// What follows in it is passed over.
	pkcs1 := struct {
		Version int
		Modulus *big.Int
	}{Modulus: new(big.Int)}
	if _, err := asn1.Unmarshal(der, &pkcs1); err != nil {
		return new(big.Int)
	}
	return pkcs1.Modulus
}
