package cli

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

// having is what a member has: one object for each row, in columns by name.
func having(name string, columns []string, rows ...[]string) *searched {
	f := &searched{member: &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: name}}, table: &cluster.Table{}}
	f.kind = cluster.Kind{Resource: cluster.Resource{Kind: "Pod"}, Namespaced: true}
	for _, c := range columns {
		c, wide := strings.CutSuffix(c, "+")
		f.table.Columns = append(f.table.Columns, cluster.TableColumn{Name: c, Wide: wide})
	}
	for _, row := range rows {
		f.table.Rows = append(f.table.Rows, cluster.TableRow{Namespace: "shop", Name: row[0], Cells: row})
	}
	return f
}

// watched is a writer that is looked at while it is written to.
type watched struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(p)
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

// newTestPrinter prints what three members have.
func newTestPrinter(format string) (*findPrinter, *watched, *watched) {
	out, errOut := &watched{}, &watched{}
	d := newFactory("kubectl federate", genericiooptions.IOStreams{Out: out, ErrOut: errOut})
	o := &findOptions{findFlags: findFlags{acrossFlags: acrossFlags{useFlags: useFlags{factory: d}}, output: output.NewFlags("wide")}}
	o.output.Value = format
	return newFindPrinter(o, 3), out, errOut
}

// TestFindTable merges tables by the names of their columns, in the order of the members.
func TestFindTable(t *testing.T) {
	t.Parallel()
	for format, want := range map[string]string{
		"":     "MEMBER   NAME   READY    AGE      PHASE\na        web    0/1      5d       <none>\nb        web    <none>   <none>   Up\nb        db     <none>   <none>   Down\n",
		"wide": "MEMBER   NAME   READY    AGE      NODE     PHASE\na        web    0/1      5d       n        <none>\nb        web    <none>   <none>   <none>   Up\nb        db     <none>   <none>   <none>   Down\n",
		"name": "a pod/web\nb pod/web\nb pod/db\n",
	} {
		p, out, errOut := newTestPrinter(format)
		p.add(1, having("b", []string{"Name", "Phase"}, []string{"web", "Up"}, []string{"db", "Down"}))
		p.add(0, having("a", []string{"Name", "Ready", "Age", "Node+"}, []string{"web", "0/1", "5d", "n"}))
		p.add(2, &searched{member: having("c", nil).member, err: errors.New("no answer")})
		if err := p.end(); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Errorf("-o %s:\n%s", format, diff)
		}
		if got := errOut.String(); got != "member \"c\": no answer\n" {
			t.Errorf("-o %s: %q", format, got)
		}
	}
}

// TestFindDoesNotWait prints what came when no more comes, and the rest below when it does.
func TestFindDoesNotWait(t *testing.T) {
	t.Parallel()
	p, out, _ := newTestPrinter("")
	p.add(2, having("c", []string{"Name", "Ready"}, []string{"web", "1/1"}))
	p.add(0, having("a", []string{"Name", "Ready"}, []string{"web", "0/1"}))
	const first = "MEMBER   NAME   READY\na        web    0/1\nc        web    1/1\n"
	for begun := time.Now(); out.String() == "" && time.Since(begun) < 10*time.Second; {
		<-time.After(time.Millisecond)
	}
	if diff := cmp.Diff(first, out.String()); diff != "" {
		t.Errorf("while one has not answered:\n%s", diff)
	}
	p.add(1, having("b", []string{"Phase", "Ready", "Name"}, []string{"Up", "1/1", "db"}))
	if diff := cmp.Diff(first+"b        db     1/1\n", out.String()); diff != "" {
		t.Errorf("when it has:\n%s", diff)
	}
	if err := p.end(); err != nil || out.String() != first+"b        db     1/1\n" {
		t.Errorf("at the end: %v\n%s", err, out.String())
	}
}

// TestFindColumns bounds the columns that members may send.
func TestFindColumns(t *testing.T) {
	t.Parallel()
	var all []*searched
	for i := range 10 {
		var columns []string
		for j := range 20 {
			columns = append(columns, fmt.Sprintf("%d-%d", i, j))
		}
		all = append(all, having("a", columns))
	}
	if got := len(mergeColumns(all, true)); got != maxFindColumns {
		t.Errorf("%d columns", got)
	}
}

// TestLines holds that each line has its member's name, whatever is in it, and that output is bounded.
func TestLines(t *testing.T) {
	t.Parallel()
	for live, want := range map[bool]string{false: "", true: "us-east: a\nus-east: b\n"} {
		out := &bytes.Buffer{}
		l := &lines{mu: &sync.Mutex{}, w: out, prefix: "us-east: ", live: live}
		for _, part := range []string{"a\nb", "\r\nc", "d"} {
			if _, err := l.Write([]byte(part)); err != nil {
				t.Fatal(err)
			}
		}
		if out.String() != want {
			t.Errorf("live %t: %q", live, out.String())
		}
		l.end()
		if out.String() != "us-east: a\nus-east: b\nus-east: cd\n" {
			t.Errorf("live %t, at the end: %q", live, out.String())
		}
	}
	l := &lines{mu: &sync.Mutex{}, w: &bytes.Buffer{}}
	if _, err := l.Write(make([]byte, maxOutput+1)); err == nil || !l.large {
		t.Error("output without end is kept")
	}
}

// TestFindCompletes offers kinds, and nothing behind one.
func TestFindCompletes(t *testing.T) {
	t.Parallel()
	if _, out, _ := mistype(t, "__complete find deploy"); !strings.Contains(out, "deployments\n") {
		t.Errorf("a kind: %q", out)
	}
	if _, out, _ := mistype(t, "__complete find pods w"); out != ":4\n" {
		t.Errorf("a name: %q", out)
	}
}

// TestFindReportsNames names what no member has, and refuses names that are none.
func TestFindReportsNames(t *testing.T) {
	t.Parallel()
	all := []*searched{having("a", []string{"Name"}, []string{"web"}), having("b", nil)}
	for _, tt := range []struct{ names, want string }{
		{"web", ""}, {"web wbe", `deployment "wbe" not found on 2 members`}, {"wbe ewb", `deployment "wbe", "ewb" not found on 2 members`},
	} {
		o := &findOptions{kind: "deployment", names: strings.Fields(tt.names)}
		got := ""
		if err := o.verdict(t.Context(), all, make([]error, 2)); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%s: %s", tt.names, got)
		}
	}
	for name, want := range map[string]string{
		"web": "", "system:web": "", "": `it has an object called "", which is no name`, "a b": `it has an object called "a b", which is no name`,
		"a/b": `it has an object called "a/b", which is no name`, "a\nb": `it has an object called "a\nb", which is no name`,
	} {
		f := having("a", []string{"Name"}, []string{name})
		got := ""
		if err := checkNames(f.kind, f.table); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: %s", name, got)
		}
	}
	if err := checkNames(cluster.Kind{Resource: cluster.Resource{Kind: "a b"}}, &cluster.Table{}); err == nil || err.Error() != `it serves "a b", which is no kind` {
		t.Errorf("a kind: %v", err)
	}
}
