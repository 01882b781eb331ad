//go:build unix

package script

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubefederate/kubectl-federate/test/env"
)

// volatile is what differs from run to run in what the tour prints.
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

// TestReadme runs the tour of README.md on a host with three members and compares what is printed there,
// but for times, ports and IDs. With UPDATE_README set it writes what is printed into README.md.
func TestReadme(t *testing.T) {
	if err := theStage.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := theStage.installHost(t.Context()); err != nil {
		t.Fatal(err)
	}
	members := []string{"us-east", "us-west", "eu-west"}
	before := map[string]env.Objects{}
	for _, name := range members {
		o, err := env.Snapshot(t.Context(), theStage.fleet.Cluster(name).Config())
		if err != nil {
			t.Fatal(err)
		}
		before[name] = o
	}
	readme := filepath.Join("..", "..", "README.md")
	text, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	kubeconfig := filepath.Join(home, "kubeconfig")
	if err := theStage.fleet.WriteKubeconfig(kubeconfig); err != nil {
		t.Fatal(err)
	}
	for name, manifest := range manifests(string(text)) {
		if err := os.WriteFile(filepath.Join(home, name), []byte(manifest), 0o600); err != nil {
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

	commands := 0
	var updated bytes.Buffer
	for i, part := range strings.Split(string(text), "```console\n") {
		if i == 0 {
			updated.WriteString(part)
			continue
		}
		block, rest, ok := strings.Cut(part, "```")
		if !ok {
			t.Fatal("README.md: a console block has no end")
		}
		updated.WriteString("```console\n")
		for _, step := range strings.Split("\n"+block, "\n$ ")[1:] {
			command, want := cutCommand(step)
			got := shell(strings.ReplaceAll(command, "\\\n", " "))
			commands++
			if diff := cmp.Diff(steady(want), steady(got)); diff != "" {
				t.Errorf("README.md: what `%s` prints (-README +real):\n%s", command, diff)
			}
			updated.WriteString("$ " + command + "\n" + got)
		}
		updated.WriteString("```" + rest)
	}
	if commands < 10 {
		t.Errorf("README.md shows %d commands in console blocks; were they found?", commands)
	}
	if os.Getenv("UPDATE_README") != "" {
		if err := os.WriteFile(readme, updated.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range members {
		if diff := settle(t.Context(), theStage.fleet.Cluster(name).Config(), before[name]); len(diff) > 0 {
			t.Errorf("the tour left something on %s:\n%s", name, strings.Join(diff, "\n"))
		}
	}
}

// manifests are the YAML blocks whose first line is the name of a file, by that name.
func manifests(readme string) map[string]string {
	found := map[string]string{}
	for _, part := range strings.Split(readme, "```yaml\n# ")[1:] {
		name, rest, _ := strings.Cut(part, "\n")
		found[name], _, _ = strings.Cut(rest, "```")
	}
	return found
}

// cutCommand splits a step into its command, which goes on after a backslash, and what it prints.
func cutCommand(step string) (command, output string) {
	lines := strings.SplitAfter(step, "\n")
	end := 1
	for end < len(lines) && strings.HasSuffix(strings.TrimRight(lines[end-1], "\n"), "\\") {
		end++
	}
	return strings.TrimRight(strings.Join(lines[:end], ""), "\n"), strings.Join(lines[end:], "")
}
