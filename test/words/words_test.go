package words

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/kubefederate/kubectl-federate/test/checkout"
)

// left is how often files still have an expression that is gone, by path. It may only shrink, and goes when it is empty.
const left = "testdata/left.txt"

// TestWords looks for expressions that are gone in every file of the repository. UPDATE_WORDS=1 writes what is left.
func TestWords(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..")
	files, err := checkout.Files(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	allowed, used := readLeft(t), map[string]int{}
	read := 0
	for _, file := range files {
		if !slices.Contains([]string{".go", ".md", ".sh", ".txtar", ".yaml", ".yml"}, path.Ext(file)) && path.Base(file) != "Makefile" || strings.HasPrefix(file, "test/words/") {
			continue
		}
		content, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(file)))
		if err != nil {
			t.Fatal(err)
		}
		faults, err := Check(file, content)
		if err != nil {
			t.Fatal(err)
		}
		read++
		if len(faults) > 0 {
			used[file] = len(faults)
		}
		if len(faults) > allowed[file] && os.Getenv("UPDATE_WORDS") == "" {
			for _, f := range faults {
				t.Error(f)
			}
		}
	}
	if read < 100 {
		t.Errorf("%d files were read", read)
	}
	if os.Getenv("UPDATE_WORDS") != "" {
		writeLeft(t, used)
		return
	}
	for file, n := range allowed {
		if used[file] < n {
			t.Logf("%s: %s allows %d, and %d are left: UPDATE_WORDS=1 go test ./test/words", left, file, n, used[file])
		}
	}
}

func readLeft(t *testing.T) map[string]int {
	t.Helper()
	text, err := os.ReadFile(left)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	allowed := map[string]int{}
	for line := range strings.Lines(string(text)) {
		file, n, _ := strings.Cut(strings.TrimSpace(line), " ")
		if allowed[file], err = strconv.Atoi(n); err != nil {
			t.Fatal(err)
		}
	}
	return allowed
}

func writeLeft(t *testing.T, used map[string]int) {
	t.Helper()
	var text strings.Builder
	for _, file := range slices.Sorted(maps.Keys(used)) {
		fmt.Fprintf(&text, "%s %d\n", file, used[file])
	}
	if err := os.MkdirAll(filepath.Dir(left), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(left, []byte(text.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestCheck is the negative control: each kind of place, and what is none of the product's names.
func TestCheck(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, file, content string
		want                []string
	}{
		{"names", "a.go", "package a\n\ntype Wish struct{ onGuard bool }\n\nfunc (w Wish) takeMarker(witness int) { floor := witness; _ = floor }\n\nvar lane, again = 1, 2\n", []string{
			"wish", "on guard", "marker", "witness", "floor", "lane", "again",
		}},
		{"names of other modules", "a.go", "package a\n\nimport \"example.com/guard\"\n\nvar x = guard.Wish{Floor: 1}\n", nil},
		{"a local variable", "a.go", "package a\n\nfunc f() { wait := 1; _ = wait }\n", nil},
		{"strings and comments", "a.go", "package a\n\n// It was Taken back.\nvar x = `one\nbut for two`\n", []string{"taken back", "but for"}},
		{"text", "docs/a.md", "The marker.\nMarkerless, told.\nto go on: x\n", []string{"marker", "told", "to go on:"}},
		{"manifests", "a.yaml", "reason: Sighting\nname: unguarded\n", []string{"sighting"}},
		{"a file's name", "pkg/cli/glance.go", "package cli\n", []string{"glance.go"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			faults, err := Check(tt.file, []byte(tt.content))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range faults {
				got = append(got, f.Expression)
			}
			slices.Sort(got)
			slices.Sort(tt.want)
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
