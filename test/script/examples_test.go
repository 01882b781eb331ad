package script

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

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
