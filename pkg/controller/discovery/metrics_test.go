package discovery

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

// TestMetrics holds that the metrics are those that alerts and the dashboard read, with their types.
func TestMetrics(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	if _, err := newMetrics(registry); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range families {
		got = append(got, f.GetName()+" "+strings.ToLower(f.GetType().String()))
	}
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "test", "tools", "monitoring", "testdata", "discovery.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(slices.Collect(strings.Lines(string(text))), strings.SplitAfter(strings.Join(got, "\n")+"\n", "\n")[:len(got)]); diff != "" {
		t.Errorf("(-testdata/discovery.txt +registered)\n%s", diff)
	}
}
