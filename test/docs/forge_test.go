package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/kubefederate/kubectl-federate/test/checkout"
)

// workflow is what a file of .github/workflows says, as far as it is judged.
type workflow struct {
	Permissions any `json:"permissions"`
	Jobs        map[string]struct {
		Timeout int `json:"timeout-minutes"`
		Steps   []struct {
			Uses string `json:"uses"`
			Run  string `json:"run"`
		} `json:"steps"`
	} `json:"jobs"`
}

var (
	pinned = regexp.MustCompile(`^[\w.-]+/[\w./-]+@[0-9a-f]{40}$`)
	target = regexp.MustCompile(`(?m)^([a-z-]+):`)
	makes  = regexp.MustCompile(`\bmake ([a-z-]+)`)
	nodes  = regexp.MustCompile(`\.ci/run|make test-extended`)
)

// faults are what is wrong with a workflow.
func (w workflow) faults(targets []string) []string {
	var faults []string
	if permissions, ok := w.Permissions.(map[string]any); !ok || len(permissions) != 1 || permissions["contents"] != "read" {
		faults = append(faults, "permissions of the workflow must be contents: read; a job that needs more says so itself")
	}
	for name, job := range w.Jobs {
		if job.Timeout == 0 {
			faults = append(faults, "job "+name+" has no timeout-minutes")
		}
		for _, step := range job.Steps {
			if step.Uses != "" && !pinned.MatchString(step.Uses) {
				faults = append(faults, step.Uses+" is not pinned to a commit")
			}
			if nodes.MatchString(step.Run) && !strings.Contains(step.Run, "sudo ") {
				faults = append(faults, step.Run+" leaves out the tests on nodes, which take root")
			}
			for _, used := range makes.FindAllStringSubmatch(step.Run, -1) {
				if !slices.Contains(targets, used[1]) {
					faults = append(faults, "the Makefile has no target "+used[1])
				}
			}
		}
	}
	slices.Sort(faults)
	return faults
}

// TestWorkflows holds what the workflows may do, that others' actions cannot change under us, and that what they run is
// there.
func TestWorkflows(t *testing.T) {
	t.Parallel()
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	var targets []string
	for _, found := range target.FindAllStringSubmatch(string(makefile), -1) {
		targets = append(targets, found[1])
	}
	files, err := filepath.Glob(filepath.Join(root, ".github", "workflows", "*"))
	if err != nil || len(files) < 2 {
		t.Fatalf("%d workflows found: %v", len(files), err)
	}
	for _, file := range files {
		var w workflow
		read(t, file, &w)
		for _, fault := range w.faults(targets) {
			t.Errorf("%s: %s", filepath.Base(file), fault)
		}
	}

	// The negative control.
	var bad workflow
	text := "permissions: write-all\njobs: {j: {steps: [{uses: a/b@v1}, {run: make none}, {run: .ci/run}]}}\n"
	if err := yaml.Unmarshal([]byte(text), &bad); err != nil {
		t.Fatal(err)
	}
	want := []string{
		".ci/run leaves out the tests on nodes, which take root", "a/b@v1 is not pinned to a commit", "job j has no timeout-minutes",
		"permissions of the workflow must be contents: read; a job that needs more says so itself", "the Makefile has no target none",
	}
	if diff := cmp.Diff(want, bad.faults(targets)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestFormsAreYAML parses all of .github that a forge parses.
func TestFormsAreYAML(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(root, ".github", "ISSUE_TEMPLATE", "*"))
	if err != nil || len(files) < 3 {
		t.Fatalf("%d forms found: %v", len(files), err)
	}
	for _, file := range files {
		read(t, file, &map[string]any{})
	}
}

// TestDependencyUpdates finds each module of the checkout among those that are kept up to date.
func TestDependencyUpdates(t *testing.T) {
	t.Parallel()
	var config struct {
		Updates []struct {
			Ecosystem   string   `json:"package-ecosystem"`
			Directory   string   `json:"directory"`
			Directories []string `json:"directories"`
		} `json:"updates"`
	}
	read(t, filepath.Join(root, ".github", "dependabot.yml"), &config)
	var updated []string
	for _, u := range config.Updates {
		if u.Ecosystem == "gomod" {
			updated = append(updated, u.Directories...)
			if u.Directory != "" {
				updated = append(updated, u.Directory)
			}
		}
	}
	files, err := checkout.Files(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	var modules []string
	for _, file := range files {
		if dir, found := strings.CutSuffix("/"+file, "/go.mod"); found {
			if dir == "" {
				dir = "/"
			}
			modules = append(modules, dir)
		}
	}
	slices.Sort(updated)
	slices.Sort(modules)
	if diff := cmp.Diff(modules, updated); diff != "" {
		t.Errorf("the modules of the checkout and of .github/dependabot.yml (-modules +dependabot):\n%s", diff)
	}
}

// TestCodeOwners finds a file for each pattern.
func TestCodeOwners(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(root, ".github", "CODEOWNERS"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		pattern, owners, _ := strings.Cut(strings.TrimSpace(line), " ")
		if pattern == "" || pattern == "#" || pattern == "*" {
			continue
		}
		if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(pattern))); err != nil || !strings.Contains(owners, "@") {
			t.Errorf("%s: no such file, or no owner", pattern)
		}
	}
}

func read(t *testing.T, file string, into any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		t.Errorf("%s: %v", filepath.Base(file), err)
	}
}
