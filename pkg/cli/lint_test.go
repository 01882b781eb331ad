//go:build unix

package cli

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestLintFiles holds which files are read: each once, manifests of a directory by name, nothing that waits for a
// writer, and no directory by a link, which may lead in circles.
func TestLintFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"b.yml", "a.yaml", "c.json", "d.txt", "deep/e.yaml", "empty/README.md"} {
		write(name)
	}
	for link, target := range map[string]string{"f.yaml": "d.txt", "loop": ".", "loop.yaml": "."} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe.yaml"), 0o600); err != nil {
		t.Fatal(err)
	}
	in := func(names ...string) (paths []string) {
		for _, name := range names {
			paths = append(paths, filepath.Join(dir, name))
		}
		return paths
	}
	const absent = "this directory has no .yaml, .yml or .json file"
	for name, test := range map[string]struct {
		named     []string
		recursive bool
		want      []string
		errs      []string
	}{
		"flat":      {named: in(""), want: in("a.yaml", "b.yml", "c.json", "f.yaml")},
		"recursive": {named: in(""), recursive: true, want: in("a.yaml", "b.yml", "c.json", "deep/e.yaml", "f.yaml")},
		"once":      {named: append(in("a.yaml", "./a.yaml", "", "d.txt"), "-", "-"), want: append(in("a.yaml", "b.yml", "c.json", "f.yaml", "d.txt"), "-")},
		"by a link": {named: in("loop"), want: in("loop/a.yaml", "loop/b.yml", "loop/c.json", "loop/f.yaml")},
		"empty":     {named: in("empty"), errs: []string{in("empty")[0] + ": " + absent + "; -R reads subdirectories"}},
		"all empty": {named: in("empty"), recursive: true, errs: []string{in("empty")[0] + ": " + absent}},
		"nowhere":   {named: in("x.yaml", "a.yaml"), want: in("a.yaml"), errs: []string{"stat " + in("x.yaml")[0] + ": no such file or directory"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files, errs := (&lintOptions{lintFlags{recursive: test.recursive}}).find(test.named)
			if diff := cmp.Diff(test.want, files); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
			var texts []string
			for _, err := range errs {
				texts = append(texts, err.Error())
			}
			if diff := cmp.Diff(test.errs, texts); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
		})
	}
}
