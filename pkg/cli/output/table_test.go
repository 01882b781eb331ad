package output

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// TestFit leaves out columns in their order until a table fits.
func TestFit(t *testing.T) {
	t.Parallel()
	rows := [][]string{{"NAME", "PHASE", "REGION", "AGE", "CAUSE"}, {"us-east", "Offline", "us-east-1", "4d", "Unreachable (5m ago)"}}
	for columns, want := range map[int]string{
		100: "NAME PHASE REGION AGE CAUSE", 58: "NAME PHASE REGION AGE CAUSE", 57: "NAME PHASE REGION CAUSE", 51: "NAME PHASE CAUSE", 10: "NAME PHASE CAUSE",
	} {
		fitting := Fit(rows, columns, []string{"AGE", "CREDENTIAL", "REGION"})
		if got := strings.Join(fitting[0], " "); got != want {
			t.Errorf("%d: %s, want %s", columns, got, want)
		}
		if width := widthOf(fitting); width > columns && columns > 40 {
			t.Errorf("%d: it is %d wide", columns, width)
		}
	}
	if len(rows[0]) != 5 {
		t.Error("the rows themselves were changed")
	}
}

// TestPainted holds that colors move no column, and that text which is no level gets none of them.
func TestPainted(t *testing.T) {
	t.Parallel()
	rows := [][]string{{"NAME", "PHASE", "AGE"}, {"us-east", "Ready", "4d"}, {"a\x1b[31m", "Offline", "5m"}, {"b", "Gone", "1s"}}
	level := func(cell string) (Level, bool) {
		l, known := map[string]Level{"Ready": Good, "Offline": Bad}[cell]
		return l, known
	}
	var plainly, colored bytes.Buffer
	painted := NewTable(&colored)
	painted.column, painted.level = 1, level
	for table, want := range map[*Table]*bytes.Buffer{NewTable(&plainly): &plainly, painted: &colored} {
		if err := table.Print(rows); err != nil || want.Len() == 0 {
			t.Fatal(err)
		}
	}
	for state, color := range map[string]string{"Ready": "32", "Offline": "31", "Gone": "39", "PHASE": "39"} {
		if code := "\x1b[" + color + "m" + state + "\x1b[0m"; !strings.Contains(colored.String(), code) {
			t.Errorf("%q is nowhere in %q", code, colored.String())
		}
	}
	var bare strings.Builder
	for rest := colored.String(); rest != ""; {
		before, after, _ := strings.Cut(rest, "\x1b[")
		bare.WriteString(before)
		_, rest, _ = strings.Cut(after, "m")
	}
	if diff := cmp.Diff(plainly.String(), bare.String()); diff != "" {
		t.Error(diff)
	}
	if table := NewTable(&plainly).Paint(1, level); table.level != nil {
		t.Error("a buffer shows colors")
	}
}

// TestCustomColumns prints what paths find, as kubectl does.
func TestCustomColumns(t *testing.T) {
	t.Parallel()
	item := func(name string) unstructured.Unstructured {
		return unstructured.Unstructured{Object: map[string]any{
			"metadata": map[string]any{"name": name, "labels": map[string]any{"a.b/c": "x"}}, "spec": map[string]any{"zones": []any{"1a", "1b"}},
		}}
	}
	list := &unstructured.UnstructuredList{Items: []unstructured.Unstructured{item("us-east"), item("b\x1b")}}
	list.SetKind("List")
	one := item("us-east")
	for _, tt := range []struct {
		spec, want string
		object     runtime.Object
	}{
		{"custom-columns=NAME:.metadata.name,ZONES:spec.zones[*],NONE:{.spec.none},LABEL:.metadata.labels.a\\.b/c",
			"NAME      ZONES   NONE     LABEL\nus-east   1a,1b   <none>   x\nb\\x1b     1a,1b   <none>   x\n", list},
		{"custom-columns=NAME:.metadata.name", "NAME\nus-east\n", &one},
		{"custom-columns=NAME", `invalid --output "custom-columns=NAME": "NAME" is no HEADER:PATH, as NAME:.metadata.name`, nil},
		{"custom-columns=NAME:.metadata.name,", `invalid --output "custom-columns=NAME:.metadata.name,": "" is no HEADER:PATH, as NAME:.metadata.name`, nil},
		{"custom-columns=NAME:.metadata[", `invalid --output "custom-columns=NAME:.metadata[": unterminated array`, nil},
	} {
		f := NewFlags()
		f.Value = tt.spec
		var out bytes.Buffer
		printer, err := f.Printer()
		got := ""
		if err == nil {
			err = printer.PrintObj(tt.object, &out)
			got = out.String()
		}
		if err != nil {
			got = err.Error()
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: %s", tt.spec, diff)
		}
	}
}

// TestWrapLast holds that rows fit, as far as words do.
func TestWrapLast(t *testing.T) {
	t.Parallel()
	rows := [][]string{{"AREA", "CHECKED"}, {"members", "two words more"}, {"rights", ""}, {"x", "indivisible"}}
	for columns, want := range map[int]string{
		80: "[[AREA CHECKED] [members two words more] [rights ] [x indivisible]]",
		20: "[[AREA CHECKED] [members two words] [ more] [rights ] [x indivisible]]",
		1:  "[[AREA CHECKED] [members two] [ words] [ more] [rights ] [x indivisible]]",
	} {
		if got := fmt.Sprint(WrapLast(rows, columns)); got != want {
			t.Errorf("%d columns: %s, want %s", columns, got, want)
		}
	}
}
