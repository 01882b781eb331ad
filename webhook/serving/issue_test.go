package serving

import (
	"bytes"
	"crypto/x509"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
)

var (
	start = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	hosts = []string{"127.0.0.1", "kubefederate-webhook.kubefederate-system.svc"}
)

// first is the material of a fresh install.
func first(t *testing.T) material {
	t.Helper()
	m, changed, err := material(nil).renewed(hosts, start)
	if err != nil || !changed {
		t.Fatalf("changed %v, %v", changed, err)
	}
	return m
}

// certificates are those of a PEM bundle.
func certificates(t *testing.T, data []byte) []*x509.Certificate {
	t.Helper()
	all, err := endpoint.ReadCertificates(data)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// verifies says whether API servers that know a bundle take a certificate now.
func verifies(t *testing.T, bundle, certificate []byte, now time.Time) bool {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(bundle)
	for _, name := range hosts {
		_, err := certificates(t, certificate)[0].Verify(x509.VerifyOptions{Roots: roots, DNSName: name, CurrentTime: now})
		if err != nil {
			return false
		}
	}
	return true
}

func TestRenewed(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for name, test := range map[string]struct {
		fault func(material)
		names []string
		after time.Duration
		// What is new.
		ca, certificate bool
	}{
		"nothing to do":           {after: day},
		"certificate ends":        {after: 61 * day, certificate: true},
		"certificate has ended":   {after: 91 * day, certificate: true},
		"CA ends":                 {after: 500 * day, ca: true, certificate: true},
		"CA has ended":            {after: 800 * day, ca: true, certificate: true},
		"another name":            {after: day, names: []string{"manager.example.com"}, certificate: true},
		"one name less":           {after: day, names: hosts[:1]},
		"CA key is lost":          {after: day, fault: func(m material) { delete(m, keyCAKey) }, ca: true},
		"CA key is of another CA": {after: day, fault: func(m material) { o, _, _ := material(nil).renewed(hosts, start); m[keyCAKey] = o[keyCAKey] }, ca: true},
		"CA is lost":              {after: day, fault: func(m material) { delete(m, keyCABundle) }, ca: true, certificate: true},
		"CA is garbage":           {after: day, fault: func(m material) { m[keyCABundle] = []byte("x") }, ca: true, certificate: true},
		"key is lost":             {after: day, fault: func(m material) { delete(m, keyKey) }, certificate: true},
		"certificate is of another": {after: day, fault: func(m material) {
			o, _, _ := material(nil).renewed(hosts, start)
			m[keyCert], m[keyKey] = o[keyCert], o[keyKey]
		}, certificate: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before := maps.Clone(first(t))
			if test.fault != nil {
				test.fault(before)
			}
			names := hosts
			if test.names != nil {
				names = test.names
			}
			now := start.Add(test.after)
			after, changed, err := before.renewed(names, now)
			if err != nil {
				t.Fatal(err)
			}
			if changed != (test.ca || test.certificate) {
				t.Errorf("changed: %v", changed)
			}
			if ca := !bytes.Equal(before[keyCAKey], after[keyCAKey]); ca != test.ca {
				t.Errorf("new CA: %v", ca)
			}
			if certificate := !bytes.Equal(before[keyCert], after[keyCert]); certificate != test.certificate {
				t.Errorf("new certificate: %v", certificate)
			}
			if _, err := after.serving(certificates(t, after[keyCABundle]), names, now); err != nil {
				t.Errorf("it does not verify: %v", err)
			}
			if _, changed, _ := after.renewed(names, now); changed {
				t.Error("a second renewal changes it again")
			}
		})
	}
}

// TestCARotatesWithoutAGap walks through the end of a CA in steps of a minute: at each, what replicas served a minute
// ago verifies with the bundle of now, and what is served now with the bundle of a minute ago.
func TestCARotatesWithoutAGap(t *testing.T) {
	t.Parallel()
	before := first(t)
	// A certificate that is new when the CA is due, so that only the CA is renewed.
	rotation := start.Add(caLifetime - (caLifetime+skew)/3)
	before, _, err := before.renewed(hosts, rotation.Add(-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	two, signed := false, false
	for minute := range 20 {
		now := rotation.Add(time.Duration(minute-5) * time.Minute)
		after, _, err := before.renewed(hosts, now)
		if err != nil {
			t.Fatal(err)
		}
		if !verifies(t, before[keyCABundle], after[keyCert], now) {
			t.Fatalf("minute %d: an API server that is a minute behind does not take the certificate", minute)
		}
		if !verifies(t, after[keyCABundle], before[keyCert], now) {
			t.Fatalf("minute %d: a replica that is a minute behind is not taken", minute)
		}
		cas := certificates(t, after[keyCABundle])
		two = two || len(cas) == 2
		signed = signed || two && certificates(t, after[keyCert])[0].CheckSignatureFrom(cas[0]) == nil
		before = after
	}
	if !two || !signed {
		t.Errorf("two CAs: %v, the new one signs: %v", two, signed)
	}
	// The old CA goes when it ends.
	gone, _, err := before.renewed(hosts, start.Add(caLifetime+time.Hour))
	if err != nil || len(certificates(t, gone[keyCABundle])) != 1 {
		t.Errorf("%d CAs, %v", len(certificates(t, gone[keyCABundle])), err)
	}
}

func TestMaterialHasItsKeys(t *testing.T) {
	t.Parallel()
	if got := slices.Sorted(maps.Keys(first(t))); !slices.Equal(got, []string{"ca.crt", "ca.key", "tls.crt", "tls.key"}) {
		t.Errorf("got %v", got)
	}
}
