package hostile

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Text is text that wants to write to the terminal of who reads it: it begins lines, moves the cursor, changes colors, turns the
// direction of text, and hides.
const Text = "a\nfalse line\r\x1b[2K\x1b]0;title\x07\x08\u009b31m\u0085\u202eb\u202c\u2066\u200f\ufeff\u200b\u2028c"

// Named is an attack with its name.
type Named struct {
	Name   string
	Attack Attack
}

// Attacks are all attacks but redirects, which need somewhere to lead: see Redirect.
func Attacks() []Named {
	return []Named{
		{"endless objects", func(w http.ResponseWriter, _ *http.Request) bool {
			return endless(w, `{"kind":"Namespace","apiVersion":"v1","metadata":{"name":"`, "x")
		}},
		{"endless objects without numbers of bytes", func(w http.ResponseWriter, _ *http.Request) bool { return endless(w, ``, " ") }},
		{"many small values", func(w http.ResponseWriter, _ *http.Request) bool {
			return endless(w, `{"items":[{"metadata":{"ownerReferences":[{}`, ",{}")
		}},
		{"many small maps", func(w http.ResponseWriter, _ *http.Request) bool {
			return endless(w, `{"kind":"Namespace","apiVersion":"v1","status":[{"":0}`, `,{"":0}`)
		}},
		{"deep values", func(w http.ResponseWriter, _ *http.Request) bool { return endless(w, `{"status":`, "[") }},
		{"a compressed bomb", bomb},
		{"endless pages", lists(func(int) string {
			return strings.TrimSuffix(strings.Repeat(`{"metadata":{"name":"n","labels":{"a":"b"}}},`, 500), ",")
		})},
		{"endless pages of a large object", lists(func(int) string { return large(3 << 20) })},
		{"endless pages of many values", lists(func(int) string { return `{"metadata":{"managedFields":[{}` + strings.Repeat(",{}", 300_000) + `]}}` })},
		{"endless pages of labels", lists(func(i int) string {
			return `{"metadata":{"name":"n","labels":{"topology.kubernetes.io/region":"` + strings.Repeat(strconv.Itoa(i%10), 2<<20) + `"}}}`
		})},
		{"endless empty pages", lists(func(int) string { return "" })},
		{"one page again and again", func(w http.ResponseWriter, r *http.Request) bool {
			if IsList(r) {
				fmt.Fprint(w, `{"kind":"List","metadata":{"continue":"same"},"items":[{"metadata":{"name":"n"}}]}`)
			}
			return IsList(r)
		}},
		{"endless expired lists", func(w http.ResponseWriter, r *http.Request) bool {
			if IsList(r) && r.URL.Query().Get("continue") != "" {
				w.WriteHeader(http.StatusGone)
				fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Expired","code":410,"message":"expired"}`)
				return true
			}
			return lists(func(int) string { return large(1 << 20) })(w, r)
		}},
		{"many groups of types", func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/apis" {
				return endless(w, `{"groups":[{}`, `,{"name":"g","versions":[{"groupVersion":"g/v1"}]}`)
			}
			if strings.HasPrefix(r.URL.Path, "/apis/g") {
				return endless(w, `{"groupVersion":"g/v1","resources":[{}`, `,{"name":"r","namespaced":true,"verbs":["list"]}`)
			}
			return false
		}},
		{"large labels and versions", func(w http.ResponseWriter, r *http.Request) bool {
			switch r.URL.Path {
			case "/version":
				fmt.Fprintf(w, `{"gitVersion":%q}`, "v1."+strings.Repeat("9", 900<<10))
			case "/api/v1/namespaces/kube-system":
				fmt.Fprintf(w, `{"kind":"Namespace","apiVersion":"v1","metadata":{"name":"kube-system","uid":"u","labels":{"kubefederate.io/federation":%q}}}`,
					strings.Repeat("p", 900<<10))
			default:
				return false
			}
			return true
		}},
		{"endless errors", func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(http.StatusInternalServerError)
			return endless(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"`, "x")
		}},
		{"a page for people", func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Type", "text/html")
			return endless(w, "<html>", "<p>sign in</p>")
		}},
		{"large headers", func(w http.ResponseWriter, _ *http.Request) bool {
			for i := range 200 {
				w.Header().Set(fmt.Sprintf("X-Large-%d", i), strings.Repeat("x", 40<<10))
			}
			return false
		}},
		{"large warnings", func(w http.ResponseWriter, _ *http.Request) bool {
			for i := range 40 {
				w.Header().Add("Warning", fmt.Sprintf(`299 - "%d %s"`, i, strings.Repeat("\x1b[31m", 200)))
			}
			return false
		}},
		{"slow bodies", func(w http.ResponseWriter, r *http.Request) bool {
			for range 10_000 {
				if _, err := io.WriteString(w, strings.Repeat(" ", 10<<10)); err != nil || wait(r, 100*time.Millisecond) {
					break
				}
				w.(http.Flusher).Flush()
			}
			return true
		}},
		{"no answer", func(_ http.ResponseWriter, r *http.Request) bool {
			<-r.Context().Done()
			return true
		}},
		{"requests to come later", func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(http.StatusTooManyRequests)
			return true
		}},
		{"hostile text", func(w http.ResponseWriter, r *http.Request) bool {
			switch {
			case r.URL.Path == "/version":
				fmt.Fprintf(w, `{"gitVersion":%s}`, hostileText())
			case r.URL.Path == "/api/v1/namespaces/kube-system":
				fmt.Fprintf(w, `{"kind":"Namespace","apiVersion":"v1","metadata":{"name":"kube-system","uid":%s,"labels":{"kubefederate.io/federation":%s}}}`,
					hostileText(), hostileText())
			case r.URL.Path == "/api/v1/namespaces/kubefederate-member/configmaps/membership":
				fmt.Fprintf(w, `{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"membership","uid":"u"},"data":{"federation":%[1]s,"member":%[1]s,"host":%[1]s,"memberUID":%[1]s}}`, hostileText())
			case IsList(r):
				fmt.Fprintf(w, `{"kind":"List","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[{"metadata":{"name":%[1]s,"uid":"m","labels":{"kubefederate.io/federation":%[1]s,"topology.kubernetes.io/region":%[1]s}},
					"spec":{"server":%[1]s,"clusterID":%[1]s},"status":{"phase":%[1]s,"conditions":[{"type":"Ready","status":"False","reason":%[1]s,"message":%[1]s}],"facts":{"kubernetesVersion":%[1]s}}}]}`, hostileText())
			default:
				w.WriteHeader(http.StatusForbidden)
				fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403,"message":%s}`, hostileText())
			}
			return true
		}},
	}
}

// Redirect leads every request elsewhere.
func Redirect(to string, code int) Attack {
	return func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, to+r.URL.RequestURI(), code)
		return true
	}
}

// hostileText is Text in JSON as it is, without the escapes of what JSON allows.
func hostileText() string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range Text {
		if r < ' ' || r == '"' || r == '\\' {
			fmt.Fprintf(&b, `\u%04x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String() + `"`
}

// endless sends a body that ends with the connection.
func endless(w io.Writer, head, text string) bool {
	chunk := []byte(strings.Repeat(text, 1+(32<<10)/len(text)))
	_, err := io.WriteString(w, head)
	for err == nil {
		_, err = w.Write(chunk)
	}
	return true
}

// bomb is an endless body that is compressed a thousand times.
func bomb(w http.ResponseWriter, _ *http.Request) bool {
	w.Header().Set("Content-Encoding", "gzip")
	z := gzip.NewWriter(w)
	return endless(z, `{"kind":"Namespace","apiVersion":"v1","metadata":{"name":"`, "0")
}

// large is an object of so many bytes.
func large(bytes int) string { return `{"metadata":{"name":"` + strings.Repeat("x", bytes) + `"}}` }

// lists answers lists by pages without end, of the items that the page with a number has.
func lists(items func(page int) string) Attack {
	var pages atomic.Int64
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !IsList(r) {
			return false
		}
		page := int(pages.Add(1))
		fmt.Fprintf(w, `{"kind":"List","apiVersion":"v1","metadata":{"resourceVersion":"1","continue":"%d"},"items":[%s]}`, page, items(page))
		return true
	}
}

// wait waits, or says that the client is gone.
func wait(r *http.Request, d time.Duration) (gone bool) {
	select {
	case <-r.Context().Done():
		return true
	case <-time.After(d):
		return false
	}
}
