package redact

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strings"
	"testing"
)

// secret is the part of each case that must not be left; it is random as a key is.
const secret = "Zk3vQ9sT1xWb7RmN4cLy8PdH2gJf6KuA0eOiSzXq"

// TestText holds what is removed from text, and what stays.
func TestText(t *testing.T) {
	t.Parallel()
	jwt := "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl"
	for _, tt := range []struct{ name, text, want string }{
		{"nothing", `GET https://127.0.0.1:6443/api/v1/namespaces/kube-system 200 in 3ms`, ""},
		{"names", "kubefederate-manager-7d9c5b8f6d-x2x7q of kubefederate-credentials-and-more-of-it-1234567890", ""},
		{"digest", "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", ""},
		{"UID", "cluster 6f1c5d0e-7a3b-4c1d-9e2f-0a1b2c3d4e5f", ""},
		{"words", "the token of the account is renewed; password and bearer are words", ""},
		{"lifetime", "--token-lifetime=90d tokenExpires: 2027", ""},
		{"opaque", "key " + secret + " of it", "key REDACTED of it"},
		{"base64", base64.StdEncoding.EncodeToString([]byte(strings.Repeat("secret value ", 5))), Mark},
		{"token", "got " + jwt + ".", "got REDACTED."},
		{"token of two parts", "got eyJhbGciOiJSUzI1NiJ9.e30", "got REDACTED"},
		{"empty header", "got e30.eyJpYXQiOjEsImV4cCI6Mn0.c2ln", "got REDACTED"},
		{"header", `Authorization: Bearer abc`, `Authorization: REDACTED`},
		{"headers", `"Authorization":["Basic YTpi"]`, `"Authorization":["REDACTED"]`},
		{"bearer", "sent bearer abcdefgh12", "sent bearer REDACTED"},
		{"URL", "proxy http://user:pa55@proxy:3128/ refused", "proxy http://REDACTED@proxy:3128/ refused"},
		{"user alone", "https://t0ken@git.example.com", "https://REDACTED@git.example.com"},
		{"query", "https://a/b?access_token=abc&limit=5", "https://a/b?access_token=REDACTED&limit=5"},
		{"kubeconfig", "users:\n- name: a\n  user:\n    token: abc\n    client-key-data: LS0t\n    password: 'x y'\n",
			"users:\n- name: a\n  user:\n    token: REDACTED\n    client-key-data: REDACTED\n    password: REDACTED\n"},
		{"JSON", `{"token":"abc","idToken":"d","x":1}`, `{"token":REDACTED,"idToken":REDACTED,"x":1}`},
		{"JSON in JSON", `{"a":"{\"token\":\"abc\"}"}`, `{"a":"{\"token\":REDACTED}"}`},
		{"key", "a\n-----BEGIN EC PRIVATE KEY-----\nabc\n-----END EC PRIVATE KEY-----\nb", "a\nREDACTED\nb"},
		{"escaped key", `{"k":"-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----\n"}`, `{"k":"REDACTED\n"}`},
		{"key without an end", "-----BEGIN RSA PRIVATE KEY-----\nabc\n", "REDACTED"},
		{"variables", "DB_PASSWORD=hunter2 AWS_SECRET_ACCESS_KEY=wJa/lrX dbPassword=abc MY_TOKEN: x", "DB_PASSWORD=REDACTED AWS_SECRET_ACCESS_KEY=REDACTED dbPassword=REDACTED MY_TOKEN: REDACTED"},
		{"URL that is none", `parse "http://user:pa/ss@proxy:3128": invalid port`, `parse "http://REDACTED@proxy:3128": invalid port`},
		{"webhook", `Post "https://10.0.0.1:443/validate/memberclusters/abcdef0123?timeout=5s": refused`, `Post "https://10.0.0.1:443/validate/memberclusters/REDACTED?timeout=5s": refused`},
	} {
		want := tt.want
		if want == "" {
			want = tt.text
		}
		if got := Text(tt.text); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.name, got, want)
		}
		if got := Text(Text(tt.text)); got != Text(tt.text) {
			t.Errorf("%s: a second time it is %s", tt.name, got)
		}
	}
}

// TestURL holds what is shown of a URL.
func TestURL(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"https://a:6443/api/v1/pods?limit=500&watch=true":     "https://a:6443/api/v1/pods?limit=500&watch=true",
		"https://u:p@a/api?token=abc&continue=def&dryRun=All": "https://REDACTED@a/api?continue=REDACTED&dryRun=All&token=REDACTED",
		"https://u@a/#fragment":                               "https://REDACTED@a/",
	} {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		if got := URL(u); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
}

// TestObject holds what stays of an object.
func TestObject(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, object, want string }{
		{"Secret", `{"kind":"Secret","type":"Opaque","metadata":{"name":"a","managedFields":[1]},"data":{"tls.key":"YWJj"},"stringData":{"b":"cd"}}`,
			`{"data":{"tls.key":"REDACTED (3 bytes)"},"kind":"Secret","metadata":{"name":"a"},"stringData":{"b":"REDACTED (2 bytes)"},"type":"Opaque"}`},
		{"last applied", `{"kind":"X","metadata":{"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{}","a":"b"}}}`,
			`{"kind":"X","metadata":{"annotations":{"a":"b","kubectl.kubernetes.io/last-applied-configuration":"REDACTED (2 bytes)"}}}`},
		{"environment", `{"kind":"Pod","spec":{"containers":[{"args":["--a=b"],"env":[{"name":"A","value":"b"},{"name":"C","valueFrom":{"x":"y"}}]}]}}`,
			`{"kind":"Pod","spec":{"containers":[{"args":["--a=b"],"env":[{"name":"A","value":"REDACTED (1 bytes)"},{"name":"C","valueFrom":{"x":"y"}}]}]}}`},
		{"kubeconfig", `{"kind":"ConfigMap","data":{"a":"clusters: []\nusers: []\ncontexts: []","b":"token: x"},"binaryData":{"c":"YQ=="}}`,
			`{"binaryData":{"c":"REDACTED (1 bytes)"},"data":{"a":"REDACTED (35 bytes)","b":"token: REDACTED"},"kind":"ConfigMap"}`},
		{"telling names", `{"kind":"ConfigMap","metadata":{"annotations":{"example.com/token":"s3cret"}},"data":{"api-key":"abcd","password":"hunter2"},"args":["--password","hunter2","--name","a"]}`,
			`{"args":["--password","REDACTED (7 bytes)","--name","a"],"data":{"api-key":"REDACTED (4 bytes)","password":"REDACTED (7 bytes)"},"kind":"ConfigMap","metadata":{"annotations":{"example.com/token":"REDACTED (6 bytes)"}}}`},
		{"list", `{"kind":"List","metadata":{},"items":[{"kind":"Secret","metadata":{},"data":{"a":"YQ=="}}]}`,
			`{"items":[{"data":{"a":"REDACTED (1 bytes)"},"kind":"Secret","metadata":{}}],"kind":"List","metadata":{}}`},
		{"webhook", `{"kind":"ValidatingWebhookConfiguration","webhooks":[{"clientConfig":{"service":{"path":"/validate/federations/abcdef"}}}]}`,
			`{"kind":"ValidatingWebhookConfiguration","webhooks":[{"clientConfig":{"service":{"path":"/validate/federations/REDACTED"}}}]}`},
	} {
		var o map[string]any
		if err := json.Unmarshal([]byte(tt.object), &o); err != nil {
			t.Fatal(err)
		}
		Object(o)
		if got, _ := json.Marshal(o); string(got) != tt.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.name, got, tt.want)
		}
	}
}

// FuzzText holds that no text brings a secret out that has a shape of one, whatever is around it.
func FuzzText(f *testing.F) {
	shapes := []string{
		"-----BEGIN PRIVATE KEY-----\n" + secret + "\n-----END PRIVATE KEY-----", "eyJhbGciOiJSUzI1NiJ9." + secret + ".c2ln",
		"Authorization: Bearer " + secret, "https://user:" + secret + "@a/", "token: " + secret, `"password":"` + secret + `"`, secret,
	}
	for i := range shapes {
		f.Add("a\n", "\nb", uint8(i))
	}
	f.Fuzz(func(t *testing.T, before, after string, shape uint8) {
		text := before + shapes[int(shape)%len(shapes)] + after
		got := Text(text)
		if strings.Contains(got, secret) {
			t.Errorf("%q is left in %q of %q", secret, got, text)
		}
	})
}

// TestValues holds that the values of Secrets are removed whatever they look like, and that what is public stays.
func TestValues(t *testing.T) {
	t.Parallel()
	const certificate = "-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----"
	var v Values
	v.Add(map[string][]byte{"word": []byte("plainlowerwords\n"), "text": []byte("two \"lines\"\nof it"), "ca.crt": []byte(certificate), "namespace": []byte("kubefederate-system"), "short": []byte("yes")})
	v.Add(map[string][]byte{"env": []byte("A=1\nSEED=correct horse\n"), "quoted": []byte(`KEY="abc&def"`)})
	v.Add(map[string][]byte{"longer": []byte("plainlowerwordsandmore")})
	for text, want := range map[string]string{
		"a plainlowerwords b": "a REDACTED b", "plainlowerwordsandmore": "REDACTED", `{"a":"two \"lines\"\nof it"}`: `{"a":"REDACTED"}`,
		"it is SEED=correct horse here": "it is REDACTED here", `{"a":"KEY=\"abc&def\""}`: `{"a":"REDACTED"}`,
		"x " + base64.StdEncoding.EncodeToString([]byte("plainlowerwords")): "x REDACTED",
		certificate: certificate, "kubefederate-system, yes": "kubefederate-system, yes",
	} {
		if got := v.Replacer().Replace(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
