// Package words holds the product's vocabulary: words of its own that nobody could look up, and what says the same in the
// words of Kubernetes or of everyday English. Names, messages, comments, manifests and docs are judged alike.
package words

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// Gone are expressions that are no longer used, each with what is used instead. They are whole words in lower case; a name
// like joinWish is the words "join wish".
var Gone = []struct{ Expression, Instead string }{
	{"wish(es|ed)?", "join request, asks to join"},
	{"markers?", "membership record"},
	{"on guard|guard(s|ed|ing)?", "webhook server, enforcing"},
	{"witness(es)?", "canary token"},
	{"doors?", "factory, filter"},
	{"floors?", "layer"},
	{"rooms?", "package"},
	{"lanes?", "shard"},
	{"drills?", "scenario"},
	{"gallows", "kill proxy"},
	{"sweeps?", "every request in turn"},
	{"twins?", "duplicate"},
	{"bury|buried", "finalize"},
	{"(taken?|takes|took) (its work )?back", "rolled back"},
	{"told|tells?", "reported"},
	{"of ours|ours", "created by kubectl federate, managed"},
	{"nobody|whoever|somebody", "plain English"},
	{"but for", "except"},
	{"(stand|stands|standing) beside", "is next to"},
	{"not asked", "NotProbed"},
	{"credential endless", "CredentialWithoutExpiry"},
	{"credential foreign", "CredentialNotOwned"},
	{"certificate unknown", "CertificateInvalid"},
	{"member unreachable", "Unreachable"},
	{"to go on:", "to continue, run:"},
	{"sightings?", "observation"},
	{"vanguard", "first request first"},
	{"foundations", "base objects"},
	{"(un)?labell(ed|ing)", "labeled, as Kubernetes spells it"},
	{"colour(s|ed)?", "color, as Kubernetes spells it"},
}

// Adverbs are no names of constants and package variables: a noun says what they are.
var Adverbs = []string{"again", "crowd", "gap", "long", "most", "often", "soon", "trip", "wait", "young"}

// Files are names that did not say what is in the file.
var Files = []string{"clusters.go", "decide.go", "follow.go", "glance.go", "lost.go", "many.go", "order.go", "still.go", "vanguard.go"}

var patterns = func() []*regexp.Regexp {
	var all []*regexp.Regexp
	for _, g := range Gone {
		all = append(all, regexp.MustCompile(`(^|[^a-z])(`+g.Expression+`)($|[^a-z])`))
	}
	return all
}()

// A Fault is a use of an expression that is gone.
type Fault struct {
	File       string
	Line       int
	Expression string
	Instead    string
}

func (f Fault) String() string {
	return fmt.Sprintf("%s:%d: %q is gone: %s", f.File, f.Line, f.Expression, f.Instead)
}

// Check returns the faults of one file of the repository. Of Go it reads the names that are declared, strings and
// comments, since names of other modules are not ours to choose; of all else every line.
func Check(file string, content []byte) ([]Fault, error) {
	var found []Fault
	if slices.Contains(Files, path.Base(file)) {
		found = append(found, Fault{file, 1, path.Base(file), "a name for what the file holds"})
	}
	if path.Ext(file) != ".go" {
		for i, line := range bytes.Split(content, []byte("\n")) {
			found = append(found, judge(file, i+1, string(line))...)
		}
		return found, nil
	}
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, file, content, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	line := func(n ast.Node) int { return set.Position(n.Pos()).Line }
	for _, group := range parsed.Comments {
		for _, c := range group.List {
			for i, text := range strings.Split(c.Text, "\n") {
				found = append(found, judge(file, line(c)+i, text)...)
			}
		}
	}
	declared := func(names ...*ast.Ident) {
		for _, name := range names {
			if name != nil {
				found = append(found, judge(file, line(name), split(name.Name))...)
			}
		}
	}
	for _, d := range parsed.Decls {
		if g, ok := d.(*ast.GenDecl); ok && (g.Tok == token.CONST || g.Tok == token.VAR) {
			for _, spec := range g.Specs {
				for _, name := range spec.(*ast.ValueSpec).Names {
					if slices.Contains(Adverbs, name.Name) {
						found = append(found, Fault{file, line(name), name.Name, "a noun with its meaning"})
					}
				}
			}
		}
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ImportSpec:
			return false
		case *ast.BasicLit:
			if n.Kind == token.STRING {
				for i, text := range strings.Split(n.Value, "\n") {
					found = append(found, judge(file, line(n)+i, text)...)
				}
			}
		case *ast.FuncDecl:
			declared(n.Name)
		case *ast.TypeSpec:
			declared(n.Name)
		case *ast.ValueSpec:
			declared(n.Names...)
		case *ast.Field:
			declared(n.Names...)
		case *ast.AssignStmt:
			if n.Tok == token.DEFINE {
				for _, left := range n.Lhs {
					if name, ok := left.(*ast.Ident); ok {
						declared(name)
					}
				}
			}
		}
		return true
	})
	return found, nil
}

func judge(file string, line int, text string) []Fault {
	var found []Fault
	text = strings.ToLower(text)
	for i, p := range patterns {
		if m := p.FindStringSubmatch(text); m != nil {
			found = append(found, Fault{file, line, m[2], Gone[i].Instead})
		}
	}
	return found
}

// split is a name as words: joinWish is "join Wish".
func split(name string) string {
	var words strings.Builder
	previous := ' '
	for _, r := range name {
		if unicode.IsUpper(r) && !unicode.IsUpper(previous) || r == '_' {
			words.WriteByte(' ')
		}
		words.WriteRune(r)
		previous = r
	}
	return words.String()
}
