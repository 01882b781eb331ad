package docs

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli"
)

const (
	// maxReadme is how many lines README.md may have: it is read whole before anything is installed.
	maxReadme = 250
	// maxNotRun is how many code blocks of all pages together may be shown without being run. Raise it only for what
	// needs a system that no test has.
	maxNotRun = 4
)

var root = filepath.Join("..", "..")

func pages(t *testing.T) []Page {
	t.Helper()
	pages, err := Pages(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	if len(pages) < 10 {
		t.Fatalf("%d pages found: are they read right?", len(pages))
	}
	return pages
}

func page(t *testing.T, name string) Page {
	t.Helper()
	all := pages(t)
	i := slices.IndexFunc(all, func(p Page) bool { return p.Path == name })
	if i < 0 {
		t.Fatalf("there is no %s", name)
	}
	return all[i]
}

func TestReadmeIsShort(t *testing.T) {
	t.Parallel()
	if n := strings.Count(page(t, "README.md").Text, "\n"); n > maxReadme {
		t.Errorf("README.md has %d lines, more than %d: move what is not needed in the first five minutes to docs/", n, maxReadme)
	}
}

// TestReadmeNamesEachCommand finds every command in the table of README.md, and no command there that does not exist.
func TestReadmeNamesEachCommand(t *testing.T) {
	t.Parallel()
	_, section, _ := strings.Cut(page(t, "README.md").Text, "\n## Commands\n")
	section, _, _ = strings.Cut(section, "\n## ")
	shown := map[string]bool{}
	for line := range strings.Lines(section) {
		cells := strings.Split(line, "|")
		if len(cells) < 3 {
			continue
		}
		for _, name := range regexp.MustCompile("`([a-z]+)").FindAllStringSubmatch(cells[1], -1) {
			shown[name[1]] = true
		}
	}
	commands := map[string]bool{}
	for command := range cli.Examples() {
		name, _, _ := strings.Cut(strings.TrimPrefix(command, "kubectl federate "), " ")
		commands[name] = true
	}
	if diff := cmp.Diff(commands, shown); diff != "" {
		t.Errorf("the commands, and those in the table of README.md (-commands +README):\n%s", diff)
	}
}

// TestLinks follows every relative link, to a file and to a heading of a page.
func TestLinks(t *testing.T) {
	t.Parallel()
	for _, fault := range brokenLinks(pages(t)) {
		t.Error(fault)
	}
}

func brokenLinks(pages []Page) []string {
	anchors := map[string]map[string]bool{}
	for _, p := range pages {
		anchors[p.Path] = p.Anchors()
	}
	var faults []string
	for _, p := range pages {
		for _, link := range p.Links() {
			file, anchor, _ := strings.Cut(link, "#")
			to := p.Path
			if file != "" {
				to = path.Join(path.Dir(p.Path), file)
			}
			if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(to))); err != nil && anchors[to] == nil {
				faults = append(faults, p.Path+" links to "+link+", which is not there")
			} else if anchor != "" && !anchors[to][anchor] {
				faults = append(faults, p.Path+" links to "+link+", and there is no such heading")
			}
		}
	}
	return faults
}

// TestPagesAreFound goes from docs/README.md to every page of docs/.
func TestPagesAreFound(t *testing.T) {
	t.Parallel()
	index := page(t, "docs/README.md")
	for _, p := range pages(t) {
		to := strings.TrimPrefix(p.Path, "docs/")
		if to != p.Path && p.Path != index.Path && !slices.Contains(index.Links(), to) {
			t.Errorf("docs/README.md has no link to %s", to)
		}
	}
}

// TestBlocksAreRun finds for each code block what runs it.
func TestBlocksAreRun(t *testing.T) {
	t.Parallel()
	scripts, err := filepath.Glob(filepath.Join(root, "test", "script", "*.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	notRun, run := 0, 0
	for _, p := range pages(t) {
		blocks, err := p.Blocks()
		if err != nil {
			t.Error(err)
		}
		for _, fault := range unrun(blocks, func(name string) bool {
			if strings.HasSuffix(name, "_test.go") {
				_, err := os.Stat(filepath.Join(root, filepath.FromSlash(name)))
				return err == nil
			}
			return slices.Contains(scripts, filepath.Join(root, "test", "script", name))
		}) {
			t.Errorf("%s:%s", p.Path, fault)
		}
		for _, b := range blocks {
			if b.NotRun != "" {
				notRun++
				t.Logf("%s:%d is not run: %s", p.Path, b.Line, b.NotRun)
			} else {
				run++
			}
		}
	}
	if notRun > maxNotRun || run < 20 {
		t.Errorf("%d code blocks are run and %d are not; at most %d may not be", run, notRun, maxNotRun)
	}
}

// unrun names blocks of a page that nothing runs, each with its line.
func unrun(blocks []Block, isScript func(string) bool) []string {
	var commands strings.Builder
	for _, b := range blocks {
		if b.Language == "console" {
			commands.WriteString(b.Text)
		}
	}
	var faults []string
	for _, b := range blocks {
		fault := ""
		switch {
		case b.NotRun != "":
		case b.Script != "" && !isScript(b.Script):
			fault = "there is no script " + b.Script
		case b.Script != "":
		case b.Language == "console" && len(b.Commands()) == 0:
			fault = "a console block without a command: a line that starts with \"$ \""
		case b.Language == "console":
		case b.Language == "text" && len(b.Commands()) == 0:
			// A picture.
		case b.Name() != "" && strings.Contains(commands.String(), b.Name()):
		case b.Name() != "":
			fault = "no command of the page uses " + b.Name()
		default:
			fault = "nothing runs this block, and no comment above it says why"
		}
		if fault != "" {
			faults = append(faults, fmt.Sprintf("%d: %s", b.Line, fault))
		}
	}
	return faults
}

// TestFaultsAreFound is the negative control, and reads a block.
func TestFaultsAreFound(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, text string
		want       []string
	}{
		{"in order", "```console\n$ true\n```\n\n<!-- not run: no cluster -->\n```sh\nmake\n```\n\n```yaml\n# a.yaml\n```\n```console\n$ cat a.yaml\n```\n", nil},
		{"a shell block", "text\n```sh\nmake\n```\n", []string{"2: nothing runs this block, and no comment above it says why"}},
		{"a file that nothing uses", "```yaml\n# b.yaml\n```\n", []string{"1: no command of the page uses b.yaml"}},
		{"no command", "```console\nkubectl get\n```\n", []string{"1: a console block without a command: a line that starts with \"$ \""}},
		{"no script", "<!-- runs in: none.txtar -->\n```console\n$ true\n```\n", []string{"2: there is no script none.txtar"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			blocks, err := Page{Path: "a.md", Text: tt.text}.Blocks()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, unrun(blocks, func(string) bool { return false })); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
	links := []Page{{Path: "docs/a.md", Text: "# A b\n[1](none.md) [2](#none) [3](#a-b) [4](https://example.com/none.md) [5](../README.md)\n"}}
	want := []string{"docs/a.md links to none.md, which is not there", "docs/a.md links to #none, and there is no such heading"}
	if diff := cmp.Diff(want, brokenLinks(links)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	block := Block{Text: "$ a \\\n  b\n1\n2\n$ c\n$ d\n3\n"}
	commands := []Command{{Line: "a \\\n  b", Output: "1\n2\n"}, {Line: "c"}, {Line: "d", Output: "3\n"}}
	if diff := cmp.Diff(commands, block.Commands()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for _, text := range []string{"```console\n$ true\n", "- a\n  ```console\n", "    kubectl get\n"} {
		if _, err := (Page{Path: "a.md", Text: text}).Blocks(); err == nil {
			t.Errorf("no fault in %q", text)
		}
	}
}

// TestCommandsInText finds each command, and each flag of one, that stands in the text between code blocks.
func TestCommandsInText(t *testing.T) {
	t.Parallel()
	printed := func(args ...string) string {
		var out bytes.Buffer
		cli.Run(t.Context(), append([]string{"kubectl-federate"}, args...),
			genericiooptions.IOStreams{In: strings.NewReader(""), Out: &out, ErrOut: &out})
		return out.String()
	}
	hostFlags := printed("options")
	commands := cli.Examples()
	found := 0
	for _, p := range pages(t) {
		for _, line := range regexp.MustCompile("`kubectl federate ([^`]+)`").FindAllStringSubmatch(p.prose(), -1) {
			found++
			words := strings.Fields(line[1])
			args := words[:1]
			if _, known := commands["kubectl federate "+words[0]]; !known && len(words) > 1 {
				args = words[:2]
			}
			if _, known := commands["kubectl federate "+strings.Join(args, " ")]; !known {
				t.Errorf("%s: there is no command %s", p.Path, line[0])
				continue
			}
			flags := printed(append(args, "--help")...) + hostFlags
			for _, word := range words {
				name, _, _ := strings.Cut(word, "=")
				if strings.HasPrefix(name, "-") && !regexp.MustCompile(`(?m)[ ,]`+name+`[ ,]`).MatchString(flags) {
					t.Errorf("%s: %s has no flag %s", p.Path, line[0], name)
				}
			}
		}
	}
	if found < 20 {
		t.Errorf("%d commands found: are they read right?", found)
	}
}

// TestReasonsAreDocumented compares the conditions and reasons that pkg/apis declares with the rows of docs/operations.md and
// docs/inventory.md, which say what to do.
func TestReasonsAreDocumented(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(root, "pkg", "apis", "v1alpha1", "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	declared := map[string]map[string]bool{"Condition": {}, "Reason": {}}
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile(`(?m)^(?:const |\t)(Condition|Reason)\w+ += "(\w+)"$`).FindAllStringSubmatch(string(source), -1) {
			declared[name[1]][name[2]] = true
		}
	}
	if len(declared["Condition"]) < 10 || len(declared["Reason"]) < 50 {
		t.Fatalf("%d conditions and %d reasons found: are they read right?", len(declared["Condition"]), len(declared["Reason"]))
	}
	conditions, reasons := map[string]bool{}, map[string]bool{}
	name := regexp.MustCompile("`([A-Z]\\w+)`")
	collect := func(into map[string]bool, cell string) {
		for _, found := range name.FindAllStringSubmatch(cell, -1) {
			into[found[1]] = true
		}
	}
	for _, row := range tableRows(page(t, "docs/operations.md"), "condition", "reason", "meaning", "what to do") {
		collect(conditions, row[0])
		collect(reasons, row[1])
	}
	for _, other := range []string{"docs/inventory.md", "docs/services.md"} {
		for _, row := range tableRows(page(t, other), "reason", "of", "what to do") {
			collect(reasons, row[0])
		}
	}
	delete(reasons, "ProbesStopped") // which commands show, and nothing stores
	if diff := cmp.Diff(declared["Condition"], conditions); diff != "" {
		t.Errorf("conditions (-declared +docs/operations.md):\n%s", diff)
	}
	if diff := cmp.Diff(declared["Reason"], reasons); diff != "" {
		t.Errorf("reasons (-declared +docs/operations.md, docs/inventory.md and docs/services.md):\n%s", diff)
	}
}

// tableRows are the rows of all tables of a page with a header.
func tableRows(p Page, header ...string) (rows [][]string) {
	inTable := false
	for line := range strings.Lines(p.Text) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) < 3 {
			inTable = false
			continue
		}
		cells = cells[1 : len(cells)-1]
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if inTable {
			rows = append(rows, cells)
		}
		inTable = inTable || slices.Equal(cells, header)
	}
	return rows
}

// TestRulesPageHasEachField finds every field of a Federation's spec in docs/rules.md.
func TestRulesPageHasEachField(t *testing.T) {
	t.Parallel()
	text := page(t, "docs/rules.md").Text
	for name := range fields(reflect.TypeFor[v1alpha1.FederationSpec]()) {
		if !regexp.MustCompile(`\b` + name + `\b`).MatchString(text) {
			t.Errorf("docs/rules.md does not name the field %s", name)
		}
	}
}

// TestDocsNameEachMemberField finds every field of a member's spec on some page.
func TestDocsNameEachMemberField(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	for _, p := range pages(t) {
		text.WriteString(p.Text)
	}
	for name := range fields(reflect.TypeFor[v1alpha1.MemberClusterSpec]()) {
		if !regexp.MustCompile(`\b` + name + `\b`).MatchString(text.String()) {
			t.Errorf("no page of docs/ and not README.md names the field %s of a member", name)
		}
	}
}

// fields are the names of the JSON fields of a type and of all types in it.
func fields(of reflect.Type) map[string]bool {
	for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice {
		of = of.Elem()
	}
	names := map[string]bool{}
	if of.Kind() != reflect.Struct {
		return names
	}
	for f := range of.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		names[name] = true
		maps.Copy(names, fields(f.Type))
	}
	return names
}
