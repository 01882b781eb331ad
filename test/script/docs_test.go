//go:build unix

package script

import (
	"context"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/kubefederate/kubectl-federate/test/docs"
)

// volatile is what differs from run to run in what a page shows.
var volatile = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`), "<time>"},
	{regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`), "<uid>"},
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "127.0.0.1:<port>"},
	{regexp.MustCompile(`\b(\d+d)?(\d+h)?(\d+m)?\d+[smhd]\b`), "<age>"},
	{regexp.MustCompile(` +`), " "},
}

func steady(output string) string {
	for _, v := range volatile {
		output = v.pattern.ReplaceAllString(output, v.with)
	}
	return strings.TrimSpace(output)
}

// TestDocs runs the commands of README.md and of the pages of docs/, each page on a host with three members, and compares
// what is printed there, except times, ports and IDs. With UPDATE_DOCS set it writes what is printed into the pages.
// -run TestDocs/README.md runs one page.
func TestDocs(t *testing.T) {
	root := filepath.Join("..", "..")
	pages, err := docs.Pages(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	commands := 0
	for _, page := range pages {
		blocks, err := page.Blocks()
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(blocks, docs.Block.Runs) {
			continue
		}
		t.Run(page.Path, func(t *testing.T) {
			updated, n := runPage(t, page, blocks)
			commands += n
			if os.Getenv("UPDATE_DOCS") != "" && updated != page.Text {
				if err := os.WriteFile(filepath.Join(root, filepath.FromSlash(page.Path)), []byte(updated), 0o644); err != nil {
					t.Error(err)
				}
			}
		})
	}
	if commands < 10 {
		t.Errorf("%d commands were run; were they found?", commands)
	}
}

// runPage runs the commands of a page and gives its text with what they print, and their number.
func runPage(t *testing.T, page docs.Page, blocks []docs.Block) (updated string, commands int) {
	before, home, kubeconfig := theStage.prepare(t)
	for _, b := range blocks {
		if b.Name() == "" || path.IsAbs(b.Name()) { // a file of an API server's machine
			continue
		}
		if err := os.WriteFile(filepath.Join(home, b.Name()), []byte(b.Text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	shell := func(command string) string {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, "/bin/sh", "-c", command)
		cmd.Dir = home
		cmd.Env = []string{
			"HOME=" + home, "KUBECONFIG=" + kubeconfig,
			"PATH=" + os.Getenv("PATH") + string(os.PathListSeparator) + filepath.Dir(theStage.fleet.Kubectl()),
		}
		out, err := cmd.CombinedOutput()
		if ctx.Err() != nil {
			t.Fatalf("%s: %v", command, err)
		}
		return string(out)
	}

	var text strings.Builder
	at := 0
	for _, b := range blocks {
		if !b.Runs() {
			continue
		}
		text.WriteString(page.Text[at:b.Start])
		for _, c := range b.Commands() {
			commands++
			got := shell(c.Shell())
			if diff := cmp.Diff(steady(c.Output), steady(got)); diff == "" {
				got = c.Output
			} else {
				t.Errorf("%s: what `%s` prints (-%s +real):\n%s", page.Path, c.Line, page.Path, diff)
			}
			text.WriteString("$ " + c.Line + "\n" + got)
		}
		at = b.Start + len(b.Text)
	}
	text.WriteString(page.Text[at:])
	for name := range before {
		if err := theStage.unchanged(name, before); err != nil {
			t.Errorf("%s left something: %v", page.Path, err)
		}
	}
	return text.String(), commands
}

// TestDocsInScripts finds every command of a code block that a script runs in that script, in the order of the page, and
// compares every block that is a file of a script with that file.
func TestDocsInScripts(t *testing.T) {
	t.Parallel()
	pages, err := docs.Pages(t.Context(), filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	commands, files := 0, 0
	for _, page := range pages {
		blocks, err := page.Blocks()
		if err != nil {
			t.Fatal(err)
		}
		rest := map[string]string{}
		for _, b := range blocks {
			if b.Script == "" || strings.HasSuffix(b.Script, "_test.go") {
				continue
			}
			script, err := txtar.ParseFile(b.Script)
			if err != nil {
				t.Fatal(err)
			}
			if b.File != "" {
				files++
				i := slices.IndexFunc(script.Files, func(f txtar.File) bool { return f.Name == b.File })
				if i < 0 {
					t.Errorf("%s:%d: %s has no file %s", page.Path, b.Line, b.Script, b.File)
				} else if diff := cmp.Diff(string(script.Files[i].Data), b.Text); diff != "" {
					t.Errorf("%s:%d: %s of %s is another (-script +page):\n%s", page.Path, b.Line, b.File, b.Script, diff)
				}
				continue
			}
			if _, begun := rest[b.Script]; !begun {
				rest[b.Script] = "\n" + string(script.Comment)
			}
			for _, c := range b.Commands() {
				commands++
				_, after, found := strings.Cut(rest[b.Script], "\nexec "+c.Shell()+"\n")
				if !found {
					t.Errorf("%s:%d: %s does not run, in this place:\n%s", page.Path, b.Line, b.Script, c.Shell())
					continue
				}
				rest[b.Script] = "\n" + after
			}
		}
	}
	if commands < 10 || files < 1 {
		t.Errorf("%d commands and %d files of scripts found in the pages; are they read right?", commands, files)
	}
}
