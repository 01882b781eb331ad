package words

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kubefederate/kubectl-federate/test/checkout"
)

// TestWords looks for expressions that are gone in every file of the repository.
func TestWords(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..")
	files, err := checkout.Files(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
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
		for _, f := range faults {
			t.Error(f)
		}
	}
	if read < 100 {
		t.Errorf("%d files were read", read)
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
