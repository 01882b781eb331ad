// Package keys makes and reads the keys of a host: the CA that signs what the webhook serves with, and the random word that
// the webhook's path ends in. init makes them and keeps them in one Secret, which is mounted into the manager as a folder;
// each replica issues a serving certificate of its own. It reads nothing but random numbers.
package keys

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"regexp"
	"slices"
	"strings"
	"time"

	"k8s.io/client-go/util/keyutil"

	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
)

// Names of the files in the folder, and keys of the Secret.
const (
	FileCA    = "ca.crt"
	FileCAKey = "ca.key"
	// FilePath holds the word.
	FilePath = "path"
	// FileOldPath is there during a change: the word that is valid beside the new one. Empty, it is the path without a word.
	FileOldPath = "path-old"
)

// Files are the names of all.
var Files = []string{FileCA, FileCAKey, FilePath, FileOldPath}

const (
	// Lifetime of a CA.
	Lifetime = 10 * 365 * 24 * time.Hour
	// servingLifetime is that of a serving certificate, which is renewed when a third is left.
	servingLifetime = 90 * 24 * time.Hour
	// caSkew is how far the clock of the machine that makes a CA may be ahead of an API server's, and skew the same for that of
	// a replica.
	caSkew = 24 * time.Hour
	skew   = time.Hour
)

// Keys are those of one host.
type Keys struct {
	CA   *x509.Certificate
	Word string
	// OldWord is nil but during a change; it points to "" where the path without a word is valid.
	OldWord *string

	key *ecdsa.PrivateKey
}

// New makes keys for a webhook that is called by names: host names and IP addresses. The CA can sign for nothing else.
func New(names []string, now time.Time) (*Keys, error) {
	template := &x509.Certificate{
		// With the time, so that people can distinguish the CAs of a bundle.
		Subject:                     pkix.Name{CommonName: "kubefederate webhook " + now.UTC().Format("2006-01-02T15:04:05Z")},
		NotBefore:                   now.Add(-caSkew),
		NotAfter:                    now.Add(Lifetime),
		KeyUsage:                    x509.KeyUsageCertSign,
		IsCA:                        true,
		BasicConstraintsValid:       true,
		MaxPathLenZero:              true,
		PermittedDNSDomainsCritical: true,
	}
	for _, name := range names {
		if ip := address(name); ip != nil {
			bits := 8 * len(ip)
			template.PermittedIPRanges = append(template.PermittedIPRanges, &net.IPNet{IP: ip, Mask: net.CIDRMask(bits, bits)})
		} else {
			template.PermittedDNSDomains = append(template.PermittedDNSDomains, name)
		}
	}
	// A kind of name that nothing is permitted of would not be constrained at all.
	if len(template.PermittedIPRanges) == 0 {
		template.ExcludedIPRanges = []*net.IPNet{{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}, {IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}}
	}
	if len(template.PermittedDNSDomains) == 0 {
		template.ExcludedDNSDomains = []string{""}
	}
	ca, key, err := sign(template, nil, nil)
	if err != nil {
		return nil, fmt.Errorf("make a CA for the webhook: %w", err)
	}
	return &Keys{CA: ca, Word: strings.ToLower(rand.Text()), key: key}, nil
}

// address is the IP address that a name is, in its shortest form; nil for a host name.
func address(name string) net.IP {
	ip := net.ParseIP(name)
	if v4 := ip.To4(); v4 != nil {
		return v4
	}
	return ip
}

// words are those that can end a path: API servers want lower case there. rand.Text makes 26 letters and digits, which hold 128 bits.
var words = regexp.MustCompile(`^[a-z0-9]{26,63}$`)

// Parse reads keys. What it says of a fault never holds what was read.
func Parse(data map[string][]byte) (*Keys, error) {
	cas, err := endpoint.ReadCertificates(data[FileCA])
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", FileCA, err)
	case len(cas) != 1:
		return nil, fmt.Errorf("%s must hold one certificate, and holds %d", FileCA, len(cas))
	}
	k := &Keys{CA: cas[0], Word: text(data[FilePath])}
	parsed, err := keyutil.ParsePrivateKeyPEM(data[FileCAKey])
	if err != nil {
		return nil, errors.New(FileCAKey + " holds no private key in PEM")
	}
	var ok bool
	if k.key, ok = parsed.(*ecdsa.PrivateKey); !ok || !k.key.PublicKey.Equal(k.CA.PublicKey) {
		return nil, errors.New(FileCAKey + " is not the key of " + FileCA)
	}
	if !words.MatchString(k.Word) {
		return nil, errors.New(FilePath + " must hold 26 to 63 lower-case letters and digits")
	}
	if old, has := data[FileOldPath]; has {
		k.OldWord = new(text(old))
		if *k.OldWord != "" && !words.MatchString(*k.OldWord) {
			return nil, errors.New(FileOldPath + " must be empty or hold 26 to 63 lower-case letters and digits")
		}
	}
	return k, nil
}

// text is a word without the line break that editors add.
func text(data []byte) string { return strings.TrimSpace(string(data)) }

// Data is the content of the Secret.
func (k *Keys) Data() (map[string][]byte, error) {
	key, err := keyutil.MarshalPrivateKeyToPEM(k.key)
	if err != nil {
		return nil, err
	}
	data := map[string][]byte{FileCA: endpoint.EncodeCertificates([]*x509.Certificate{k.CA}), FileCAKey: key, FilePath: []byte(k.Word)}
	if k.OldWord != nil {
		data[FileOldPath] = []byte(*k.OldWord)
	}
	return data, nil
}

// Accepts says whether a path that ends in word is one of the webhook's; "" stands for a path without a word.
func (k *Keys) Accepts(word string) bool {
	same := func(have string) bool { return subtle.ConstantTimeCompare([]byte(have), []byte(word)) == 1 }
	return same(k.Word) || k.OldWord != nil && same(*k.OldWord)
}

// Names are those that the CA can sign for, sorted.
func (k *Keys) Names() []string {
	names := slices.Clone(k.CA.PermittedDNSDomains)
	for _, r := range k.CA.PermittedIPRanges {
		names = append(names, r.IP.String())
	}
	slices.Sort(names)
	return names
}

// For says whether the CA is for these names and no others.
func (k *Keys) For(names []string) bool {
	want := make([]string, len(names))
	for i, name := range names {
		if want[i] = name; address(name) != nil {
			want[i] = address(name).String()
		}
	}
	slices.Sort(want)
	return slices.Equal(k.Names(), want)
}

// Serving issues a certificate for all names of the CA, with a key of its own.
func (k *Keys) Serving(now time.Time) (*tls.Certificate, error) {
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "kubefederate-webhook"},
		NotBefore:   now.Add(-skew),
		NotAfter:    now.Add(servingLifetime),
		DNSNames:    k.CA.PermittedDNSDomains,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if template.NotAfter.After(k.CA.NotAfter) {
		template.NotAfter = k.CA.NotAfter
	}
	for _, r := range k.CA.PermittedIPRanges {
		template.IPAddresses = append(template.IPAddresses, r.IP)
	}
	if len(template.DNSNames)+len(template.IPAddresses) == 0 {
		return nil, errors.New("issue a serving certificate: the CA in " + FileCA + " has no name constraints, so it is none that init made")
	}
	leaf, key, err := sign(template, k.CA, k.key)
	if err != nil {
		return nil, fmt.Errorf("issue a serving certificate: %w", err)
	}
	return &tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

// Due says whether a serving certificate is to be replaced: less than a third of its life is left.
func Due(c *x509.Certificate, now time.Time) bool {
	return now.After(c.NotAfter.Add(-c.NotAfter.Sub(c.NotBefore) / 3))
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
