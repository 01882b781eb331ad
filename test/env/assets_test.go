//go:build unix

package env

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestAssetsGiven(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("KUBEBUILDER_ASSETS", dir)
	for _, name := range []string{"etcd", "kube-apiserver", "kube-controller-manager"} {
		writeFile(t, filepath.Join(dir, name), "", 0o755)
	}
	writeFile(t, filepath.Join(dir, "kubectl"), "", 0o644)
	want := `KUBEBUILDER_ASSETS is "` + dir + `", where kubectl is missing: add it, or unset the variable to have all of them built`
	if _, err := Assets(t.Context(), t.Output()); text(err) != want {
		t.Errorf("with a kubectl that is not executable:\ngot  %s\nwant %s", text(err), want)
	}
	if err := os.Chmod(filepath.Join(dir, "kubectl"), 0o755); err != nil {
		t.Fatal(err)
	}
	if got, err := Assets(t.Context(), t.Output()); got != dir || err != nil {
		t.Errorf("with all four: got %q, %v, want %q", got, err, dir)
	}
}

// smallBuild is a module that builds in a moment, in place of the control plane's.
func smallBuild(t *testing.T) *build {
	t.Helper()
	module := t.TempDir()
	writeFile(t, filepath.Join(module, "go.mod"), "module small\n\ngo 1.26\n\nrequire (\n\tk8s.io/kubelet v0.1.0\n\tk8s.io/kubernetes v1.2.3\n)\n", 0o644)
	writeFile(t, filepath.Join(module, "go.sum"), "", 0o644)
	writeFile(t, filepath.Join(module, "one", "main.go"), "package main\n\nfunc main() {}\n", 0o644)
	writeFile(t, filepath.Join(module, "two", "main.go"), "package main\n\nfunc main() {}\n", 0o644)
	return buildOf(t, module)
}

func buildOf(t *testing.T, module string) *build {
	t.Helper()
	b, err := newBuild(module, release{programs: []program{{"one", "small/one"}, {"two", "small/two"}}, version: "main.version"})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBuildOnce(t *testing.T) {
	t.Parallel()
	b, root := smallBuild(t), t.TempDir()
	var progress safeBuilder
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			if dir, err := b.cached(t.Context(), root, &progress); err != nil || len(missing(dir, b.programs)) > 0 {
				t.Errorf("%q lacks %s, %v", dir, missing(dir, b.programs), err)
			}
		})
	}
	wg.Wait()
	for _, name := range []string{"one (1 of 2)", "two (2 of 2)"} {
		if got := strings.Count(progress.String(), "control plane: "+name+": building\n"); got != 1 {
			t.Errorf("%s was built %d times, want once:\n%s", name, got, progress.String())
		}
	}
	entries, err := filepath.Glob(filepath.Join(root, "*"))
	if got, want := strings.ReplaceAll(strings.Join(entries, " "), root+"/", ""), b.key+" "+b.key+".lock"; got != want || err != nil {
		t.Errorf("the cache holds %s, %v, want %s", got, err, want)
	}

	// A folder that lacks a program is made anew.
	if err := os.Remove(filepath.Join(root, b.key, "two")); err != nil {
		t.Fatal(err)
	}
	if dir, err := b.cached(t.Context(), root, &progress); err != nil || len(missing(dir, b.programs)) > 0 {
		t.Errorf("after a program was removed: %q, %v", dir, err)
	}
}

func TestBuildKey(t *testing.T) {
	t.Parallel()
	b := smallBuild(t)
	if same := buildOf(t, b.module); same.key != b.key || !strings.HasPrefix(b.key, "v1.2.3-") {
		t.Errorf("the key is %s, then %s, without a change; it starts with the version", b.key, same.key)
	}
	writeFile(t, filepath.Join(b.module, "go.sum"), "example.com/m v1.0.0 h1:x=\n", 0o644)
	if changed := buildOf(t, b.module); changed.key == b.key {
		t.Errorf("the key stays %s when go.sum changes", b.key)
	}
	writeFile(t, filepath.Join(b.module, "go.mod"), "module small\n\ntool k8s.io/kubernetes/cmd/kubectl\n", 0o644)
	if _, err := newBuild(b.module, release{}); text(err) != "the control plane's go.mod does not require k8s.io/kubernetes" {
		t.Errorf("without a requirement: %v", err)
	}
}

func TestBuildFails(t *testing.T) {
	t.Parallel()
	b, root := smallBuild(t), t.TempDir()
	writeFile(t, filepath.Join(b.module, "two", "main.go"), "package main\n\nfunc main() { undefined() }\n", 0o644)
	_, err := b.cached(t.Context(), root, t.Output())
	if want := "two/main.go:3:15: undefined: undefined"; !strings.Contains(text(err), want) {
		t.Errorf("got %q, want the compiler's words in it: %s", text(err), want)
	}
	if entries, _ := filepath.Glob(filepath.Join(root, b.key+"*")); len(entries) != 1 || !strings.HasSuffix(entries[0], ".lock") {
		t.Errorf("a failed build leaves %s, want only the lock", entries)
	}
}

func writeFile(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

// text is the error's message, or nothing.
func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// safeBuilder is a strings.Builder for several writers.
type safeBuilder struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *safeBuilder) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuilder) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
