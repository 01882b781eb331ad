// Package layout holds the layers of the source tree: who may import whom. Imports only go down, so that
// a rule can be read without a client in mind and either side of a join without the other.
package layout

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Module is the path that every package of the product starts with.
const Module = "github.com/kubefederate/kubectl-federate"

// Layers are the folders of the tree, top layer first; a folder stands for everything below it that has no place
// of its own. A package may import packages of lower layers, never one of its own layer in another folder. A new
// folder is written here and in CONTRIBUTING.md, which must name every package.
var Layers = [][]string{
	{"cmd/kubectl-federate", "cmd/manager"},
	{"webhook", "pkg/cli", "pkg/controller"},
	{"pkg/cli/targets"},
	{"pkg/cli/output"},
	{"pkg/federate", "pkg/discover", "pkg/lint", "pkg/check", "pkg/bundle"},
	{"pkg/host", "pkg/member", "pkg/inventory", "pkg/services", "pkg/services/records"},
	{"pkg/rules", "pkg/kubeconfig", "pkg/keys", "pkg/cluster", "manifests"},
	{"pkg/endpoint", "pkg/identity"},
	{"pkg/command"},
	{"pkg/apis/v1alpha1", "pkg/version", "pkg/text", "pkg/redact"},
}

// A Ban keeps a folder from a package, by its import path or the start of one.
type Ban struct {
	Folder  string
	Package string
	// Reach bans what the folder reaches through other packages as well; otherwise only its own imports count.
	Reach bool
	Why   string
}

// Bans are what layers cannot express.
var Bans = []Ban{
	{"cmd/kubectl-federate", "sigs.k8s.io/controller-runtime/pkg/manager", true, "the plugin starts fast and small without it"},
	{"cmd/kubectl-federate", "k8s.io/kubectl/pkg/cmd/util", true, "it ends the process on an error and brings 140 packages"},
	{"pkg/apis/v1alpha1", "k8s.io/client-go", true, "types are for every client"},
	{"pkg/identity", "net/http", false, "what a cluster sends is judged without asking it"},
	{"pkg/rules", "context", false, "a rule is a pure function"},
	{"pkg/rules", "os", false, "a rule is a pure function"},
	{"pkg/rules", "log", false, "a rule is a pure function"},
	{"pkg/rules", "flag", false, "a rule is a pure function"},
	{"pkg/rules", "net/http", false, "a rule is a pure function"},
	{"pkg/rules", "k8s.io/klog/v2", false, "a rule is a pure function"},
	{"pkg/rules", "github.com/go-logr/logr", false, "a rule is a pure function"},
	{"pkg/rules", "math/rand", false, "a rule is a pure function"},
	{"pkg/rules", "k8s.io/client-go", false, "a rule reads its snapshot"},
	{"pkg/rules", "sigs.k8s.io/controller-runtime", true, "a rule reads its snapshot"},
	{"pkg/rules", "k8s.io/client-go/rest", true, "a rule reads its snapshot"},
}

// clockless are the folders that get the time from their caller.
var clockless = []string{"pkg/rules"}

// clockFunctions are the functions of package time that depend on the clock.
var clockFunctions = []string{"After", "AfterFunc", "NewTicker", "NewTimer", "Now", "Since", "Sleep", "Tick", "Until"}

// Package is what Check reads of the answer of `go list -json` about one package.
type Package struct {
	ImportPath   string
	Dir          string
	GoFiles      []string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

// Check returns what breaks the layers, one sentence each, sorted. It wants every package of the module and
// everything they import; it reads no file.
func Check(packages []Package) []string {
	byPath := make(map[string]Package, len(packages))
	for _, p := range packages {
		byPath[p.ImportPath] = p
	}
	var found []string
	for _, p := range packages {
		folder, inModule := folderOf(p.ImportPath)
		if !inModule || folder == "test" || strings.HasPrefix(folder, "test/") {
			continue
		}
		from, ok := placeOf(folder)
		if !ok {
			found = append(found, fmt.Sprintf(
				"%s has no layer: add it to Layers in test/layout/layout.go and to the table in CONTRIBUTING.md", folder))
			continue
		}
		found = append(found, from.imports(folder, "imports", p.Imports)...)
		inTests := slices.Concat(p.TestImports, p.XTestImports)
		slices.Sort(inTests)
		inTests = slices.DeleteFunc(slices.Compact(inTests), func(path string) bool {
			to, _ := folderOf(path)
			return strings.HasPrefix(to, "test/") || slices.Contains(p.Imports, path)
		})
		found = append(found, from.imports(folder, "imports in its tests", inTests)...)
		found = append(found, banned(from.folder, p, byPath)...)
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// CheckTable returns the packages that the section Layout of CONTRIBUTING.md does not name. A package of test/ is named
// by its own folder or the one above it.
func CheckTable(packages []Package, contributing string) []string {
	_, section, _ := strings.Cut(contributing, "\n## Layout\n")
	section, _, _ = strings.Cut(section, "\n## ")
	named := func(folder string) bool { return strings.Contains(section, "`"+folder+"`") }
	var found []string
	for _, p := range packages {
		folder, inModule := folderOf(p.ImportPath)
		if !inModule || named(folder) || strings.HasPrefix(folder, "test/") && named(path.Dir(folder)) {
			continue
		}
		found = append(found, folder+" is not in the tables of CONTRIBUTING.md, Layout")
	}
	slices.Sort(found)
	return found
}

// CheckClock returns where packages that get the time from their caller read the clock, one sentence each. It reads the sources.
func CheckClock(packages []Package) ([]string, error) {
	var found []string
	for _, p := range packages {
		folder, _ := folderOf(p.ImportPath)
		from, ok := placeOf(folder)
		if !ok || !slices.Contains(clockless, from.folder) {
			continue
		}
		for _, name := range p.GoFiles {
			calls, err := clockCalls(filepath.Join(p.Dir, name))
			if err != nil {
				return nil, err
			}
			for _, call := range calls {
				found = append(found, fmt.Sprintf("%s/%s reads the clock (%s): take the time from the snapshot", folder, name, call))
			}
		}
	}
	return found, nil
}

// clockCalls lists the uses of clockFunctions in one file as "line N: time.Now".
func clockCalls(file string) ([]string, error) {
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, file, nil, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	name := ""
	for _, spec := range parsed.Imports {
		if imported, err := strconv.Unquote(spec.Path.Value); err != nil || imported != "time" {
			continue
		}
		name = "time"
		if spec.Name != nil {
			name = spec.Name.Name
		}
	}
	if name == "" {
		return nil, nil
	}
	var calls []string
	ast.Inspect(parsed, func(n ast.Node) bool {
		use, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := use.X.(*ast.Ident); ok && x.Name == name && slices.Contains(clockFunctions, use.Sel.Name) {
			calls = append(calls, fmt.Sprintf("line %d: time.%s", set.Position(use.Pos()).Line, use.Sel.Name))
		}
		return true
	})
	return calls, nil
}

// place is the layer of a package and the folder of Layers that it is in.
type place struct {
	layer  int
	folder string
}

// placeOf finds the innermost folder of Layers that holds a package.
func placeOf(folder string) (found place, ok bool) {
	for i, folders := range Layers {
		for _, f := range folders {
			if within(folder, f) && len(f) > len(found.folder) {
				found, ok = place{i, f}, true
			}
		}
	}
	return found, ok
}

// imports judges what a package in this place imports.
func (from place) imports(folder, verb string, paths []string) []string {
	var found []string
	for _, path := range paths {
		folderTo, inModule := folderOf(path)
		if !inModule {
			continue
		}
		if folderTo == "test" || strings.HasPrefix(folderTo, "test/") {
			found = append(found, fmt.Sprintf("%s %s %s: nothing outside test/ does", folder, verb, folderTo))
			continue
		}
		to, ok := placeOf(folderTo)
		switch {
		case !ok:
			// The package itself is reported.
		case to.folder == from.folder:
		case to.layer == from.layer:
			found = append(found, fmt.Sprintf("%s %s %s: both are in one layer", folder, verb, folderTo))
		case to.layer < from.layer:
			found = append(found, fmt.Sprintf("%s %s %s: imports only go down", folder, verb, folderTo))
		}
	}
	return found
}

// banned judges one package of a folder against Bans.
func banned(place string, p Package, byPath map[string]Package) []string {
	folder, _ := folderOf(p.ImportPath)
	var found []string
	for _, ban := range Bans {
		if ban.Folder != place {
			continue
		}
		if !ban.Reach {
			for _, path := range p.Imports {
				if within(path, ban.Package) {
					found = append(found, fmt.Sprintf("%s imports %s: %s", folder, path, ban.Why))
				}
			}
			continue
		}
		if way := reach(p.ImportPath, ban.Package, byPath); way != nil {
			found = append(found, fmt.Sprintf("%s reaches %s (%s): %s", folder, way[len(way)-1],
				strings.Join(way, " -> "), ban.Why))
		}
	}
	return found
}

// reach returns a shortest chain of imports from a package to the banned one or a package below it, or nil.
func reach(from, to string, byPath map[string]Package) []string {
	cameFrom := map[string]string{from: ""}
	queue := []string{from}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		if at != from && within(at, to) {
			way := []string{}
			for ; at != ""; at = cameFrom[at] {
				way = append(way, strings.TrimPrefix(at, Module+"/"))
			}
			slices.Reverse(way)
			return way
		}
		for _, next := range byPath[at].Imports {
			if _, seen := cameFrom[next]; !seen {
				cameFrom[next] = at
				queue = append(queue, next)
			}
		}
	}
	return nil
}

// folderOf is an import path below Module, and whether it is one.
func folderOf(path string) (string, bool) {
	if path == Module {
		return ".", true
	}
	return strings.CutPrefix(path, Module+"/")
}

// within reports whether path is parent or lies below it.
func within(path, parent string) bool {
	return path == parent || strings.HasPrefix(path, parent+"/")
}
