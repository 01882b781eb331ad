package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/yaml"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/check"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/discover"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/lint"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
)

// hostile is text as a cluster would send it that wants to write to the terminal of who reads it: it begins lines, moves the
// cursor, changes colors, turns the direction of text, hides, and is no UTF-8.
const hostile = "a\nfalse line\r\x1b[2K\x1b]0;title\x07\x08\x7f\u009b31m\u0085\u202eb\u202c\u2066\u2069\u200e\u200f\ufeff\u200b\u2028\u2029\U000e0041\u3164\v\f\x00c"

// invalid is hostile with bytes that are no UTF-8, which JSON cannot hold.
const invalid = hostile + "\xff\x9b\xc2"

// spoil sets every text below v.
func spoil(v reflect.Value, text string) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		spoil(v.Elem(), text)
	case reflect.Struct:
		if _, isTime := reflect.TypeAssert[metav1.Time](v); isTime {
			return
		}
		for field, value := range v.Fields() {
			if field.IsExported() {
				spoil(value, text)
			}
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() != reflect.Uint8 {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
			spoil(v.Index(0), text)
		}
	case reflect.Map:
		if v.Type().Elem().Kind() == reflect.String {
			v.Set(reflect.MakeMap(v.Type()))
			for _, key := range []string{text, v1alpha1.LabelFederation} {
				v.SetMapIndex(reflect.ValueOf(key), reflect.ValueOf(text).Convert(v.Type().Elem()))
			}
		}
	}
}

func spoiled[T any](text string) *T {
	made := new(T)
	spoil(reflect.ValueOf(made), text)
	return made
}

// acts is what of printed a terminal acts on, or shows as something else; empty when it is safe.
func acts(printed string) string {
	for len(printed) > 0 {
		r, size := utf8.DecodeRuneInString(printed)
		if r != '\n' && (!unicode.IsPrint(r) || r == utf8.RuneError || unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)) {
			return printed[:min(size+20, len(printed))]
		}
		printed = printed[size:]
	}
	return ""
}

// printers are all that prints text of clusters, each to a stream like the one that commands have.
func printers(text string) map[string]func(d *factory) error {
	federation, member := spoiled[v1alpha1.Federation](text), spoiled[v1alpha1.MemberCluster](text)
	member.DeletionTimestamp, federation.DeletionTimestamp = nil, nil
	members := []*v1alpha1.MemberCluster{member}
	ref := cluster.Ref{Resource: cluster.MemberClusters, Namespace: text, Name: text}
	found := &discovered{notes: []string{text}, clusters: []discover.Cluster{{
		Candidate:  discover.Candidate{Source: "cluster-api", Name: text, Objects: []discover.Object{{Ref: ref}}},
		Federation: v1alpha1.FederationName(text), Member: v1alpha1.MemberName(text), State: discover.Wants, Reason: text, Also: []string{text},
	}}}
	event := *spoiled[corev1.Event](text)
	events := &eventList{of: map[types.UID][]corev1.Event{member.UID: {event}, federation.UID: {event}}}
	finding := spoiled[check.Finding](text)
	finding.Severity = check.Error
	status := apierrors.NewInvalid(schema.GroupKind{Kind: text}, text, field.ErrorList{field.Invalid(field.NewPath(text), text, text)})
	failed := &cluster.Error{Side: cluster.Member, Server: "https://h", Verb: "get", Object: ref, Err: errors.New(text)}
	object := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": text}}}
	all := map[string]func(d *factory) error{
		"describe a member": func(d *factory) error {
			return output.Text(d.Out, memberText(command.Host{}, member, rulebook{federation: federation}, events, noon))
		},
		"describe a federation": func(d *factory) error {
			return output.Text(d.Out, federationText(command.Host{}, federation, members, events, noon))
		},
		"tree":            func(d *factory) error { return output.PrintTree(d.Out, grow(nil, members, noon)) },
		"tree -o mermaid": func(d *factory) error { return output.Text(d.Out, output.Mermaid(grow(nil, members, noon))) },
		"get -o wide": func(d *factory) error {
			return output.Rows(d.Out, [][]string{cells(member, columnsOf(true, true, nil), noon)})
		},
		"check": func(d *factory) error {
			return (&checkOptions{checkFlags: checkFlags{factory: d, severity: "info"}}).print([]check.Finding{*finding}, []check.Area{{Name: check.AreaName(text), Checked: text}})
		},
		"lint": func(d *factory) error {
			faults := field.ErrorList{field.Invalid(field.NewPath(text), text, text)}
			verdict := rules.Verdict{Findings: rules.Findings{Refusals: faults, Warnings: faults}}
			return printFindings(d.Out, []lint.Finding{{Source: lint.Source{File: text}, Kind: text, Name: text, Verdict: verdict, NotJudged: []rules.ID{"x"}, Why: text}})
		},
		"label --list": func(d *factory) error {
			(&labelOptions{labelFlags: labelFlags{changeFlags: changeFlags{factory: d}}}).print([]v1alpha1.MemberCluster{*member, *member})
			return nil
		},
		"notes of discover": func(d *factory) error {
			(&discoverOptions{discoverFlags: discoverFlags{operationFlags: operationFlags{factory: d}}}).report(found)
			return nil
		},
		"warnings": func(d *factory) error {
			d.messages.HandleWarningHeaderWithContext(output.About(context.Background(), text), 299, "", text)
			return nil
		},
		"progress": func(d *factory) error {
			p := d.messages.Progress(text)
			p.Line(text)
			p.Step(text, text)
			p.Wait(text)
			p.End()
			return nil
		},
		"an error": func(d *factory) error {
			for _, err := range []error{status, failed, &federate.Refusal{Findings: []federate.Finding{{Side: cluster.Member, Object: text, Cause: text}}}} {
				output.Error(d.ErrOut, err)
				output.Line(d.ErrOut, output.Reason(err))
			}
			return nil
		},
		"whatever writes to a stream": func(d *factory) error { _, err := io.WriteString(d.Out, text+"\t"); return err },
	}
	all["each"] = func(d *factory) error {
		l := &lines{mu: &sync.Mutex{}, w: d.Out, prefix: "us-east: "}
		_, err := l.Write([]byte(text))
		l.end()
		return err
	}
	for _, format := range []string{"", "wide", output.Name, "json", "yaml"} {
		all["find -o "+format] = func(d *factory) error {
			d.hostFlags.Verbosity = 1
			o := &findOptions{findFlags: findFlags{acrossFlags: acrossFlags{useFlags: useFlags{factory: d}, allNamespaces: true}, output: output.NewFlags("wide")}}
			o.output.Value = format
			p := newFindPrinter(o, 2)
			made := &searched{member: member, who: &memberUser{context: text}, kind: cluster.Kind{Namespaced: true, Resource: cluster.Resource{Kind: text}}}
			if o.whole() {
				made.objects = []unstructured.Unstructured{*object.DeepCopy()}
			} else {
				made.table = &cluster.Table{Columns: []cluster.TableColumn{{Name: text}}, Rows: []cluster.TableRow{{Namespace: text, Name: text, Cells: []string{text}}}}
			}
			p.add(0, made)
			p.add(1, &searched{member: member, err: failed})
			return p.end()
		}
		all["discover -o "+format] = func(d *factory) error {
			o := &discoverOptions{discoverFlags: discoverFlags{operationFlags: operationFlags{factory: d}}}
			o.output.Value = format
			return o.print(found, true)
		}
		all["a batch -o "+format] = func(d *factory) error {
			o := &operationFlags{factory: d}
			o.output.Value = format
			b := &batch{doing: "joining", Clusters: []*row{{Name: v1alpha1.MemberName(text), Context: text, Result: text, Reason: text, note: text}}}
			b.Clusters[0].plan = func(context.Context, func(federate.Step)) (federate.Operation, error) { return nil, nil }
			return errors.Join(o.announce(b), o.print(b))
		}
	}
	for _, format := range []string{output.Name, "json", "yaml"} {
		all["objects -o "+format] = func(d *factory) error {
			f := output.NewFlags()
			f.Value = format
			return errors.Join(f.Members(d.Out, []v1alpha1.MemberCluster{*member, *member}, false), f.Objects(d.Out, []*unstructured.Unstructured{object, object}))
		}
	}
	return all
}

// TestPrintedText prints one hostile text by everything that prints, and looks at the bytes.
func TestPrintedText(t *testing.T) {
	t.Parallel()
	for name, prints := range printers(invalid) {
		var out bytes.Buffer
		if err := prints(newFactory("kubectl federate", genericiooptions.IOStreams{Out: &out, ErrOut: &out})); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if out.Len() == 0 {
			t.Errorf("%s prints nothing", name)
		}
		if what := acts(strings.ReplaceAll(out.String(), "\t", " ")); what != "" {
			t.Errorf("%s prints %q", name, what)
		}
		if name != "whatever writes to a stream" && strings.Contains(out.String(), "\nfalse line") {
			t.Errorf("%s lets text begin a line of its own:\n%s", name, out.String())
		}
	}
}

// TestDataIsLossless reads what is printed for programs: it has the same text as the objects.
func TestDataIsLossless(t *testing.T) {
	t.Parallel()
	member := spoiled[v1alpha1.MemberCluster](hostile)
	for _, format := range []string{"json", "yaml"} {
		f := output.NewFlags()
		f.Value = format
		var out bytes.Buffer
		if err := f.Members(output.NewStream(&out), []v1alpha1.MemberCluster{*member}, true); err != nil {
			t.Fatal(err)
		}
		var read v1alpha1.MemberCluster
		unmarshal := json.Unmarshal
		if format == "yaml" {
			unmarshal = func(data []byte, into any) error { return yaml.UnmarshalStrict(data, into) }
		}
		if err := unmarshal(out.Bytes(), &read); err != nil {
			t.Fatalf("%s: %v\n%s", format, err, out.String())
		}
		if read.Name != hostile || read.Labels[hostile] != hostile || read.Status.Conditions[0].Message != hostile || read.Spec.Server != hostile {
			t.Errorf("%s: read %q", format, read.Name)
		}
	}
}

// TestTemplatesPrintAsTheyAre: what a template of the user prints is the user's, as in kubectl.
func TestTemplatesPrintAsTheyAre(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"jsonpath={.metadata.name}", "go-template={{.metadata.name}}"} {
		f := output.NewFlags()
		f.Value = format
		var out bytes.Buffer
		if err := f.Members(output.NewStream(&out), []v1alpha1.MemberCluster{*ready("a\u202eb")}, true); err != nil || out.String() != "a\u202eb" {
			t.Errorf("%s: %q, error %v", format, out.String(), err)
		}
	}
}

// written are the calls in a file that write to a stream past package output.
func written(file *ast.File) (calls []string) {
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		called, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		of, _ := called.X.(*ast.Ident)
		name := called.Sel.Name
		switch {
		case of != nil && of.Name == "fmt" && (strings.HasPrefix(name, "Fprint") || strings.HasPrefix(name, "Print")),
			of != nil && of.Name == "io" && (name == "WriteString" || strings.HasPrefix(name, "Copy")),
			strings.HasPrefix(name, "Write") && len(call.Args) == 1 && isStream(called.X):
			calls = append(calls, fmt.Sprintf("%s.%s", of, name))
		}
		return true
	})
	return calls
}

// isStream says whether an expression is o.Out or o.ErrOut.
func isStream(x ast.Expr) bool {
	of, ok := x.(*ast.SelectorExpr)
	return ok && slices.Contains([]string{"Out", "ErrOut"}, of.Sel.Name)
}

// TestCommandsPrintByOutput holds that no command prints by itself: package output makes all text safe, and keeps that of a
// cluster within its line.
func TestCommandsPrintByOutput(t *testing.T) {
	t.Parallel()
	files := token.NewFileSet()
	for _, folder := range []string{".", "targets"} {
		names, err := filepath.Glob(filepath.Join(folder, "*.go"))
		if err != nil || len(names) == 0 {
			t.Fatal(err)
		}
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			source, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			file, err := parser.ParseFile(files, name, source, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			if calls := written(file); len(calls) > 0 {
				t.Errorf("%s prints by %s: use Line, Linef, Text, Rows or a printer of pkg/cli/output", name, strings.Join(calls, ", "))
			}
		}
	}
	file, err := parser.ParseFile(files, "forgotten.go", `package cli
func f() { fmt.Fprintln(o.Out, name); io.WriteString(o.Out, name); o.ErrOut.Write(name) }`, parser.SkipObjectResolution)
	if err != nil || len(written(file)) != 3 {
		t.Errorf("of three calls that print, %d are seen; error %v", len(written(file)), err)
	}
}
