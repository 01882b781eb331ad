package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubefederate/kubectl-federate/pkg/discover"
)

// TestSources names every place that a source must reach. A row of discover.Sources is complete, the help and the
// documentation name it, and a script on real API servers reads its kinds. FuzzForeign of pkg/discover reads all sources.
func TestSources(t *testing.T) {
	t.Parallel()
	read := func(pattern string) string {
		files, err := filepath.Glob(filepath.Join("..", "..", pattern))
		if err != nil || len(files) == 0 {
			t.Fatalf("no file %s: %v", pattern, err)
		}
		var b strings.Builder
		for _, name := range files {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			b.Write(text)
		}
		return b.String()
	}
	cmd, _, err := testRoot().Find([]string{"discover"})
	if err != nil {
		t.Fatal(err)
	}
	docs := read("README.md") + read("docs/*.md")
	scripts := read("test/script/*.txtar")
	kinds := read("test/script/kinds/*.yaml") + scripts
	usage := cmd.Flag("source").Usage
	var kindsOfSpec, kindsOfSources []string
	for _, value := range regexp.MustCompile(`(?m)^ *enum:\n(( *- \w+\n)*? *- KubeFed\n( *- \w+\n)*)`).FindAllString(read("manifests/crd/kubefederate.io_federations.yaml"), 1) {
		for _, item := range regexp.MustCompile(`- (\w+)`).FindAllStringSubmatch(value, -1) {
			kindsOfSpec = append(kindsOfSpec, item[1])
		}
	}
	for _, s := range discover.Sources {
		if s.Kind != "" {
			kindsOfSources = append(kindsOfSources, string(s.Kind))
		}
	}
	slices.Sort(kindsOfSpec)
	slices.Sort(kindsOfSources)
	if diff := cmp.Diff(kindsOfSpec, kindsOfSources); diff != "" {
		t.Errorf("kinds of spec.discovery, and of the sources: %s", diff)
	}
	for _, s := range discover.Sources {
		name := string(s.Name)
		if s.Title == "" || s.Help == "" || s.Open == nil {
			t.Errorf("source %s: its row lacks a title, a line of help, or what opens it", name)
		}
		for place, text := range map[string]string{"the usage of --source": usage, "the help": cmd.Long, "docs": docs} {
			if !strings.Contains(text, name) {
				t.Errorf("source %s is not in %s", name, place)
			}
		}
		if len(s.Kinds) == 0 {
			continue
		}
		if !strings.Contains(docs, s.Title) {
			t.Errorf("source %s: docs do not speak of %q", name, s.Title)
		}
		if s.Renewal == "" || s.Read == nil {
			t.Errorf("source %s: its row lacks what to do about a credential that has expired, or what reads its objects", name)
		}
		if !regexp.MustCompile(`--source[ =]\S*\b` + name + `\b`).MatchString(scripts) {
			t.Errorf("source %s: no script asks it with --source", name)
		}
		for _, versions := range s.Kinds {
			kind := versions[0].GroupResource().String()
			if versions[0].Group != "" && !regexp.MustCompile(`name: `+kind+`[,}\s]`).MatchString(kinds) {
				t.Errorf("source %s: %s is in no script and in no file of test/script/kinds", name, kind)
			}
		}
	}
}
