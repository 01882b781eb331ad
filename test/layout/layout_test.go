package layout

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// load asks go list about the packages of the module at root and all they import.
func load(t *testing.T, root string) []Package {
	t.Helper()
	var stdout, stderr bytes.Buffer
	list := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,Dir,GoFiles,Imports,TestImports,XTestImports", "./...")
	list.Dir, list.Stdout, list.Stderr = root, &stdout, &stderr
	if err := list.Run(); err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var packages []Package
	for decoder := json.NewDecoder(&stdout); ; {
		var p Package
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			return packages
		}
		if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

func TestLayers(t *testing.T) {
	t.Parallel()
	packages := load(t, filepath.Join("..", ".."))
	if len(packages) < 10 || !slices.ContainsFunc(packages, func(p Package) bool { return p.ImportPath == Module+"/pkg/apis/v1alpha1" }) {
		t.Fatalf("go list saw %d packages and not our own: nothing was judged", len(packages))
	}
	for _, fault := range Check(packages) {
		t.Error(fault)
	}
	faults, err := CheckClock(packages)
	if err != nil {
		t.Fatal(err)
	}
	contributing, err := os.ReadFile(filepath.Join("..", "..", "CONTRIBUTING.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, fault := range append(faults, CheckTable(packages, string(contributing))...) {
		t.Error(fault)
	}
}

// TestContributing finds every test that CONTRIBUTING.md names in the tree.
func TestContributing(t *testing.T) {
	t.Parallel()
	contributing, err := os.ReadFile(filepath.Join("..", "..", "CONTRIBUTING.md"))
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`(Test[A-Z]\\w*)[`/]").FindAllStringSubmatch(string(contributing), -1)
	if len(named) < 5 {
		t.Errorf("%d tests are named: are they read right?", len(named))
	}
	tests := map[string]bool{}
	for _, p := range load(t, filepath.Join("..", "..")) {
		files, err := filepath.Glob(filepath.Join(p.Dir, "*_test.go"))
		if err != nil || !strings.HasPrefix(p.ImportPath, Module) {
			continue
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllStringSubmatch(string(text), -1) {
				tests[f[1]] = true
			}
		}
	}
	for _, name := range named {
		if !tests[name[1]] {
			t.Errorf("CONTRIBUTING.md names %s, which is no test", name[1])
		}
	}
}

func TestTableFaults(t *testing.T) {
	t.Parallel()
	var packages []Package
	for _, folder := range []string{"pkg/rules", "pkg/rules/expression", "webhook", "test/env", "test/env/assets", "test/krew"} {
		packages = append(packages, Package{ImportPath: Module + "/" + folder})
	}
	got := CheckTable(packages, "# Contributing\n\n`test/krew`\n\n## Layout\n\n| 1 | `pkg/rules`, `webhook` | |\n| `test/env` | |\n\n## Tests\n\n`pkg/rules/expression`\n")
	want := []string{
		"pkg/rules/expression is not in the tables of CONTRIBUTING.md, Layout",
		"test/krew is not in the tables of CONTRIBUTING.md, Layout",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n\t%q\nwant\n\t%q", got, want)
	}
}

// TestLayerFaults is the negative control: made-up trees with one fault each.
func TestLayerFaults(t *testing.T) {
	t.Parallel()
	inModule := func(folder string) string { return Module + "/" + folder }
	pkg := func(folder string, imports ...string) Package {
		return Package{ImportPath: inModule(folder), Imports: imports}
	}
	tests := []struct {
		name     string
		packages []Package
		want     []string
	}{
		{
			name: "down, over layers and inside one folder",
			packages: []Package{
				pkg("cmd/kubectl-federate", inModule("pkg/cli"), inModule("pkg/version"), "context"),
				pkg("pkg/cli", inModule("pkg/federate"), inModule("pkg/rules"), inModule("pkg/cli/targets"), inModule("pkg/cli/output")),
				pkg("pkg/cli/targets", inModule("pkg/cli/output"), inModule("pkg/federate")),
				pkg("pkg/host/install", inModule("pkg/host"), inModule("manifests")),
				pkg("pkg/host", inModule("pkg/host/install")),
				{ImportPath: inModule("pkg/host"), TestImports: []string{inModule("test/env")}},
				pkg("test/env", inModule("pkg/cli"), inModule("webhook")),
			},
		},
		{
			name:     "up",
			packages: []Package{pkg("pkg/rules", inModule("pkg/host"))},
			want:     []string{"pkg/rules imports pkg/host: imports only go down"},
		},
		{
			name:     "up in a test",
			packages: []Package{{ImportPath: inModule("pkg/rules"), XTestImports: []string{inModule("webhook")}}},
			want:     []string{"pkg/rules imports in its tests webhook: imports only go down"},
		},
		{
			name:     "the two sides",
			packages: []Package{pkg("pkg/host/install", inModule("pkg/member"))},
			want:     []string{"pkg/host/install imports pkg/member: both are in one layer"},
		},
		{
			name:     "up inside pkg/cli",
			packages: []Package{pkg("pkg/cli/output", inModule("pkg/cli/targets")), pkg("pkg/cli/targets", inModule("pkg/cli"))},
			want:     []string{"pkg/cli/output imports pkg/cli/targets: imports only go down", "pkg/cli/targets imports pkg/cli: imports only go down"},
		},
		{
			name:     "two of one layer",
			packages: []Package{pkg("webhook", inModule("pkg/controller"))},
			want:     []string{"webhook imports pkg/controller: both are in one layer"},
		},
		{
			name:     "product needs a test package",
			packages: []Package{pkg("pkg/cli", inModule("test/env"))},
			want:     []string{"pkg/cli imports test/env: nothing outside test/ does"},
		},
		{
			name:     "no layer",
			packages: []Package{pkg("pkg/util"), pkg("pkg/hosts"), {ImportPath: Module}},
			want: []string{
				". has no layer: add it to Layers in test/layout/layout.go and to the table in CONTRIBUTING.md",
				"pkg/hosts has no layer: add it to Layers in test/layout/layout.go and to the table in CONTRIBUTING.md",
				"pkg/util has no layer: add it to Layers in test/layout/layout.go and to the table in CONTRIBUTING.md",
			},
		},
		{
			name: "the plugin reaches the manager",
			packages: []Package{
				pkg("cmd/kubectl-federate", inModule("pkg/cli")),
				pkg("pkg/cli", "example.com/x"),
				{ImportPath: "example.com/x", Imports: []string{"sigs.k8s.io/controller-runtime/pkg/manager"}},
			},
			want: []string{"cmd/kubectl-federate reaches sigs.k8s.io/controller-runtime/pkg/manager " +
				"(cmd/kubectl-federate -> pkg/cli -> example.com/x -> sigs.k8s.io/controller-runtime/pkg/manager): " +
				"the plugin starts fast and small without it"},
		},
		{
			name:     "the plugin reaches kubectl's helpers",
			packages: []Package{pkg("cmd/kubectl-federate", "k8s.io/kubectl/pkg/cmd/util/editor")},
			want: []string{"cmd/kubectl-federate reaches k8s.io/kubectl/pkg/cmd/util/editor " +
				"(cmd/kubectl-federate -> k8s.io/kubectl/pkg/cmd/util/editor): " +
				"it ends the process on an error and brings 140 packages"},
		},
		{
			name:     "a rule with a client and a log",
			packages: []Package{pkg("pkg/rules", "context", "k8s.io/client-go/kubernetes", "log/slog", "net/http", "net/url", "os")},
			want: []string{
				"pkg/rules imports context: a rule is a pure function",
				"pkg/rules imports k8s.io/client-go/kubernetes: a rule reads its snapshot",
				"pkg/rules imports log/slog: a rule is a pure function",
				"pkg/rules imports net/http: a rule is a pure function",
				"pkg/rules imports os: a rule is a pure function",
			},
		},
		{
			name: "a rule that reaches a client",
			packages: []Package{
				pkg("pkg/rules", inModule("pkg/kubeconfig")),
				pkg("pkg/kubeconfig", "k8s.io/client-go/rest"),
			},
			want: []string{
				"pkg/rules imports pkg/kubeconfig: both are in one layer",
				"pkg/rules reaches k8s.io/client-go/rest (pkg/rules -> pkg/kubeconfig -> k8s.io/client-go/rest): a rule reads its snapshot",
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := Check(tt.packages); !slices.Equal(got, tt.want) {
				t.Errorf("got\n\t%q\nwant\n\t%q", got, tt.want)
			}
		})
	}
}

// TestClockFaults also proves that what go list says reaches the checks: a real module with faults.
func TestClockFaults(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for name, content := range map[string]string{
		"go.mod": "module " + Module + "\n\ngo 1.26.0\n",
		"pkg/rules/rules.go": `package rules

import (
	clock "time"

	"` + Module + `/pkg/host"
)

var started = clock.Now()

// Age takes the time from its caller, except in the end.
func Age(now clock.Time) clock.Duration {
	type time struct{ Now int }
	_ = time{}.Now
	_ = host.Name
	return now.Sub(started) + clock.Since(started)
}
`,
		"pkg/host/host.go": "package host\n\nimport \"time\"\n\n// Name may depend on the clock.\nvar Name = time.Now().String()\n",
	} {
		file := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	packages := load(t, root)
	got, err := CheckClock(packages)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"pkg/rules/rules.go reads the clock (line 9: time.Now): take the time from the snapshot",
		"pkg/rules/rules.go reads the clock (line 16: time.Since): take the time from the snapshot",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n\t%q\nwant\n\t%q", got, want)
	}
	if got, want := Check(packages), []string{"pkg/rules imports pkg/host: imports only go down"}; !slices.Equal(got, want) {
		t.Errorf("got\n\t%q\nwant\n\t%q", got, want)
	}
}
