package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// TestChecks is the negative control of make verify: a small checkout in order, then one fault at a time.
func TestChecks(t *testing.T) {
	t.Parallel()
	inOrder := map[string]string{
		"go.mod":   "module example.com/m\n\ngo 1.26.0\n",
		"m.go":     "package m\n",
		"n/go.mod": "module example.com/n\n\ngo 1.26.0\n",
		"n/n.go":   "package n\n",
		"made.txt": "made\n",
		"Makefile": "generate:\n\techo made > made.txt\n",
		// What git ignores is not checked.
		".gitignore":   "/ignored/\n",
		"ignored/x.go": "package  x\n",
	}
	tests := []struct {
		name string
		// edit replaces files; an empty content removes one.
		edit map[string]string
		want []string
	}{
		{name: "in order"},
		{
			name: "not formatted",
			edit: map[string]string{"n/n.go": "package  n\n"},
			want: []string{"n/n.go is not formatted: gofmt -w n/n.go"},
		},
		{
			name: "out of date",
			edit: map[string]string{"made.txt": "edited\n"},
			want: []string{"made.txt is out of date: make generate"},
		},
		{
			name: "not generated",
			edit: map[string]string{"made.txt": ""},
			want: []string{"made.txt is missing: make generate, and add what it did"},
		},
		{
			name: "removed by its generator",
			edit: map[string]string{"Makefile": "generate:\n\trm made.txt\n"},
			want: []string{"made.txt is removed by its generator: make generate, and add what it did"},
		},
		{
			name: "not tidy",
			edit: map[string]string{"n/go.mod": "module example.com/n\n\ngo 1.26.0\n\nreplace example.com/o => ../o\n\nrequire example.com/o v1.0.0\n", "o/go.mod": "module example.com/o\n"},
			want: []string{"n/go.mod is not tidy: go -C n mod tidy\n" +
				"diff current/go.mod tidy/go.mod\n--- current/go.mod\n+++ tidy/go.mod\n@@ -3,5 +3,3 @@\n go 1.26.0\n \n replace example.com/o => ../o\n-\n-require example.com/o v1.0.0\n\n"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			for _, files := range []map[string]string{inOrder, tt.edit} {
				for name, content := range files {
					file := filepath.Join(root, filepath.FromSlash(name))
					if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
						t.Fatal(err)
					}
					if content == "" {
						if err := os.Remove(file); err != nil {
							t.Fatal(err)
						}
						continue
					}
					if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
						t.Fatal(err)
					}
				}
			}
			if out, err := exec.CommandContext(t.Context(), "git", "-C", root, "init", "--quiet").CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			var got []string
			for _, check := range checks {
				faults, err := check.run(t.Context(), root)
				if err != nil {
					t.Fatalf("%s: %v", check.name, err)
				}
				got = append(got, faults...)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got\n%q\nwant\n%q", got, tt.want)
			}
		})
	}
}
