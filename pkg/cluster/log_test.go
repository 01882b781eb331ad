package cluster

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/rest"
)

// TestLogRequests holds what is printed of a request: nothing of the credential, the user of a URL, the body, or the answer.
func TestLogRequests(t *testing.T) {
	t.Parallel()
	const secret = "s3cret"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-Secret", secret)
		if r.URL.Path == "/gone" {
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = w.Write([]byte(`{"token":"` + secret + `"}`))
	}))
	t.Cleanup(server.Close)
	var mu sync.Mutex
	var lines []string
	config := &rest.Config{
		Host: strings.Replace(server.URL, "http://", "http://user:"+secret+"@", 1), BearerToken: secret,
		Impersonate: rest.ImpersonationConfig{UserName: "bob", Extra: map[string][]string{"a": {secret}}},
	}
	config.Wrap(LogRequests(func(line string) {
		mu.Lock()
		defer mu.Unlock()
		lines = append(lines, regexp.MustCompile(`\d+(ms|s)`).ReplaceAllString(strings.ReplaceAll(line, strings.TrimPrefix(server.URL, "http://"), "HOST"), "TIME"))
	}))
	c, err := Connect(Host, config)
	if err != nil {
		t.Fatal(err)
	}
	var into any
	if err := c.GetPath(t.Context(), "/here", &into); err != nil {
		t.Error(err)
	}
	if err := c.GetPath(t.Context(), "/gone", &into); err == nil {
		t.Error("no error of what is gone")
	}
	server.Close()
	if err := c.GetPath(t.Context(), "/closed", &into); err == nil {
		t.Error("no error of a server that is closed")
	}
	want := "GET http://REDACTED@HOST/here 200 in TIME\nGET http://REDACTED@HOST/gone 404 in TIME\nGET http://REDACTED@HOST/closed: no answer in TIME: dial tcp HOST: connect: connection refused"
	if got := strings.Join(lines, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
