//go:build unix && extended

package krew

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
)

// TestEveryPlatformInstalls is what krew's index does with a new plugin: its validator downloads and installs
// every platform.
func TestEveryPlatformInstalls(t *testing.T) {
	t.Parallel()
	p := release(t)
	server := httptest.NewServer(http.FileServer(http.Dir(p.dir)))
	defer server.Close()
	manifest := filepath.Join(t.TempDir(), ManifestName)
	write(t, manifest, bytes.ReplaceAll(p.manifest(t), []byte(releases), []byte(server.URL+"/")))
	out, err := newHome(t).run(t, "validate-krew-manifest", "-manifest="+manifest)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if want := fmt.Sprintf("all %d spec.platforms installed fine", len(Platforms)); !strings.Contains(out, want) {
		t.Errorf("want %q in\n%s", want, out)
	}
}
