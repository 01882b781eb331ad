package cli

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/command"
)

// TestGetPrints holds what get prints of members: a list as a List, one that was named as itself, and causes where there are any.
func TestGetPrints(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, format string
		names        []string
		members      []v1alpha1.MemberCluster
		// want is the header of a table, or how data begins.
		want string
	}{
		{"no causes", "", nil, []v1alpha1.MemberCluster{*ready("a")}, "NAME   FEDERATION   PHASE   VERSION   REGION      CREDENTIAL   AGE"},
		{"a cause", "", nil, []v1alpha1.MemberCluster{*ready("a", offline)}, "NAME   FEDERATION   PHASE     VERSION   REGION      CREDENTIAL   AGE   CAUSE"},
		{"one, by name", "jsonpath={.kind}", []string{"a"}, []v1alpha1.MemberCluster{*ready("a")}, "MemberCluster"},
		{"one, in a list", "jsonpath={.kind}", nil, []v1alpha1.MemberCluster{*ready("a")}, "MemberClusterList"},
		{"one of two names", "jsonpath={.kind}", []string{"a", "b"}, []v1alpha1.MemberCluster{*ready("a")}, "MemberClusterList"},
		{"none, in a list", "jsonpath={.kind}", nil, nil, "MemberClusterList"},
		{"none, by name", "jsonpath={.kind}", []string{"a"}, nil, ""},
		{"none by name, as a table", "", []string{"a"}, nil, ""},
	} {
		d, out, _ := newTestFactory()
		o := &getOptions{getFlags: getFlags{factory: d, output: output.NewFlags(wideFormat)}, names: tt.names, columns: columnsOf(false, false, nil)}
		o.output.Value = tt.format
		if err := o.print(tt.members); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		first, _, _ := strings.Cut(out.String(), "\n")
		if got := strings.TrimRight(first, " "); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestLabelColumns has a column for each of the labels that were named.
func TestLabelColumns(t *testing.T) {
	t.Parallel()
	shown := columnsOf(false, true, []string{"example.com/team", "tier"})
	row := cells(ready("a"), shown, noon)
	var got []string
	for i := len(row) - 3; i < len(row); i++ {
		got = append(got, shown[i].header+" "+row[i])
	}
	if diff := cmp.Diff([]string{"TEAM web", "TIER <none>", "LABELS example.com/team=web,kubefederate.io/federation=prod"}, got); diff != "" {
		t.Error(diff)
	}
}

// TestGetFederations prints federations as kubectl does, with what people ask for most.
func TestGetFederations(t *testing.T) {
	t.Parallel()
	federations := []v1alpha1.Federation{
		{ObjectMeta: metav1.ObjectMeta{Name: "edge", Labels: map[string]string{"team": "net"}}, Spec: v1alpha1.FederationSpec{
			Acceptance: v1alpha1.AcceptManual, Enforcement: v1alpha1.EnforceWarn, Description: "Edge\nclusters",
		}, Status: v1alpha1.FederationStatus{Members: 12, Ready: 9, Pending: 2, Violating: 1}},
		{ObjectMeta: metav1.ObjectMeta{Name: "prod"}},
	}
	for _, tt := range []struct {
		name string
		set  func(*getFederationsOptions)
		want string
	}{
		{"the table", func(*getFederationsOptions) {}, `
NAME   MEMBERS   READY   PENDING   VIOLATING   ACCEPTANCE   ENFORCEMENT   AGE
edge   12        9       2         1           Manual       Warn          <unknown>
prod   0         0       0         0           Automatic    Deny          <unknown>
`},
		{"wide, with labels", func(o *getFederationsOptions) {
			o.output.Value, o.labelColumns, o.showLabels, o.noHeaders = wideFormat, []string{"team"}, true, true
		}, `
edge   12    9     2     1     Manual      Warn   <unknown>   Edge clusters   net      team=net
prod   0     0     0     0     Automatic   Deny   <unknown>   <none>          <none>   <none>
`},
		{"names", func(o *getFederationsOptions) { o.output.Value = output.Name }, `
federation.kubefederate.io/edge
federation.kubefederate.io/prod
`},
	} {
		d, out, _ := newTestFactory()
		o := &getFederationsOptions{getFlags: getFlags{factory: d, output: output.NewFlags(wideFormat)}}
		tt.set(o)
		if err := o.print(federations); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if diff := cmp.Diff(strings.TrimPrefix(tt.want, "\n"), out.String()); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}

// TestTreeDepth leaves out what is below a level, and counts the lines of a flowchart.
func TestTreeDepth(t *testing.T) {
	t.Parallel()
	edges := map[int]int{}
	for depth := 1; depth <= maxDepth; depth++ {
		edges[depth] = output.MermaidEdges(prune(trees(), depth))
	}
	if diff := cmp.Diff(map[int]int{1: 0, 2: 6, 3: 13, 4: 21}, edges); diff != "" {
		t.Error(diff)
	}
	want := "edge (3 members: 2 Unknown, 1 Ready)\n├── ap-south-1 (1 member: 1 Unknown)\n"
	if got := output.Tree(prune(trees(), 2), false); !strings.HasPrefix(got, want) {
		t.Errorf("%s", got)
	}
}

// TestUnhealthyIsBounded holds that the description of a federation names the most urgent of many members that are not healthy.
func TestUnhealthyIsBounded(t *testing.T) {
	t.Parallel()
	var members []*v1alpha1.MemberCluster
	for i := range 200 {
		m := ready(fmt.Sprintf("m-%03d", i), phase(v1alpha1.PhaseSuspended))
		if i == 150 {
			m = ready("m-150", offline)
		}
		members = append(members, m)
	}
	text := federationText(command.Host{}, &v1alpha1.Federation{ObjectMeta: metav1.ObjectMeta{Name: "prod"}}, members, nil, noon)
	if lines := strings.Count(text, "\n"); lines > 80 || !strings.Contains(text, "m-150") || !strings.Contains(text, "150 unhealthy members: kubectl federate get --federation prod --sort-by phase") {
		t.Errorf("%d lines:\n%s", lines, text)
	}
}
