package endpoint

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// MaxCABundle is how many bytes of certificates a member may have: its credential, of at most 64 KiB, has their base64. The
// CustomResourceDefinition counts that, too.
const MaxCABundle = 40 << 10

// maxCABits is how large the RSA key of a CA may be. To verify by one of 40 KiB takes a fifth of a second, for each of the hundred
// certificates that a server may present.
const maxCABits = 16384

const certificateBlock = "CERTIFICATE"

// RSABits is the size of the RSA key of a certificate; 0 where it is another kind of key.
func RSABits(certificate *x509.Certificate) int {
	if key, ok := certificate.PublicKey.(*rsa.PublicKey); ok {
		return key.N.BitLen()
	}
	return 0
}

// ReadCertificates reads the certificates of a CA bundle; text around them, as openssl prints it, does not count. Empty
// data holds none; anything else must hold at least one, and nothing else in PEM: client-go's util/cert would pass a
// private key over, which then everyone who may get members could read, and drops a certificate that is cut short or
// does not begin at the start of a line.
func ReadCertificates(data []byte) ([]*x509.Certificate, error) {
	if len(data) == 0 {
		return nil, nil
	}
	var certificates []*x509.Certificate
	for rest := data; ; {
		n := len(certificates) + 1
		block, after := pem.Decode(rest)
		begun := begins(rest[:len(rest)-len(after)])
		switch {
		case block == nil && begins(rest) > 0, block != nil && begun > 1:
			return nil, fmt.Errorf("certificate %d is not PEM, is cut short, or does not begin at the start of a line", n)
		case block == nil && n == 1:
			return nil, noCertificate(data)
		case block == nil:
			return certificates, nil
		case block.Type != certificateBlock:
			return nil, fmt.Errorf("block %d is %q, and only certificates belong here", n, block.Type)
		case len(block.Headers) > 0:
			return nil, fmt.Errorf("certificate %d has PEM headers, and clients pass it over", n)
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d cannot be read: %w", n, err)
		}
		if bits := RSABits(certificate); bits > maxCABits {
			return nil, fmt.Errorf("certificate %d has an RSA key of %d bits, more than %d", n, bits, maxCABits)
		}
		certificates, rest = append(certificates, certificate), after
	}
}

// begins counts the PEM blocks that begin in text, those behind blanks or a byte order mark too: clients pass them over.
func begins(text []byte) (n int) {
	for line := range bytes.Lines(text) {
		if bytes.HasPrefix(bytes.TrimLeft(line, " \t\ufeff"), []byte("-----BEGIN ")) {
			n++
		}
	}
	return n
}

func noCertificate(data []byte) error {
	if _, err := x509.ParseCertificates(data); err == nil {
		return errors.New("it is a certificate in DER form, and must be PEM: convert it with openssl x509 -inform der -outform pem")
	}
	return errors.New("it holds no PEM certificate")
}

// CA names the certificates that the server's own is verified by, for a person who compares two endpoints.
func (e Endpoint) CA() string {
	switch certificates, err := ReadCertificates(e.CABundle); {
	case e.InsecureSkipTLSVerify:
		return "none: its certificate is not verified"
	case err != nil:
		return "unreadable"
	case len(certificates) == 0:
		return "the roots of the system"
	default:
		return fmt.Sprintf("SHA256:%x", sha256.Sum256(EncodeCertificates(certificates)))
	}
}

// EncodeCertificates is the PEM of certificates and nothing else; no certificates are no bytes.
func EncodeCertificates(certificates []*x509.Certificate) []byte {
	var data bytes.Buffer
	for _, c := range certificates {
		_ = pem.Encode(&data, &pem.Block{Type: certificateBlock, Bytes: c.Raw}) // a buffer takes everything
	}
	return data.Bytes()
}
