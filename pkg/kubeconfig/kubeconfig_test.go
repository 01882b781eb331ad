package kubeconfig_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
	"github.com/kubefederate/kubectl-federate/test/cases"
)

// secret stands for everything that must never be printed.
const secret = "s3cr3t-t0ken"

func b64(data []byte) string { return base64.StdEncoding.EncodeToString(data) }

// config is a good kubeconfig with what a case adds: lines of the cluster, of the user, and of the whole.
func config(cluster, user, rest string) string {
	if user == "" {
		user = "token: " + secret
	}
	return fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: ctx
contexts: [{name: ctx, context: {cluster: c, user: u, namespace: default}}]
clusters:
- name: c
  cluster:
    server: https://member.example:6443
    %s
users:
- name: u
  user:
    %s
%s`, cluster, strings.ReplaceAll(user, "\n", "\n    "), rest)
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	certificate, key := cases.KeyPair(time.Now().Add(time.Hour))
	_, otherKey := cases.KeyPair(time.Now().Add(time.Hour))
	wide, wideKey := cases.WideKeyPair(time.Now().Add(time.Hour))
	unknown := ""
	for i := range 30 {
		unknown += fmt.Sprintf("x%02d: 1\n", i)
	}

	for name, test := range map[string]struct {
		in      string
		options []kubeconfig.Option
		want    string
	}{
		"exec":                     {in: config("", "exec: {apiVersion: client.authentication.k8s.io/v1, command: touch, args: [/tmp/owned]}", ""), want: `user.exec would run a command: use an inline token or certificate`},
		"exec beside a token":      {in: config("", "token: "+secret+"\nexec: {apiVersion: client.authentication.k8s.io/v1, command: touch}", ""), want: `user.exec would run a command: use an inline token or certificate`},
		"exec in capitals":         {in: config("", "token: "+secret+"\nExec: {command: touch}", ""), want: `users[0].user.Exec is not a field of a kubeconfig`},
		"auth provider":            {in: config("", "token: "+secret+"\nauth-provider: {name: gcp, config: {cmd-path: /bin/sh}}", ""), want: `user.auth-provider would run code of a provider: use an inline token or certificate`},
		"token file":               {in: config("", "token: "+secret+"\ntokenFile: /etc/shadow", ""), want: `user.tokenFile would read a file: use inline data`},
		"certificate files":        {in: config("", "token: "+secret+"\nclient-certificate: /a\nclient-key: /b", ""), want: `user.client-certificate would read a file: use inline data; user.client-key would read a file: use inline data`},
		"CA file":                  {in: config("certificate-authority: /etc/passwd", "", ""), want: `cluster.certificate-authority would read a file: use inline data`},
		"password":                 {in: config("", "token: "+secret+"\nusername: admin\npassword: "+secret, ""), want: `user.username is basic authentication: use an inline token or certificate`},
		"impersonation":            {in: config("", "token: "+secret+"\nas: system:admin", ""), want: `user.as impersonates another user: use a credential of that user`},
		"impersonated groups only": {in: config("", "token: "+secret+"\nas-groups: [system:masters]", ""), want: `user.as impersonates another user: use a credential of that user`},
		"insecure":                 {in: config("insecure-skip-tls-verify: true", "", ""), want: `cluster.insecure-skip-tls-verify leaves the server unverified: use certificate-authority-data`},
		"insecure, allowed, with a CA": {
			in:      config("insecure-skip-tls-verify: true\n    certificate-authority-data: "+b64(certificate), "", ""),
			options: []kubeconfig.Option{kubeconfig.AllowInsecure},
			want:    `cluster.insecure-skip-tls-verify may not be set together with certificate-authority-data`,
		},
		"server name":                {in: config("tls-server-name: o t h e r", "", ""), want: `cluster.tls-server-name must be a DNS name or an IP address`},
		"proxy with a user":          {in: config("proxy-url: http://me:"+secret+"@proxy:3128", "", ""), want: `cluster.proxy-url must be an http, https or socks5 URL with a host, without user`},
		"proxy of a strange scheme":  {in: config("proxy-url: file:///etc/passwd", "", ""), want: `cluster.proxy-url must be an http, https or socks5 URL with a host, without user`},
		"CA that is no certificate":  {in: config("certificate-authority-data: "+b64([]byte(secret)), "", ""), want: `cluster.certificate-authority-data must be PEM certificates, of at most 40 KiB and 16384 bits a key`},
		"CA with a key in it":        {in: config("certificate-authority-data: "+b64(append(certificate, key...)), "", ""), want: `cluster.certificate-authority-data must be PEM certificates, of at most 40 KiB and 16384 bits a key`},
		"key of another certificate": {in: config("", "client-certificate-data: "+b64(certificate)+"\nclient-key-data: "+b64(otherKey), ""), want: `user.client-certificate-data and client-key-data must be a PEM certificate and its key`},
		"a key of 19,630 bits":       {in: config("", "client-certificate-data: "+b64(wide)+"\nclient-key-data: "+b64(wideKey), ""), want: `user.client-certificate-data has an RSA key of more than 8192 bits, which no API server accepts`},
		"such a key, behind others":  {in: config("", "client-certificate-data: "+b64(slices.Concat(key, certificate, wide))+"\nclient-key-data: "+b64(wideKey), ""), want: `user.client-certificate-data has an RSA key of more than 8192 bits, which no API server accepts`},
		"such a key alone":           {in: config("", "client-certificate-data: "+b64(certificate)+"\nclient-key-data: "+b64(wideKey), ""), want: `user.client-certificate-data has an RSA key of more than 8192 bits, which no API server accepts`},
		"a CA of 19,630 bits":        {in: config("certificate-authority-data: "+b64(wide), "", ""), want: `cluster.certificate-authority-data must be PEM certificates, of at most 40 KiB and 16384 bits a key`},
		"token and certificate":      {in: config("", "token: "+secret+"\nclient-certificate-data: "+b64(certificate)+"\nclient-key-data: "+b64(key), ""), want: `user has both a token and a certificate`},
		"no credential":              {in: config("", "{}", ""), want: `user has neither an inline token nor an inline certificate`},
		"token with a line break":    {in: config("", `token: "a\nX-Header: `+secret+`"`, ""), want: `user.token has characters that a token cannot have`},
		"http server":                {in: strings.Replace(config("", "", ""), "https://member", "http://member", 1), want: `cluster.server must be an https URL with the name or address of a server, without user, query or fragment`},
		"server with a user":         {in: strings.Replace(config("", "", ""), "https://member", "https://u:"+secret+"@member", 1), want: `cluster.server must be an https URL with the name or address of a server, without user, query or fragment`},
		"server without a host":      {in: strings.Replace(config("", "", ""), "https://member.example:6443", "https://:6443", 1), want: `cluster.server must be an https URL with the name or address of a server, without user, query or fragment`},
		"everything at once": {
			in: config("certificate-authority: /a\n    insecure-skip-tls-verify: true", "tokenFile: /b", ""),
			want: `cluster.certificate-authority would read a file: use inline data; ` +
				`cluster.insecure-skip-tls-verify leaves the server unverified: use certificate-authority-data; ` +
				`user.tokenFile would read a file: use inline data`,
		},
		"unknown field":                    {in: config("", "", `"x\u001b[31m": 1`), want: `"x\x1b[31m" is not a field of a kubeconfig`},
		"an unknown field of 60,000 bytes": {in: config("", "", "? "+strings.Repeat("x", 60_000)+"\n: 1"), want: strings.Repeat("x", 97) + "… is not a field of a kubeconfig"},
		"unknown fields":                   {in: config("", "", unknown), want: regexp.MustCompile("x(0.|1.): 1\n").ReplaceAllString(unknown[:20*7], "x$1 is not a field of a kubeconfig; ") + "and 10 more"},
		"key twice":                        {in: config("", "token: a\ntoken: b", ""), want: `it is not YAML, or has a key twice`},
		"not YAML":                         {in: "a: b: c", want: `it is not YAML, or has a key twice`},
		"an alias":                         {in: strings.Replace(config("", "", "x: &a {}"), "context: c,", "context: *a,", 1) + "\ny: *a", want: `it has YAML anchors or aliases, which a credential never needs: write the values out`},
		"an anchor":                        {in: config("", "token: &a "+secret, ""), want: `it has YAML anchors or aliases, which a credential never needs: write the values out`},
		"a merge":                          {in: config("", "token: "+secret, "x: &a {a: b}\ny: {<<: *a}"), want: `it has YAML anchors or aliases, which a credential never needs: write the values out`},
		"a list":                           {in: "[]", want: `it is not a kubeconfig of version v1`},
		"another kind":                     {in: "kind: Secret", want: `it is not a kubeconfig of version v1`},
		"empty":                            {in: "", want: `current-context is not set`},
		"no current context":               {in: strings.Replace(config("", "", ""), "current-context: ctx", "", 1), want: `current-context is not set`},
		"unknown context":                  {in: strings.Replace(config("", "", ""), "current-context: ctx", "current-context: x", 1), want: `contexts has no entry with the name that the current context refers to`},
		"unknown cluster, user":            {in: strings.Replace(config("", "", ""), "{cluster: c, user: u", "{cluster: nope, user: missing", 1), want: `clusters has no entry with the name that the current context refers to; users has no entry with the name that the current context refers to`},
		"two users of one name":            {in: config("", "", "- {name: u, user: {token: other}}"), want: `users has two entries with one name`},
		"too large":                        {in: strings.Repeat("#", kubeconfig.MaxSize+1), want: `it is larger than 64 KiB`},
		"a second user, with OneContext":   {in: config("", "", "- {name: v, user: {exec: {command: touch}}}"), options: []kubeconfig.Option{kubeconfig.OneContext}, want: `users must have exactly one entry`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			access, err := kubeconfig.Parse([]byte(test.in), test.options...)
			if access != nil || err == nil {
				t.Fatalf("was accepted: %v", access)
			}
			if want := "kubeconfig refused: " + test.want; err.Error() != want {
				t.Errorf("got:  %s\nwant: %s", err, want)
			}
			if _, ok := errors.AsType[*kubeconfig.Error](err); !ok {
				t.Errorf("%T is no *kubeconfig.Error", err)
			}
		})
	}
}

// TestParseContext reads the context that is named, and not the current one.
func TestParseContext(t *testing.T) {
	t.Parallel()
	data := []byte(`{"current-context": "a", "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}, {"name": "b", "context": {"cluster": "b", "user": "b"}}],
"clusters": [{"name": "a", "cluster": {"server": "https://a.example"}}, {"name": "b", "cluster": {"server": "https://b.example"}}],
"users": [{"name": "a", "user": {"exec": {"command": "touch"}}}, {"name": "b", "user": {"token": "t"}}]}`)
	access, err := kubeconfig.ParseContext(data, "b")
	if err != nil {
		t.Fatal(err)
	}
	equal(t, access, &kubeconfig.Access{Endpoint: endpoint.Endpoint{Server: "https://b.example"}, Token: "t"})
	for name, want := range map[string]string{
		"":  "kubeconfig refused: user.exec would run a command: use an inline token or certificate",
		"c": "kubeconfig refused: contexts has no entry with the name that the current context refers to",
	} {
		if _, err := kubeconfig.ParseContext(data, name); err == nil || err.Error() != want {
			t.Errorf("context %q: %v, want %s", name, err, want)
		}
	}
}

// TestValidate refuses in an access from elsewhere what Parse refuses in a kubeconfig.
func TestValidate(t *testing.T) {
	t.Parallel()
	certificate, key := cases.KeyPair(time.Now().Add(time.Hour))
	at := func(change func(*kubeconfig.Access)) kubeconfig.Access {
		a := kubeconfig.Access{Endpoint: endpoint.Endpoint{Server: "https://member.example:6443", CABundle: certificate}, Token: secret}
		change(&a)
		return a
	}
	for name, test := range map[string]struct {
		access kubeconfig.Access
		want   string
	}{
		"a token":         {at(func(*kubeconfig.Access) {}), ""},
		"a certificate":   {at(func(a *kubeconfig.Access) { a.Token, a.CertData, a.KeyData = "", certificate, key }), ""},
		"both":            {at(func(a *kubeconfig.Access) { a.CertData, a.KeyData = certificate, key }), "it has both a token and a certificate"},
		"none":            {at(func(a *kubeconfig.Access) { a.Token = "" }), "it has neither an inline token nor an inline certificate"},
		"no server":       {at(func(a *kubeconfig.Access) { a.Server = "" }), "server must be an https URL with the name or address of a server, without user, query or fragment"},
		"a query":         {at(func(a *kubeconfig.Access) { a.Server += "?agentName=a" }), "server must be an https URL with the name or address of a server, without user, query or fragment"},
		"a broken CA":     {at(func(a *kubeconfig.Access) { a.CABundle = []byte("x") }), "certificate-authority-data must be PEM certificates, of at most 40 KiB and 16384 bits a key"},
		"unverified":      {at(func(a *kubeconfig.Access) { a.InsecureSkipTLSVerify, a.CABundle = true, nil }), "insecure-skip-tls-verify leaves the server unverified: use certificate-authority-data"},
		"a broken token":  {at(func(a *kubeconfig.Access) { a.Token = "a\nb" }), "token has characters that a token cannot have"},
		"no key":          {at(func(a *kubeconfig.Access) { a.Token, a.CertData = "", certificate }), "client-certificate-data and client-key-data must be a PEM certificate and its key"},
		"a broken proxy":  {at(func(a *kubeconfig.Access) { a.ProxyURL = "file:///a" }), "proxy-url must be an http, https or socks5 URL with a host, without user"},
		"64 KiB":          {at(func(a *kubeconfig.Access) { a.Token = strings.Repeat("x", kubeconfig.MaxSize) }), "it is larger than 64 KiB"},
		"several at once": {kubeconfig.Access{}, "server must be an https URL with the name or address of a server, without user, query or fragment; it has neither an inline token nor an inline certificate"},
	} {
		got := ""
		if err := test.access.Validate(); err != nil {
			got = strings.TrimPrefix(err.Error(), "credential refused: ")
		}
		if got != test.want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, test.want)
		}
	}
}

// TestAliasBomb holds that what would be decoded to gigabytes is refused before that.
func TestAliasBomb(t *testing.T) {
	t.Parallel()
	bomb := "x: &a " + strings.Repeat("a", 8000) + "\ny: [" + strings.Repeat("*a,", 18000) + "*a]\n"
	deep := "a: &a [x]\n"
	for i := range 20 {
		deep += fmt.Sprintf("b%d: &b%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*%s,", map[bool]string{true: "a", false: fmt.Sprintf("b%d", i-1)}[i == 0]), 9), ","))
	}
	for name, in := range map[string]string{"wide": bomb, "deep": deep} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := kubeconfig.Parse([]byte(in))
		runtime.ReadMemStats(&after)
		if err == nil || !strings.Contains(err.Error(), "anchors or aliases") {
			t.Errorf("%s: %v", name, err)
		}
		// Of other tests too, which run beside this one.
		if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 100<<20 {
			t.Errorf("%s: %d MiB were allocated", name, allocated>>20)
		}
	}
}

func TestParseAccepts(t *testing.T) {
	t.Parallel()
	certificate, key := cases.KeyPair(time.Now().Add(time.Hour))
	for name, test := range map[string]struct {
		in      string
		options []kubeconfig.Option
		want    kubeconfig.Access
	}{
		"token": {
			in:   config("certificate-authority-data: "+b64(certificate), "", ""),
			want: kubeconfig.Access{Endpoint: endpoint.Endpoint{Server: "https://member.example:6443", CABundle: certificate}, Token: secret},
		},
		"certificate and proxy": {
			in:   config("proxy-url: socks5://proxy:1080", "client-certificate-data: "+b64(certificate)+"\nclient-key-data: "+b64(key), ""),
			want: kubeconfig.Access{Endpoint: endpoint.Endpoint{Server: "https://member.example:6443", ProxyURL: "socks5://proxy:1080"}, CertData: certificate, KeyData: key},
		},
		"TLS server name, and text around the CA": {
			in:   config("tls-server-name: other.example\n    certificate-authority-data: "+b64(append([]byte("# the CA\n"), certificate...)), "", ""),
			want: kubeconfig.Access{Endpoint: endpoint.Endpoint{Server: "https://member.example:6443", TLSServerName: "other.example", CABundle: append([]byte("# the CA\n"), certificate...)}, Token: secret},
		},
		"insecure where allowed": {
			in: config("insecure-skip-tls-verify: true", "", ""), options: []kubeconfig.Option{kubeconfig.AllowInsecure},
			want: kubeconfig.Access{Endpoint: endpoint.Endpoint{Server: "https://member.example:6443", InsecureSkipTLSVerify: true}, Token: secret},
		},
		// The other contexts of a person's kubeconfig do not matter.
		"exec in another context": {
			in:   config("", "", "- {name: v, user: {exec: {command: touch}}}"),
			want: kubeconfig.Access{Endpoint: endpoint.Endpoint{Server: "https://member.example:6443"}, Token: secret},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := kubeconfig.Parse([]byte(test.in), test.options...)
			if err != nil {
				t.Fatal(err)
			}
			equal(t, got, &test.want)

			data, err := got.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			again, err := kubeconfig.Parse(data, append(test.options, kubeconfig.OneContext)...)
			if err != nil {
				t.Fatalf("what Marshal wrote: %v", err)
			}
			equal(t, again, got)
		})
	}
}

func equal(t testing.TB, got, want *kubeconfig.Access) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got:  %+v\nwant: %+v", *got, *want)
	}
}

func TestMarshalWritesOneContext(t *testing.T) {
	t.Parallel()
	data, err := (&kubeconfig.Access{Endpoint: endpoint.Endpoint{Server: "https://a.example", CABundle: []byte("x")}, Token: "t"}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	const want = `apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: eA==
    server: https://a.example
  name: member
contexts:
- context:
    cluster: member
    user: member
  name: member
current-context: member
kind: Config
users:
- name: member
  user:
    token: t
`
	if string(data) != want {
		t.Errorf("got:\n%s\nwant:\n%s", data, want)
	}
}

func TestRESTConfig(t *testing.T) {
	t.Parallel()
	access := &kubeconfig.Access{Endpoint: endpoint.Endpoint{Server: "https://a.example", ProxyURL: "http://proxy:3128", TLSServerName: "b.example"}, Token: secret}
	config := access.RESTConfig()
	if config.Host != "https://a.example" || config.BearerToken != secret || config.BearerTokenFile != "" ||
		config.ExecProvider != nil || config.AuthProvider != nil || config.CAFile != "" || config.ServerName != "b.example" {
		t.Errorf("got %s", config)
	}
	request, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://a.example", nil)
	proxy, err := config.Proxy(request)
	if err != nil || proxy.String() != "http://proxy:3128" {
		t.Errorf("proxy %v, %v", proxy, err)
	}
}

func TestAccessPrintsNoSecret(t *testing.T) {
	t.Parallel()
	access := &kubeconfig.Access{Endpoint: endpoint.Endpoint{Server: "https://a.example"}, Token: secret, KeyData: []byte(secret)}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(format, access); got != "access to https://a.example" {
			t.Errorf("%s printed %s", format, got)
		}
	}
}

func TestExpiry(t *testing.T) {
	t.Parallel()
	end := time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)
	certificate, key := cases.KeyPair(end)
	jwt := func(payload string) string {
		return "e30." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".sig"
	}
	for name, test := range map[string]struct {
		access kubeconfig.Access
		want   time.Time
	}{
		"token":            {kubeconfig.Access{Token: jwt(fmt.Sprintf(`{"exp":%d}`, end.Unix()))}, end},
		"certificate":      {kubeconfig.Access{CertData: certificate, KeyData: key}, end},
		"no end":           {kubeconfig.Access{Token: jwt(`{}`)}, time.Time{}},
		"opaque":           {kubeconfig.Access{Token: secret}, time.Time{}},
		"three parts":      {kubeconfig.Access{Token: "a.b.c"}, time.Time{}},
		"beyond time":      {kubeconfig.Access{Token: jwt(`{"exp":1e300}`)}, time.Time{}},
		"end that is text": {kubeconfig.Access{Token: jwt(`{"exp":"soon"}`)}, time.Time{}},
		"nothing":          {kubeconfig.Access{}, time.Time{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, ok := test.access.Expiry()
			if !got.Equal(test.want) || ok == test.want.IsZero() {
				t.Errorf("got %v, %v; want %v", got, ok, test.want)
			}
		})
	}
}

func TestRenewalDue(t *testing.T) {
	t.Parallel()
	begin := time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)
	token := func(payload string) *kubeconfig.Access {
		return &kubeconfig.Access{Token: "e30." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".sig"}
	}
	for _, test := range []struct {
		name, payload string
		want          time.Time
	}{
		{"a fifth is left", fmt.Sprintf(`{"iat":%d,"exp":%d}`, begin.Unix(), begin.Add(10*time.Hour).Unix()), begin.Add(8 * time.Hour)},
		{"no beginning", fmt.Sprintf(`{"exp":%d}`, begin.Unix()), time.Time{}},
		{"no end", fmt.Sprintf(`{"iat":%d}`, begin.Unix()), time.Time{}},
		{"an end before the beginning", fmt.Sprintf(`{"iat":%d,"exp":%d}`, begin.Unix(), begin.Add(-time.Hour).Unix()), time.Time{}},
	} {
		got, ok := token(test.payload).RenewalDue()
		if !got.Equal(test.want) || ok == test.want.IsZero() {
			t.Errorf("%s: %v, %v; want %v", test.name, got, ok, test.want)
		}
	}
}

// FuzzParse holds that what is taken has no way to run, read or skip anything, and survives a round trip.
func FuzzParse(f *testing.F) {
	f.Add([]byte(config("", "", "")))
	f.Add([]byte(config("certificate-authority: /a", "exec: {command: a}", "")))
	f.Add([]byte("&a [*a]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		access, err := kubeconfig.Parse(data)
		if err != nil {
			var refused *kubeconfig.Error
			if !errors.As(err, &refused) || len(refused.Problems) == 0 {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		if access.InsecureSkipTLSVerify || !strings.HasPrefix(strings.ToLower(access.Server), "https://") {
			t.Fatalf("took %+v", *access)
		}
		access.Expiry()
		written, err := access.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		again, err := kubeconfig.Parse(written, kubeconfig.OneContext)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, again, access)
	})
}
