package monitoring

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
	"sigs.k8s.io/yaml"
)

// folder is that of the manifests.
var folder = filepath.Join("..", "..", "..", "manifests", "monitoring")

// rule is an alert.
type rule struct {
	Alert       string            `json:"alert"`
	Expr        string            `json:"expr"`
	For         string            `json:"for"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

// alerts are those of the file, by name.
func alerts(t *testing.T) map[string]rule {
	t.Helper()
	var file struct {
		Spec struct {
			Groups []struct {
				Rules []rule `json:"rules"`
			} `json:"groups"`
		} `json:"spec"`
	}
	read(t, "alerts.yaml", &file)
	all := map[string]rule{}
	for _, group := range file.Spec.Groups {
		for _, r := range group.Rules {
			if _, twice := all[r.Alert]; twice {
				t.Errorf("there are two alerts %s", r.Alert)
			}
			all[r.Alert] = r
		}
	}
	if len(all) == 0 {
		t.Fatal("there are no alerts")
	}
	return all
}

// panel is a part of the dashboard.
type panel struct {
	ID      int    `json:"id"`
	Title   string `json:"title"`
	GridPos struct{ X, Y, W, H int }
	Targets []struct {
		Expr string `json:"expr"`
	} `json:"targets"`
}

func panels(t *testing.T) []panel {
	t.Helper()
	var file struct {
		Metadata struct {
			Labels map[string]string `json:"labels"`
		} `json:"metadata"`
		Data map[string]string `json:"data"`
	}
	read(t, "dashboard.yaml", &file)
	if file.Metadata.Labels["grafana_dashboard"] == "" {
		t.Error("the dashboard has no label by which it is found")
	}
	var dashboard struct {
		UID    string  `json:"uid"`
		Panels []panel `json:"panels"`
	}
	if err := json.Unmarshal([]byte(file.Data["kubefederate.json"]), &dashboard); err != nil {
		t.Fatal(err)
	}
	if dashboard.UID == "" || len(dashboard.Panels) == 0 {
		t.Error("the dashboard is empty")
	}
	return dashboard.Panels
}

func read(t *testing.T, name string, into any) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(folder, name))
	if err == nil {
		err = yaml.Unmarshal(text, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// served are the types of the metrics that a manager and a discovery controller serve, by name.
func served(t *testing.T) map[string]string {
	t.Helper()
	types := map[string]string{}
	for _, file := range []string{"metrics.txt", "discovery.txt"} {
		text, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			name, kind, _ := strings.Cut(strings.TrimSpace(line), " ")
			types[name] = kind
		}
	}
	return types
}

// typeOf is the type of a series' metric; a histogram is three series.
func typeOf(types map[string]string, series string) string {
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		if name, is := strings.CutSuffix(series, suffix); is && types[name] == "histogram" {
			return "histogram"
		}
	}
	if types[series] == "histogram" {
		return ""
	}
	return types[series]
}

// faults says what is wrong with an expression. It notes the metrics that it reads.
func faults(expr string, types map[string]string, seen map[string]bool) error {
	tree, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		return err
	}
	var found []error
	parser.Inspect(tree, func(node parser.Node, _ []parser.Node) error {
		switch node := node.(type) {
		case *parser.VectorSelector:
			if typeOf(types, node.Name) == "" {
				found = append(found, fmt.Errorf("the manager serves no %s", node.Name))
			}
			seen[node.Name] = true
		case *parser.Call:
			if name := node.Func.Name; name != "rate" && name != "increase" {
				return nil
			}
			matrix, _ := node.Args[0].(*parser.MatrixSelector)
			if vector := matrix.VectorSelector.(*parser.VectorSelector); typeOf(types, vector.Name) == "gauge" {
				found = append(found, fmt.Errorf("%s is no counter", vector.Name))
			}
		}
		return nil
	})
	return errors.Join(found...)
}

// TestExpressions holds that every expression parses, and reads what a manager serves.
func TestExpressions(t *testing.T) {
	t.Parallel()
	types, seen := served(t), map[string]bool{}
	for name, r := range alerts(t) {
		if err := faults(r.Expr, types, seen); err != nil {
			t.Errorf("alert %s: %v", name, err)
		}
	}
	for _, p := range panels(t) {
		for _, target := range p.Targets {
			if err := faults(target.Expr, types, seen); err != nil {
				t.Errorf("panel %q: %v", p.Title, err)
			}
		}
	}
	for name, kind := range types {
		if kind == "histogram" {
			name += "_bucket"
		}
		if !seen[name] {
			t.Errorf("no alert and no panel reads %s", name)
		}
	}
}

// TestFaultsAreFound is the negative control of TestExpressions.
func TestFaultsAreFound(t *testing.T) {
	t.Parallel()
	types := map[string]string{"a_total": "counter", "b": "gauge", "c": "histogram"}
	for expr, want := range map[string]string{
		`sum(rate(a_total[5m])) > b`:        "",
		`rate(c_bucket[5m])`:                "",
		`sum(rate(a_total[5m])`:             "1:22: parse error: unclosed left parenthesis",
		`a_totals > 1 or absent(d)`:         "the manager serves no a_totals\nthe manager serves no d",
		`c`:                                 "the manager serves no c",
		`increase(b[5m])`:                   "b is no counter",
		`b and on (job) (a_total offset 5)`: "",
	} {
		got := ""
		if err := faults(expr, types, map[string]bool{}); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %s", expr, got)
		}
	}
}

// TestPanels holds that each panel has a title and a number of its own, lies within the grid's 24 columns and on no other.
func TestPanels(t *testing.T) {
	t.Parallel()
	cells, ids := map[[2]int]string{}, map[int]bool{}
	for _, p := range panels(t) {
		if p.Title == "" || ids[p.ID] || len(p.Targets) == 0 || p.GridPos.W == 0 || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("panel %d, %q, is incomplete, or its number or place is wrong", p.ID, p.Title)
		}
		ids[p.ID] = true
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				cell := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				if other := cells[cell]; other != "" && other != p.Title {
					t.Fatalf("panel %q lies on panel %q", p.Title, other)
				}
				cells[cell] = p.Title
			}
		}
	}
	if names := slices.Sorted(maps.Keys(ids)); len(names) < 10 {
		t.Errorf("the dashboard has panels %v only", names)
	}
}
