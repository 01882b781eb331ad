package bundle

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/host"
)

// secret is what must be nowhere.
const secret = "Zk3vQ9sT1xWb7RmN4cLy8PdH2gJf6KuA0eOiSzXq"

// issued is the token by which metrics are read.
const issued = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJtZXRyaWNzIn0.c2lnbmF0dXJl"

// TestWrite holds what is in a bundle of a host, part of which the caller may not read, and that no secret is.
func TestWrite(t *testing.T) {
	t.Parallel()
	answers := map[string]string{
		"/api/v1/namespaces/kubefederate-system/secrets":           `{"kind":"SecretList","items":[{"metadata":{"name":"keys"},"type":"Opaque","data":{"key":"` + secret + `"}}]}`,
		"/api/v1/namespaces/kubefederate-system/configmaps":        `{"kind":"ConfigMapList","items":[{"metadata":{"name":"c"},"data":{"a":"token: abc"}}]}`,
		"/apis/kubefederate.io/v1alpha1/memberclusters":            `{"kind":"MemberClusterList","items":[{"metadata":{"name":"east","resourceVersion":"12345678901234567890"}},{"metadata":{"name":"west"}}]}`,
		"/api/v1/namespaces/kubefederate-system/pods":              `{"kind":"PodList","items":[{"metadata":{"name":"p"},"spec":{"containers":[{"name":"c","env":[{"name":"A","value":"x"}],"ports":[{"name":"metrics","containerPort":8443}]}]},"status":{"containerStatuses":[{"name":"c","restartCount":2},{"name":"../e"}]}}]}`,
		"/api/v1/namespaces/kubefederate-system/pods/p/log":        "began with " + secret + "\nthe end\n",
		"/api/v1/namespaces/kubefederate-system/pods/p/log?":       "ended before\n",
		"/api/v1/namespaces/kubefederate-credentials/secrets":      `{"kind":"SecretList","items":[]}`,
		"/apis/apps/v1/namespaces/kubefederate-system/deployments": `{"kind":"DeploymentList","items":[]}`,
		"/api/v1/namespaces/kubefederate-system/serviceaccounts/kubefederate-metrics/token": `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","status":{"token":"` + issued +
			`","expirationTimestamp":"2030-01-01T00:00:00Z"}}`,
		"/api/v1/namespaces/kubefederate-system/pods/https:p:8443/proxy/metrics": "kubefederate_members{federation=\"prod\"} 2\n# " + issued + "\n",
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := r.URL.Path
		if r.URL.Query().Get("previous") != "" {
			path += "?"
		}
		answer, ok := answers[path]
		w.Header().Set("Content-Type", "application/json")
		if strings.Contains(path, "/log") || strings.Contains(path, "/proxy/") {
			w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		}
		ok = ok && strings.Contains(path, "/proxy/") == (r.Header.Get("X-Kubefederate-Authorization") == "Bearer "+issued)
		if !ok {
			w.WriteHeader(http.StatusForbidden)
			answer = `{"apiVersion":"v1","kind":"Status","status":"Failure","code":403,"reason":"Forbidden","message":"bob may not, with token ` + secret + `"}`
		}
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(server.Close)
	h, err := host.Connect(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	contents, err := Write(t.Context(), h, []File{
		{Name: "check.json", Content: map[string]any{"cause": "refused " + secret, "number": 12345678901234567}}, {Name: "absent.json", Err: errors.New("not read")},
	}, &packed)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	plain, err := gzip.NewReader(&packed)
	if err != nil {
		t.Fatal(err)
	}
	for archive := tar.NewReader(plain); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		files[strings.TrimPrefix(header.Name, "kubefederate-bundle/")] = string(content)
		if strings.Contains(string(content), secret) || strings.Contains(string(content), issued) || header.Mode != 0o600 {
			t.Errorf("%s (%o): %s", header.Name, header.Mode, content)
		}
	}
	for name, want := range map[string]string{
		"check.json": `"number": 12345678901234567`, "objects/secrets.json": `"key": "REDACTED (30 bytes)"`, "objects/configmaps.json": `"a": "token: REDACTED"`,
		"objects/memberclusters.json": `"name": "west"`, "objects/pods.json": `"value": "REDACTED (1 bytes)"`, "logs/p/c.log": "began with REDACTED\nthe end\n",
		"logs/p/c.previous.log": "ended before\n", "metrics/p.txt": "kubefederate_members{federation=\"prod\"} 2\n# REDACTED\n", "objects/credentials.json": `"kind":"List"`, "contents.json": `"reason": "bob may not, with token REDACTED"`,
	} {
		if !strings.Contains(files[name], want) {
			t.Errorf("%s: %q, want %s", name, files[name], want)
		}
	}
	if len(files) != len(contents.Parts) || len(files) != 11 {
		t.Errorf("%d files, %v", len(files), contents.Parts)
	}
	out := map[string]bool{}
	for _, l := range contents.LeftOut {
		out[l.What] = true
	}
	for _, want := range []string{"absent.json", "objects/federations.json", "objects/events.json"} {
		if !out[want] {
			t.Errorf("%s is not among what was left out: %v", want, contents.LeftOut)
		}
	}
}
