package script

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubefederate/kubectl-federate/pkg/cli"
)

// TestExamples finds every example of every command's help in a script, so that none is shown that nobody
// has run.
func TestExamples(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts found: %v", err)
	}
	var scripts strings.Builder
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		scripts.Write(data)
	}
	var ran []string
	for line := range strings.Lines(scripts.String()) {
		if _, command, ok := strings.Cut(line, "kubectl federate "); ok {
			ran = append(ran, strings.Join(strings.Fields(command), " ")+" ")
		}
	}
	examples := 0
	for command, text := range cli.Examples() {
		text = strings.ReplaceAll(text, "\\\n", " ")
		for line := range strings.Lines(text) {
			_, example, ok := strings.Cut(line, "kubectl federate ")
			if !ok || strings.HasPrefix(strings.TrimSpace(line), "#") {
				continue
			}
			examples++
			example, _, _ = strings.Cut(example, " > ")
			example = strings.Join(strings.Fields(example), " ")
			// A script may add flags behind an example.
			if !slices.ContainsFunc(ran, func(command string) bool { return strings.HasPrefix(command, example+" ") }) {
				t.Errorf("%s: no script runs this example of its help:\nkubectl federate %s", command, example)
			}
		}
	}
	if examples < 20 {
		t.Errorf("%d examples found in all the help; are they read right?", examples)
	}
}

// TestRecipes finds every command of the section of README.md for users of other systems in recipes.txtar, which runs
// them in that order.
func TestRecipes(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile("recipes.txtar")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(readme), "\n## I have Rancher")
	section, _, _ = strings.Cut(section, "\n## ")
	recipes, rest := 0, string(script)
	for line := range strings.Lines(section) {
		command := strings.TrimSpace(line)
		if !strings.HasPrefix(line, "    kubectl ") && !strings.HasPrefix(line, "      kubectl ") {
			continue
		}
		recipes++
		_, after, found := strings.Cut(rest, "\nexec "+command+"\n")
		if !found {
			t.Errorf("recipes.txtar does not run, in this place:\n%s", command)
			continue
		}
		rest = "\n" + after
	}
	if recipes < 10 {
		t.Errorf("%d recipes found in README.md; are they read right?", recipes)
	}
}

// TestPicture compares the picture of a federation in README.md with what fleet.txtar has the command print.
func TestPicture(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile("fleet.txtar")
	if err != nil {
		t.Fatal(err)
	}
	_, printed, found := strings.Cut(string(script), "\n-- prod.mmd --\n")
	if !found {
		t.Fatal("fleet.txtar has no prod.mmd")
	}
	printed, _, _ = strings.Cut(printed, "\n-- ")
	_, shown, _ := strings.Cut(string(readme), "```mermaid\n")
	shown, _, _ = strings.Cut(shown, "```")
	if diff := cmp.Diff(printed, shown); diff != "" {
		t.Errorf("README.md shows another picture than `kubectl federate tree --federation prod -o mermaid` in fleet.txtar (-script +README):\n%s", diff)
	}
}
