package keys_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"maps"
	"math/big"
	"net"
	"slices"
	"testing"
	"time"

	"k8s.io/client-go/util/keyutil"

	"github.com/kubefederate/kubectl-federate/pkg/keys"
)

var start = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

const service = "kubefederate-webhook.kubefederate-system.svc"

func made(t *testing.T, names ...string) *keys.Keys {
	t.Helper()
	k, err := keys.New(names, start)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func data(t *testing.T, k *keys.Keys) map[string][]byte {
	t.Helper()
	d, err := k.Data()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestKeysAreReadBack(t *testing.T) {
	t.Parallel()
	for _, names := range [][]string{{service, service + ".cluster.local"}, {"127.0.0.1"}, {"::1"}, {"manager.example.com", "10.0.0.1"}} {
		k := made(t, names...)
		for _, old := range []*string{nil, new(""), new(made(t, service).Word)} {
			k.OldWord = old
			got, err := keys.Parse(data(t, k))
			if err != nil {
				t.Fatal(err)
			}
			if !got.CA.Equal(k.CA) || got.Word != k.Word || (got.OldWord == nil) != (old == nil) || old != nil && *got.OldWord != *old || !got.For(names) {
				t.Errorf("%v: read back as another: %v", names, got.Names())
			}
		}
		if k.For(append(names, "more.example.com")) || k.For(names[1:]) {
			t.Errorf("%v: they are for other names, too", names)
		}
	}
	if a, b := made(t, service), made(t, service); a.Word == b.Word || a.CA.Equal(b.CA) {
		t.Error("two are alike")
	}
}

// TestServingCertificates holds that what a replica issues verifies from the moment that it is issued until the end, with clocks that are
// apart, and for all names of the CA.
func TestServingCertificates(t *testing.T) {
	t.Parallel()
	k := made(t, service, "127.0.0.1", "::1")
	const day = 24 * time.Hour
	for name, test := range map[string]struct {
		issued, verified time.Duration
		want             bool
	}{
		"at once": {0, 0, true},
		"with a CA of a machine that is 23 hours ahead": {-23 * time.Hour, -23 * time.Hour, true},
		"by an API server that is 59 minutes behind":    {0, -59 * time.Minute, true},
		"after 89 days":                                  {0, 89 * day, true},
		"after 91 days":                                  {0, 91 * day, false},
		"in the tenth year":                              {3600 * day, 3601 * day, true},
		"issued in the last days of the CA":              {3649 * day, 3649*day + 23*time.Hour, true},
		"issued in the last days of the CA, after these": {3649 * day, 3651 * day, false},
	} {
		pair, err := k.Serving(start.Add(test.issued))
		if err != nil {
			t.Fatal(err)
		}
		roots := x509.NewCertPool()
		roots.AddCert(k.CA)
		for _, host := range k.Names() {
			_, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: host, CurrentTime: start.Add(test.verified)})
			if (err == nil) != test.want {
				t.Errorf("%s, %s: %v", name, host, err)
			}
		}
	}
	pair, err := k.Serving(start)
	if err != nil {
		t.Fatal(err)
	}
	if keys.Due(pair.Leaf, start.Add(59*day)) || !keys.Due(pair.Leaf, start.Add(61*day)) {
		t.Error("it is not renewed when a third is left")
	}
}

// TestCAIsConstrained signs for other names with the CA's key, as a thief of it would.
func TestCAIsConstrained(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		ca     []string
		host   string
		permit bool
	}{
		"the Service":                  {[]string{service}, service, true},
		"another Service":              {[]string{service}, "other.kubefederate-system.svc", false},
		"the API server":               {[]string{service}, "kubernetes.default.svc", false},
		"any address":                  {[]string{service}, "10.0.0.1", false},
		"any address of IPv6":          {[]string{service}, "fd00::1", false},
		"its address":                  {[]string{"127.0.0.1"}, "127.0.0.1", true},
		"another address":              {[]string{"127.0.0.1"}, "127.0.0.2", false},
		"an address of IPv6":           {[]string{"127.0.0.1"}, "::1", false},
		"any host name of an address":  {[]string{"127.0.0.1"}, "example.com", false},
		"a host name of a mixed one":   {[]string{"127.0.0.1", "a.example.com"}, "b.example.com", false},
		"one name of a mixed one":      {[]string{"127.0.0.1", "a.example.com"}, "a.example.com", true},
		"its upper-case name":          {[]string{"Manager.example.com"}, "manager.example.com", true},
		"a host name of IPv6 alone":    {[]string{"::1"}, "example.com", false},
		"an address of IPv4 with IPv6": {[]string{"::1"}, "127.0.0.1", false},
	} {
		k := made(t, test.ca...)
		if !k.CA.PermittedDNSDomainsCritical {
			t.Errorf("%s: who does not know name constraints takes the CA for any name", name)
		}
		parsed, err := keyutil.ParsePrivateKeyPEM(data(t, k)[keys.FileCAKey])
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: start, NotAfter: start.Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
		if ip := net.ParseIP(test.host); ip != nil {
			template.IPAddresses = []net.IP{ip}
		} else {
			template.DNSNames = []string{test.host}
		}
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.CreateCertificate(rand.Reader, template, k.CA, key.Public(), parsed)
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		roots := x509.NewCertPool()
		roots.AddCert(k.CA)
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: test.host, CurrentTime: start}); (err == nil) != test.permit {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	k, other := made(t, service), data(t, made(t, service))
	if old := data(t, k); fmt.Sprint(slices.Sorted(maps.Keys(old))) != "[ca.crt ca.key path]" {
		t.Errorf("keys: %v", slices.Sorted(maps.Keys(old)))
	}
	for name, test := range map[string]struct {
		change func(map[string][]byte)
		want   string
	}{
		"as made":          {func(map[string][]byte) {}, "<nil>"},
		"a line break":     {func(d map[string][]byte) { d[keys.FilePath] = append(d[keys.FilePath], '\n') }, "<nil>"},
		"no CA":            {func(d map[string][]byte) { delete(d, keys.FileCA) }, "ca.crt must hold one certificate, and holds 0"},
		"two CAs":          {func(d map[string][]byte) { d[keys.FileCA] = append(d[keys.FileCA], other[keys.FileCA]...) }, "ca.crt must hold one certificate, and holds 2"},
		"garbage as CA":    {func(d map[string][]byte) { d[keys.FileCA] = []byte("x") }, "ca.crt: it holds no PEM certificate"},
		"no key":           {func(d map[string][]byte) { delete(d, keys.FileCAKey) }, "ca.key holds no private key in PEM"},
		"key of another":   {func(d map[string][]byte) { d[keys.FileCAKey] = other[keys.FileCAKey] }, "ca.key is not the key of ca.crt"},
		"no word":          {func(d map[string][]byte) { delete(d, keys.FilePath) }, "path must hold 26 to 63 lower-case letters and digits"},
		"a short word":     {func(d map[string][]byte) { d[keys.FilePath] = []byte("abc") }, "path must hold 26 to 63 lower-case letters and digits"},
		"a path as word":   {func(d map[string][]byte) { d[keys.FilePath] = []byte("aaaaaaaaaaaaaaaaaaaaaaaaaa/b") }, "path must hold 26 to 63 lower-case letters and digits"},
		"no old word":      {func(d map[string][]byte) { d[keys.FileOldPath] = nil }, "<nil>"},
		"a short old word": {func(d map[string][]byte) { d[keys.FileOldPath] = []byte("x") }, "path-old must be empty or hold 26 to 63 lower-case letters and digits"},
	} {
		d := data(t, k)
		test.change(d)
		if _, err := keys.Parse(d); fmt.Sprint(err) != test.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAccepts(t *testing.T) {
	t.Parallel()
	k, before := made(t, service), made(t, service).Word
	for name, test := range map[string]struct {
		old                      *string
		word, former, none, part bool
	}{
		"no change":             {nil, true, false, false, false},
		"a change":              {&before, true, true, false, false},
		"a change from no word": {new(""), true, false, true, false},
	} {
		k.OldWord = test.old
		if k.Accepts(k.Word) != test.word || k.Accepts(before) != test.former || k.Accepts("") != test.none || k.Accepts(k.Word[:25]) != test.part {
			t.Errorf("%s: not as said", name)
		}
	}
}
