package endpoint_test

import (
	"bytes"
	"encoding/pem"
	"reflect"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
	"github.com/kubefederate/kubectl-federate/test/cases"
)

var spec = field.NewPath("spec")

func TestValidate(t *testing.T) {
	t.Parallel()
	ca := cases.Certificate(cases.Now)
	block, _ := pem.Decode(ca)
	long := strings.Repeat("x", 64) + ".example.com"
	for name, c := range map[string]struct {
		endpoint endpoint.Endpoint
		want     string
	}{
		"good":             {endpoint.Endpoint{Server: "https://a.example.com:6443/k8s/clusters/c-abc", CABundle: ca, ProxyURL: "socks5://p:1080/", TLSServerName: "b"}, ""},
		"underscore":       {endpoint.Endpoint{Server: "https://a_b.example.com", TLSServerName: "c_d"}, ""},
		"address":          {endpoint.Endpoint{Server: "https://[2001:db8::1]:6443", TLSServerName: "10.0.0.1"}, ""},
		"last dot":         {endpoint.Endpoint{Server: "https://a.example.com.:6443"}, ""},
		"no URL":           {endpoint.Endpoint{Server: "https://a b:hunter2@x"}, "spec.server: Invalid value: it is not a URL"},
		"no host":          {endpoint.Endpoint{Server: "https://"}, "spec.server: Invalid value: it must have a host"},
		"http":             {endpoint.Endpoint{Server: "http://a"}, `spec.server: Invalid value: the scheme must be https, and is "http"`},
		"query":            {endpoint.Endpoint{Server: "https://a?"}, "spec.server: Invalid value: it must not have a query"},
		"fragment":         {endpoint.Endpoint{Server: "https://a#b"}, "spec.server: Invalid value: it must not have a fragment"},
		"no fragment":      {endpoint.Endpoint{Server: "https://a#"}, "spec.server: Invalid value: it must not have a fragment"},
		"capital scheme":   {endpoint.Endpoint{Server: "HTTPS://a"}, "spec.server: Invalid value: the scheme must be in lower case"},
		"long URL":         {endpoint.Endpoint{Server: "https://a/" + strings.Repeat("x", 2039)}, "spec.server: Invalid value: it has 2049 characters, and may have 2048"},
		"Kelvin sign":      {endpoint.Endpoint{Server: "https://\u212aelvin.de"}, "spec.server: Invalid value: \"\u212aelvin.de\" must be written in ASCII: kelvin.de"},
		"long label":       {endpoint.Endpoint{Server: "https://" + long}, `spec.server: Invalid value: "` + long + `" is neither a DNS name nor an IP address`},
		"zone":             {endpoint.Endpoint{Server: "https://[fe80::1%25eth0]", TLSServerName: "fe80::1%en-1.2_x"}, ""},
		"bad zone":         {endpoint.Endpoint{Server: "https://a", TLSServerName: "fe80::1%\x1b[31m x"}, `spec.tlsServerName: Invalid value: "fe80::1%\x1b[31m x" is neither a DNS name nor an IP address`},
		"long server name": {endpoint.Endpoint{Server: "https://a", TLSServerName: strings.Repeat("x.", 127) + "x"}, "spec.tlsServerName: Invalid value: it has 255 characters, and may have 253"},
		"proxy fragment":   {endpoint.Endpoint{Server: "https://a", ProxyURL: "http://p#"}, "spec.proxyURL: Invalid value: it must end after host and port"},
		"capital proxy":    {endpoint.Endpoint{Server: "https://a", ProxyURL: "HTTP://p"}, ""},
		"long proxy":       {endpoint.Endpoint{Server: "https://a", ProxyURL: "http://" + strings.Repeat("x", 2042)}, "spec.proxyURL: Invalid value: it has 2049 characters, and may have 2048"},
		"user":             {endpoint.Endpoint{Server: "https://u:hunter2@a"}, "spec.server: Invalid value: it must not hold a user: everyone who may get members reads it"},
		"port":             {endpoint.Endpoint{Server: "https://a:70000"}, "spec.server: Invalid value: port 70000 is not between 1 and 65535"},
		"IDN":              {endpoint.Endpoint{Server: "https://münchen.example.com:6443"}, `spec.server: Invalid value: "münchen.example.com" must be written in ASCII: xn--mnchen-3ya.example.com`},
		"no name":          {endpoint.Endpoint{Server: "https://a..b"}, `spec.server: Invalid value: "a..b" is neither a DNS name nor an IP address`},
		"short address":    {endpoint.Endpoint{Server: "https://127.1:6443"}, `spec.server: Invalid value: "127.1" is neither a DNS name nor an IP address`},
		"number":           {endpoint.Endpoint{Server: "https://2130706433"}, `spec.server: Invalid value: "2130706433" is neither a DNS name nor an IP address`},
		"hexadecimal":      {endpoint.Endpoint{Server: "https://0x7f.0x1"}, `spec.server: Invalid value: "0x7f.0x1" is neither a DNS name nor an IP address`},
		"unspecified":      {endpoint.Endpoint{Server: "https://0.0.0.0:6443"}, "spec.server: Invalid value: 0.0.0.0 is not the address of a server (unspecified): use one at which the host reaches it"},
		"mapped":           {endpoint.Endpoint{Server: "https://[::ffff:0.0.0.0]"}, "spec.server: Invalid value: ::ffff:0.0.0.0 is not the address of a server (unspecified): use one at which the host reaches it"},
		"multicast":        {endpoint.Endpoint{Server: "https://224.0.0.1"}, "spec.server: Invalid value: 224.0.0.1 is not the address of a server (multicast): use one at which the host reaches it"},
		"server name":      {endpoint.Endpoint{Server: "https://a", TLSServerName: "b c"}, `spec.tlsServerName: Invalid value: "b c" is neither a DNS name nor an IP address`},
		"proxy":            {endpoint.Endpoint{Server: "https://a", ProxyURL: "ftp://p"}, `spec.proxyURL: Invalid value: the scheme must be http, https or socks5, and is "ftp"`},
		"proxy with path":  {endpoint.Endpoint{Server: "https://a", ProxyURL: "http://p/x"}, "spec.proxyURL: Invalid value: it must end after host and port"},
		"DER":              {endpoint.Endpoint{Server: "https://a", CABundle: block.Bytes}, "spec.caBundle: Invalid value: it is a certificate in DER form, and must be PEM: convert it with openssl x509 -inform der -outform pem"},
		"text alone":       {endpoint.Endpoint{Server: "https://a", CABundle: []byte("text")}, "spec.caBundle: Invalid value: it holds no PEM certificate"},
		"too long":         {endpoint.Endpoint{Server: "https://a", CABundle: bytes.Repeat(ca, 1000)}, "bytes, and may have 40960: keep only the CA that signed the server's certificate"},
		"insecure with CA": {endpoint.Endpoint{Server: "https://a", CABundle: ca, InsecureSkipTLSVerify: true}, "spec.insecureSkipTLSVerify: Forbidden: may not be set together with spec.caBundle"},
	} {
		faults := c.endpoint.Validate(spec)
		got := ""
		if len(faults) > 0 {
			got = faults.ToAggregate().Error()
		}
		if got != c.want && (name != "too long" || !strings.HasSuffix(got, c.want)) {
			t.Errorf("%s: got  %s\nwant %s", name, got, c.want)
		}
	}
}

func TestScope(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]endpoint.Scope{
		"https://localhost:6443": endpoint.Loopback, "https://LocalHost.": endpoint.Loopback, "https://a.localhost": endpoint.Loopback,
		"https://127.0.0.1": endpoint.Loopback, "https://127.9.9.9:1": endpoint.Loopback, "https://127.0.0.1.": endpoint.Loopback,
		"https://[::1]:6443": endpoint.Loopback, "https://[::ffff:127.0.0.1]": endpoint.Loopback, "socks5://127.0.0.1:1080": endpoint.Loopback,
		"https://169.254.169.254": endpoint.LinkLocal, "https://[fe80::1%25eth0]": endpoint.LinkLocal, "https://[::ffff:169.254.0.1]": endpoint.LinkLocal,
		"https://0.0.0.0": endpoint.Unspecified, "https://[::]:6443": endpoint.Unspecified, "https://[ff02::1]": endpoint.Multicast,
		"https://10.0.0.1": "", "https://notlocalhost": "", "https://localhost.example.com": "", "": "", "https://a b": "",
	} {
		if got := endpoint.ScopeOf(url); got != want {
			t.Errorf("%s is %q, want %q", url, got, want)
		}
	}
}

// A bundle is taken with whatever people and openssl leave around the certificates, and stored without it.
func TestReadCertificates(t *testing.T) {
	t.Parallel()
	first, second := cases.Certificate(cases.Now), cases.Certificate(cases.Now)
	both := string(first) + string(second)
	for name, c := range map[string]struct{ bundle, kept, fault string }{
		"empty":           {"", "", ""},
		"plain":           {both, both, ""},
		"comment before":  {"# the CA of team-x\n" + both, both, ""},
		"comment between": {string(first) + "\n# the next\n" + string(second), both, ""},
		"text after":      {both + "Verify return code: 19 (self signed)", both, ""},
		"openssl -text":   {"Certificate:\n    Data:\n        Version: 3 (0x2)\n" + both, both, ""},
		"line ends":       {strings.ReplaceAll(both, "\n", "\r\n"), both, ""},
		"no line end":     {strings.TrimSuffix(both, "\n"), both, ""},
		"blank":           {" \n", "", "it holds no PEM certificate"},
		"key":             {string(first) + "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "", `block 2 is "PRIVATE KEY", and only certificates belong here`},
		"not DER":         {"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "", "certificate 1 cannot be read: x509: malformed certificate"},
		"cut short":       {string(first[:len(first)/2]), "", "certificate 1 is not PEM, is cut short, or does not begin at the start of a line"},
		"first cut short": {string(first[:len(first)/2]) + "\n" + string(second), "", "certificate 1 is not PEM, is cut short, or does not begin at the start of a line"},
		"last cut short":  {string(first) + string(second[:len(second)/2]), "", "certificate 2 is not PEM, is cut short, or does not begin at the start of a line"},
		"indented":        {"  " + both, "", "certificate 1 is not PEM, is cut short, or does not begin at the start of a line"},
		"byte order mark": {"\ufeff" + both, "", "certificate 1 is not PEM, is cut short, or does not begin at the start of a line"},
		"headers":         {strings.Replace(string(first), "-\n", "-\nA: b\n\n", 1), "", "certificate 1 has PEM headers, and clients pass it over"},
	} {
		certificates, err := endpoint.ReadCertificates([]byte(c.bundle))
		fault := ""
		if err != nil {
			fault = err.Error()
		}
		if kept := string(endpoint.EncodeCertificates(certificates)); fault != c.fault || kept != c.kept {
			t.Errorf("%s: kept %d bytes of %d, fault %q, want %q", name, len(kept), len(c.kept), fault, c.fault)
		}
	}
}

func TestEqual(t *testing.T) {
	t.Parallel()
	ca, other := cases.Certificate(cases.Now), cases.Certificate(cases.Now)
	base := endpoint.Endpoint{Server: "https://a.example.com", CABundle: ca}
	same := []endpoint.Endpoint{
		base, {Server: "https://A.example.com:443/", CABundle: ca}, {Server: "https://a.example.com.", CABundle: append([]byte("# text\n"), ca...)},
		{Server: "https://a.example.com", CABundle: ca, TLSServerName: "a.example.com"},
	}
	for _, e := range same {
		if e.Difference(base) != "" || !base.Equal(e.Canonical()) {
			t.Errorf("%+v differs in its %s", e, e.Difference(base))
		}
	}
	// A stored bundle that clients cannot use is another one, which a join replaces.
	if marked := (endpoint.Endpoint{Server: base.Server, CABundle: append([]byte("\ufeff"), ca...)}); base.Difference(marked) != "CA" {
		t.Error("a byte order mark makes no difference")
	}
	for want, e := range map[string]endpoint.Endpoint{
		"server":           {Server: "https://a.example.com:6443", CABundle: ca},
		"CA":               {Server: "https://a.example.com", CABundle: other},
		"proxy":            {Server: "https://a.example.com", CABundle: ca, ProxyURL: "http://p"},
		"TLS server name":  {Server: "https://a.example.com", CABundle: ca, TLSServerName: "b"},
		"TLS verification": {Server: "https://a.example.com", CABundle: ca, InsecureSkipTLSVerify: true},
	} {
		if got := e.Difference(base); got != want {
			t.Errorf("differs in its %q, want %q", got, want)
		}
	}
}

func TestCanonical(t *testing.T) {
	t.Parallel()
	ca := cases.Certificate(cases.Now)
	got := endpoint.Endpoint{Server: "https://A:443/k8s/", CABundle: append([]byte("text\n"), ca...), ProxyURL: "http://p/", TLSServerName: "b"}.Canonical()
	want := endpoint.Endpoint{Server: "https://A:443/k8s", CABundle: ca, ProxyURL: "http://p", TLSServerName: "b"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if e := (endpoint.Endpoint{CABundle: ca, InsecureSkipTLSVerify: true}).Canonical(); e.CABundle != nil {
		t.Error("a CA that is not used is kept")
	}
}

// Every field of an endpoint comes from a member and goes back to it.
func TestStore(t *testing.T) {
	t.Parallel()
	full := endpoint.Endpoint{Server: "https://a", CABundle: []byte("b"), ProxyURL: "http://c", TLSServerName: "d", InsecureSkipTLSVerify: true}
	for i := range reflect.ValueOf(full).NumField() {
		if reflect.ValueOf(full).Field(i).IsZero() {
			t.Fatalf("the test leaves field %d empty", i)
		}
	}
	var m v1alpha1.MemberCluster
	full.Store(&m.Spec)
	if got := endpoint.Of(&m); !reflect.DeepEqual(got, full) {
		t.Errorf("got %+v, want %+v", got, full)
	}
}

// FuzzReadCertificates holds that what is taken is written as certificates and nothing else, and read again as the same.
func FuzzReadCertificates(f *testing.F) {
	f.Add([]byte("text\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\ntext"))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n-----BEGIN CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		certificates, err := endpoint.ReadCertificates(data)
		if err != nil {
			return
		}
		written := endpoint.EncodeCertificates(certificates)
		again, err := endpoint.ReadCertificates(written)
		if err != nil || len(again) != len(certificates) || len(data) > 0 && len(certificates) == 0 {
			t.Fatalf("%d certificates of %q, %d again: %v", len(certificates), data, len(again), err)
		}
	})
}

// Two endpoints are one server only where the certificate says so.
func TestSameServer(t *testing.T) {
	t.Parallel()
	ca, other := cases.Certificate(cases.Now), cases.Certificate(cases.Now)
	base := endpoint.Endpoint{Server: "https://a.example.com", CABundle: ca}
	for name, c := range map[string]struct {
		endpoint endpoint.Endpoint
		want     bool
	}{
		"itself":              {base, true},
		"another spelling":    {endpoint.Endpoint{Server: "https://A.example.com:443/", CABundle: ca, TLSServerName: "a.example.com"}, true},
		"through a proxy":     {endpoint.Endpoint{Server: base.Server, CABundle: ca, ProxyURL: "http://p"}, true},
		"another server":      {endpoint.Endpoint{Server: "https://b.example.com", CABundle: ca}, false},
		"another port":        {endpoint.Endpoint{Server: "https://a.example.com:6443", CABundle: ca}, false},
		"another path":        {endpoint.Endpoint{Server: "https://a.example.com/k8s", CABundle: ca}, false},
		"another CA":          {endpoint.Endpoint{Server: base.Server, CABundle: other}, false},
		"the system's roots":  {endpoint.Endpoint{Server: base.Server}, false},
		"another server name": {endpoint.Endpoint{Server: base.Server, CABundle: ca, TLSServerName: "attacker.example.com"}, false},
		"insecure":            {endpoint.Endpoint{Server: base.Server, InsecureSkipTLSVerify: true}, false},
		"no endpoint":         {endpoint.Endpoint{}, false},
		"http":                {endpoint.Endpoint{Server: "http://a.example.com:443", CABundle: ca}, false},
	} {
		if base.SameServer(c.endpoint) != c.want || c.endpoint.SameServer(base) != c.want {
			t.Errorf("%s: want %v", name, c.want)
		}
	}
	for _, e := range []endpoint.Endpoint{{}, {Server: "http://a"}, {Server: "https://a", InsecureSkipTLSVerify: true}} {
		if e.SameServer(e) {
			t.Errorf("%+v proves to be itself", e)
		}
	}
}
