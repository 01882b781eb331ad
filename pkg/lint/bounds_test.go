package lint_test

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubefederate/kubectl-federate/pkg/lint"
)

// endless is a device: it gives one text for ever.
type endless string

func (e endless) Read(p []byte) (int, error) { return copy(p, e), nil }

// TestBounds ends reading of what is too large, and judges what is beside it.
func TestBounds(t *testing.T) {
	t.Parallel()
	const good = "apiVersion: kubefederate.io/v1alpha1\nkind: Federation\nmetadata: {name: prod}\nspec: {}\n"
	member := func(i int) string {
		return fmt.Sprintf(`{"apiVersion":"kubefederate.io/v1alpha1","kind":"MemberCluster","metadata":{"name":"m%d","annotations":{"a":"%s"}}}`, i, strings.Repeat("x", 15<<20))
	}
	for _, tt := range []struct {
		name   string
		files  []io.Reader
		errs   []string
		judged int
	}{
		{"a device", []io.Reader{endless("\x00"), strings.NewReader(good)}, []string{"0: is larger than 32 MiB, which is more than lint reads of a file"}, 1},
		{"a large document", []io.Reader{strings.NewReader("a: " + strings.Repeat("x", 17<<20) + "\n---\n" + good)},
			[]string{"0, document 1: is larger than 16 MiB, which is more than lint reads of a document"}, 1},
		{"many values", []io.Reader{strings.NewReader("a: [{}" + strings.Repeat(",{}", 400_000) + "]\n---\n" + good)},
			[]string{"0, document 1: may have more than 400000 values, which is more than lint reads of a document: split it"}, 1},
		{"many lines", []io.Reader{strings.NewReader("a:\n" + strings.Repeat("- \n", 400_000) + "---\n" + good)},
			[]string{"0, document 1: may have more than 400000 values, which is more than lint reads of a document: split it"}, 1},
		{"many values of JSON", []io.Reader{strings.NewReader(`{"a":[{}` + strings.Repeat(",{}", 400_000) + `]}`)},
			[]string{"0, document 1: may have more than 400000 values, which is more than lint reads of a document: split it"}, 0},
		{"many large objects", []io.Reader{strings.NewReader(member(0) + member(1)), strings.NewReader(member(2) + member(3)), strings.NewReader(member(4)), strings.NewReader(good)},
			[]string{"2, document 1: the objects to judge are larger than 64 MiB together: judge fewer files at a time",
				"3, document 1: the objects to judge are larger than 64 MiB together: judge fewer files at a time"}, 4},
	} {
		m := lint.NewManifests(schemas(t))
		var errs []string
		for i, file := range tt.files {
			for _, err := range m.Read(fmt.Sprint(i), file) {
				errs = append(errs, err.Error())
			}
		}
		if diff := cmp.Diff(tt.errs, errs); diff != "" || m.Len() != tt.judged {
			t.Errorf("%s: %d objects are judged, want %d\n%s", tt.name, m.Len(), tt.judged, diff)
		}
	}
}
