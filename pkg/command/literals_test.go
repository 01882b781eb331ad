package command_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// spelled is a command line in a text.
var spelled = regexp.MustCompile(`kubectl[- ]federate (init|deinit|create|grant|revoke|label|join|unjoin|discover|rotate|move|approve|suspend|resume|get|` +
	`describe|tree|each|find|kubeconfig|services|check|lint|version)\b|kubectl (get|edit|label|create|delete|krew|apply|annotate|auth|logs|describe) [a-z%-]`)

// help ends the names of what holds the help of a command, whose examples test/script runs.
var help = regexp.MustCompile(`(Use|Short|Long|Help|Example)$`)

// commandsIn are the string literals of a file that spell a command, except help.
func commandsIn(name string, source any) ([]string, error) {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, name, source, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	var found []string
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.KeyValueExpr:
			key, ok := n.Key.(*ast.Ident)
			return !ok || !help.MatchString(key.Name)
		case *ast.ValueSpec:
			return !help.MatchString(n.Names[0].Name)
		case *ast.BasicLit:
			text, err := strconv.Unquote(n.Value)
			if err == nil && n.Kind == token.STRING && spelled.MatchString(text) {
				found = append(found, fmt.Sprintf("%s: %s", set.Position(n.Pos()), n.Value))
			}
		}
		return true
	})
	return found, nil
}

// Every command that the product proposes is a value of this package: no other spells one.
func TestCommandsAreValues(t *testing.T) {
	t.Parallel()
	files := 0
	for _, root := range []string{"../../pkg", "../../cmd", "../../webhook", "../../manifests"} {
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") ||
				strings.HasPrefix(path, "../../pkg/command/") {
				return err
			}
			files++
			found, err := commandsIn(path, nil)
			for _, literal := range found {
				t.Errorf("%s: render it with package command", literal)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if files < 50 {
		t.Fatalf("%d files were read: nothing was judged", files)
	}
	found, err := commandsIn("a.go", `package a
var a = command{Example: "kubectl federate get all", Remedy: "run kubectl federate unjoin " + name}
var b = "kubectl label " + "kubectl delete secret x"`)
	if err != nil || len(found) != 2 {
		t.Errorf("the test sees %q: %v", found, err)
	}
}
