// Package probed plays members that want to harm the manager, which probes them: servers that answer as an API server and,
// in one thing, as none does.
package probed

import (
	"compress/gzip"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Attack is what a member does.
type Attack struct {
	Name string
	// Path is what is attacked with; other paths are answered well.
	Path   string
	answer http.HandlerFunc
}

// Paths that are read of a member.
const (
	identityPath = "/api/v1/namespaces/kube-system"
	versionPath  = "/version"
	nodesPath    = "/api/v1/nodes"
	tokenPath    = "/api/v1/namespaces/kubefederate-member/serviceaccounts/kubefederate-manager/token"
	keysPath     = "/openid/v1/jwks"
)

// Stolen is where the redirects of members lead.
const Stolen = "/stolen"

// ShortLives grants tokens of a second that end in an hour, each another one, as often as it is asked.
var ShortLives = Attack{"tokens of a second", tokenPath, func(w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(http.StatusCreated)
	fmt.Fprintf(w, `{"status":{"token":%q}}`, Token(time.Second))
}}

// Token is one of the manager's account that lived so long when it will end in an hour. It has no signature.
func Token(life time.Duration) string {
	end, encode := time.Now().Add(time.Hour), base64.RawURLEncoding.EncodeToString
	claims := fmt.Sprintf(`{"sub":"system:serviceaccount:kubefederate-member:kubefederate-manager","jti":"%d","iat":%d,"exp":%d,`+
		`"kubernetes.io":{"secret":{"name":"kubefederate-manager-binding","uid":"uid"}}}`, end.UnixNano(), end.Add(-life).Unix(), end.Unix())
	return encode([]byte(`{"alg":"none"}`)) + "." + encode([]byte(claims)) + ".x"
}

// Attacks are all that were thought of. Add yours.
func Attacks() []Attack {
	node := func(labels, cpu string) string {
		return `{"metadata":{"labels":{` + labels + `}},"status":{"capacity":{"cpu":"` + cpu + `"}}}`
	}
	one := func(node string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"items":[`+node+`]}`) }
	}
	page := func(more func(*http.Request) string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, `{"metadata":{"continue":%q},"items":[%s]}`, more(r), strings.Repeat(node("", "1")+",", 9)+node("", "1"))
		}
	}
	next := func(r *http.Request) string { return r.URL.Query().Get("continue") + "x" }
	return []Attack{
		ShortLives,
		{"pages without end", nodesPath, page(next)},
		{"one page again and again", nodesPath, page(func(*http.Request) string { return "x" })},
		{"pages without nodes", nodesPath, func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, `{"metadata":{"continue":%q},"items":[]}`, next(r))
		}},
		{"a large page again and again", nodesPath, func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, `{"metadata":{"continue":%q},"items":[{"metadata":{"annotations":{"a":"`, next(r))
			endless(w, r, "x", 26<<20)
			_, _ = io.WriteString(w, `"}}}]}`)
		}},
		{"a node without end", nodesPath, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, `{"items":[{"status":{"capacity":{`)
			for i := 0; write(w, r, fmt.Sprintf(`"example.com/%d":"1",`, i)); i++ {
			}
		}},
		{"labels without end", nodesPath, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, `{"items":[`)
			for i := 0; write(w, r, node(fmt.Sprintf(`"topology.kubernetes.io/region":"r%d"`, i), "1")+","); i++ {
			}
		}},
		{"a label of megabytes", nodesPath, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, `{"items":[{"metadata":{"labels":{"topology.kubernetes.io/region":"`)
			endless(w, r, "x", 64<<20)
			_, _ = io.WriteString(w, `"}}}]}`)
		}},
		{"an exponent", nodesPath, one(node("", "1e-2147483647"))},
		{"a large exponent", nodesPath, one(node("", "1e16000000"))},
		{"millions of digits", nodesPath, one(node("", strings.Repeat("9", 3_000_000)))},
		{"a token to continue of megabytes", nodesPath, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, `{"items":[],"metadata":{"continue":"`)
			endless(w, r, "x", 64<<20)
			_, _ = io.WriteString(w, `"}}`)
		}},
		{"brackets", nodesPath, func(w http.ResponseWriter, r *http.Request) { endless(w, r, "[", 0) }},
		{"gzip", nodesPath, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			_, _ = io.WriteString(z, `{"x":"`)
			for range 4 << 10 {
				if _, err := io.WriteString(z, strings.Repeat("0", 1<<20)); err != nil || r.Context().Err() != nil {
					return
				}
			}
		}},
		{"a slow body", nodesPath, slow},
		{"a slow key set", keysPath, slow},
		{"a redirect", identityPath, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, Stolen, http.StatusTemporaryRedirect)
		}},
		{"a redirect of nodes", nodesPath, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, Stolen, http.StatusFound) }},
		{"an identity without end", identityPath, func(w http.ResponseWriter, r *http.Request) { endless(w, r, `{"x":`, 0) }},
		{"an identity of gigabytes", identityPath, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, `{"metadata":{"uid":"`)
			endless(w, r, "x", 0)
		}},
		{"headers of megabytes", identityPath, func(w http.ResponseWriter, _ *http.Request) {
			for i := range 100 {
				w.Header().Set(fmt.Sprint("X-", i), strings.Repeat("x", 20<<10))
			}
			_, _ = io.WriteString(w, `{"metadata":{"uid":"id-1"}}`)
		}},
		{"an error without end", identityPath, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = io.WriteString(w, `{"kind":"Status","message":"`)
			endless(w, r, "x", 0)
		}},
		{"a version without end", versionPath, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, `{"gitVersion":"`)
			endless(w, r, "1", 0)
		}},
		{"control characters", versionPath, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"gitVersion":"v1.36.3\u001b[31m\u202e\u0007"}`)
		}},
		{"another version each time", versionPath, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Connection", "close")
			fmt.Fprintf(w, `{"gitVersion":"v1.36.%d"}`, time.Now().UnixNano())
		}},
		{"a token without end", tokenPath, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, `{"status":{"token":"`)
			endless(w, r, "x", 0)
		}},
		{"keys without end", keysPath, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, `{"keys":[`)
			endless(w, r, `{"kty":"RSA","e":"AQAB","n":"AQAB"},`, 0)
		}},
		{"wide keys", keysPath, func(w http.ResponseWriter, _ *http.Request) {
			key := `{"kty":"RSA","e":"AQAB","n":"` + strings.Repeat("_", 3<<10) + `"}`
			_, _ = io.WriteString(w, `{"keys":[`+strings.Repeat(key+",", 63)+key+`]}`)
		}},
	}
}

// slow sends a byte a second.
func slow(w http.ResponseWriter, r *http.Request) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for write(w, r, " ") {
		_ = http.NewResponseController(w).Flush()
		select {
		case <-tick.C:
		case <-r.Context().Done():
		}
	}
}

// endless writes a text again and again: for size bytes, or, when that is 0, as long as the client reads.
func endless(w http.ResponseWriter, r *http.Request, text string, size int) {
	chunk := strings.Repeat(text, max(1, 64<<10/len(text)))
	for n := 0; (size == 0 || n < size) && write(w, r, chunk); n += len(chunk) {
	}
}

func write(w http.ResponseWriter, r *http.Request, text string) bool {
	_, err := io.WriteString(w, text)
	return err == nil && r.Context().Err() == nil
}

// Member is a server that plays one.
type Member struct {
	*httptest.Server
	// Requests counts what it was asked, and Stolen what it was asked behind a redirect.
	Requests, Stolen atomic.Int64
	// Sent counts the bytes that it sent.
	Sent atomic.Int64
}

// New starts a member with that cluster ID. Its caller closes it.
func New(id string, attack Attack) *Member {
	m := &Member{}
	m.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.Requests.Add(1)
		counted := &counter{ResponseWriter: w, sent: &m.Sent}
		switch r.URL.Path {
		case Stolen:
			m.Stolen.Add(1)
		case attack.Path:
			attack.answer(counted, r)
		case identityPath:
			_, _ = io.WriteString(counted, `{"kind":"Namespace","metadata":{"name":"kube-system","uid":`+strconv.Quote(id)+`}}`)
		case versionPath:
			_, _ = io.WriteString(counted, `{"gitVersion":"v1.36.3"}`)
		case nodesPath:
			_, _ = io.WriteString(counted, `{"kind":"NodeList","metadata":{},"items":[]}`)
		case tokenPath:
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(counted, `{"status":{"token":"a.b.c"}}`)
		default:
			http.NotFound(counted, r)
		}
	}))
	return m
}

// CA is the certificate that the server is verified with, PEM.
func (m *Member) CA() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: m.Certificate().Raw})
}

type counter struct {
	http.ResponseWriter
	sent *atomic.Int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.sent.Add(int64(n))
	return n, err
}

// Unwrap is for http.ResponseController.
func (c *counter) Unwrap() http.ResponseWriter { return c.ResponseWriter }
