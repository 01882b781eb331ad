package expression

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// schema is as much of an OpenAPI schema as lengths are in.
type schema struct {
	Properties map[string]*schema
	Items      *schema
	MaxLength  int64
	MaxItems   int64
	Enum       []string
}

func readSchema(t *testing.T, file string) *schema {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "..", "manifests", "crd", file))
	if err != nil {
		t.Fatal(err)
	}
	var definition struct {
		Spec struct {
			Versions []struct {
				Schema struct{ OpenAPIV3Schema *schema }
			}
		}
	}
	if err := yaml.Unmarshal(data, &definition); err != nil {
		t.Fatal(err)
	}
	return definition.Spec.Versions[0].Schema.OpenAPIV3Schema
}

// at is the schema of a path of lengths; nil where there is none.
func (s *schema) at(path string) *schema {
	for step := range strings.SplitSeq(strings.ReplaceAll(path, "[]", ".[]"), ".") {
		switch {
		case s == nil:
			return nil
		case step == "[]":
			s = s.Items
		default:
			s = s.Properties[step]
		}
	}
	return s
}

// TestLengths holds that estimates go by the bounds of the schemas, and that none is kept for what is not there.
func TestLengths(t *testing.T) {
	t.Parallel()
	theEnvironment() // panics for a field without a length
	members, federations := readSchema(t, "kubefederate.io_memberclusters.yaml"), readSchema(t, "kubefederate.io_federations.yaml")
	compared := 0
	for _, path := range slices.Sorted(maps.Keys(lengths)) {
		root, rest, _ := strings.Cut(path, ".")
		s := federations
		if root == varCluster {
			s = members
			if facts, ok := strings.CutPrefix(rest, "facts"); ok {
				rest = "spec.joinedWith" + facts
			}
		}
		if !strings.HasPrefix(rest, "spec.") {
			continue // Kubernetes bounds names and labels.
		}
		found := s.at(rest)
		if found == nil {
			t.Errorf("%s: the schema has no such field", path)
			continue
		}
		want := max(found.MaxLength, found.MaxItems)
		for _, word := range found.Enum {
			want = max(want, int64(len(word)))
		}
		if lengths[path] != want {
			t.Errorf("%s: %d, and the schema says %d", path, lengths[path], want)
		}
		compared++
	}
	if compared < 25 {
		t.Errorf("%d lengths were compared; are the schemas read right?", compared)
	}
}
