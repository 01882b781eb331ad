//go:build unix

package script

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kubefederate/kubectl-federate/pkg/cli"
)

// TestExamples finds every example of every command's help in a script, so that none is shown that was never run.
func TestExamples(t *testing.T) {
	t.Parallel()
	var ran []string
	for line := range strings.Lines(readScripts(t)) {
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

// TestVerbs finds every verb of scripts in the table of CONTRIBUTING.md, and a script that uses it.
func TestVerbs(t *testing.T) {
	t.Parallel()
	contributing, err := os.ReadFile(filepath.Join("..", "..", "CONTRIBUTING.md"))
	if err != nil {
		t.Fatal(err)
	}
	scripts := readScripts(t)
	for _, v := range verbs {
		if row := "\n| `" + strings.ReplaceAll(v.name+" "+v.usage, "|", `\|`) + "` | "; !strings.Contains(string(contributing), row) {
			t.Errorf("CONTRIBUTING.md, Tests, does not have the row%s", row)
		}
		if !strings.Contains(scripts, "\n"+v.name+" ") {
			t.Errorf("no script uses the verb %s", v.name)
		}
	}
}

func readScripts(t *testing.T) string {
	t.Helper()
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
	return scripts.String()
}
