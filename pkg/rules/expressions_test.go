package rules_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
	"github.com/kubefederate/kubectl-federate/pkg/rules/expression"
	"github.com/kubefederate/kubectl-federate/test/cases"
)

// TestSurveyHasAnEnd holds that a change of expressions which would keep an API server waiting is refused, in the same
// words whichever members were asked.
func TestSurveyHasAnEnd(t *testing.T) {
	t.Parallel()
	s, f := crowd(10000)
	after := f.DeepCopy()
	for i := range 20 {
		after.Spec.Rules = append(after.Spec.Rules, v1alpha1.Rule{
			Name:       fmt.Sprintf("rule-%d", i),
			Expression: "cluster.labels.all(a, cluster.labels.all(b, b != ''))",
		})
	}
	start := time.Now()
	want := []string{"spec.rules: Forbidden: the expressions cost more than 5000000 over all members, so they cannot be judged: write cheaper expressions, or change fewer at a time"}
	if diff := cmp.Diff(want, texts(rules.JudgeFederation(s, rules.FederationChange{Old: f, New: after}).Refusals)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// All of it takes minutes, what is allowed seconds.
	if took := time.Since(start); took > time.Minute {
		t.Errorf("it took %s", took)
	}
}

// TestSurveyInParts holds that the findings on members that are judged in parallel are merged, in the same words each time.
func TestSurveyInParts(t *testing.T) {
	t.Parallel()
	x := rules.NewIndex()
	f := &v1alpha1.Federation{}
	f.Name = "f"
	x.SetFederation(f)
	for i := range 2000 {
		m := inCrowd(i)
		if i%1000 < 2 {
			delete(m.Labels, "team-1")
			m.Spec.JoinedWith = &v1alpha1.JoinFacts{KubernetesVersion: fmt.Sprintf("v1.%d.0", 30+i%1000)}
		}
		x.SetMember(m)
	}
	after := f.DeepCopy()
	after.Spec.Rules = []v1alpha1.Rule{
		{Name: "broken", Expression: "'team-1' in cluster.labels"},
		{Name: "failed", Expression: "'team-1' in cluster.labels || cluster.labels[cluster.name] != ''"},
		{Name: "unknown", Expression: "cluster.facts.kubernetesVersion != ''"},
	}
	s := rules.Snapshot{Now: cases.Now, Host: x}
	for range 5 {
		v := rules.JudgeFederation(s, rules.FederationChange{Old: f, New: after})
		want := []string{
			`spec.rules: Forbidden: 4 members would break it: m-0, m-1, m-1000, m-1001; rule "broken" of federation "f" is violated: 'team-1' in cluster.labels`,
			`spec.rules: Forbidden: 4 members would break it: m-0, m-1, m-1000, m-1001; rule "failed" of federation "f" could not be evaluated: no such key: m-0`,
		}
		if diff := cmp.Diff(want, texts(v.Refusals)); diff != "" {
			t.Errorf("refusals (-want +got):\n%s", diff)
		}
		want = []string{
			`spec.rules: 1996 members cannot be judged: m-10, m-100, m-1002, m-1003, m-1004 and 1991 more; rule "unknown" of`,
			`  federation "f" was not evaluated: cluster.facts.kubernetesVersion is not known`,
		}
		if diff := cmp.Diff(want, v.WarningTexts()); diff != "" {
			t.Errorf("warnings (-want +got):\n%s", diff)
		}
	}
}

// FuzzExpression holds that no expression makes a rule panic or cost more than it may, and that what compiles where a
// federation is written is judged where a member is.
func FuzzExpression(f *testing.F) {
	for _, c := range cases.All() {
		for _, federation := range slices.Concat(c.Federations, []*v1alpha1.Federation{written(c)}) {
			if federation == nil {
				continue
			}
			for _, rule := range federation.Spec.Rules {
				f.Add(rule.Expression)
			}
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		federation := &v1alpha1.Federation{}
		federation.Name = "f"
		federation.Spec.Limits = []v1alpha1.Limit{{PerLabel: "example.com/team", Max: 3}}
		m := &v1alpha1.MemberCluster{}
		m.Name = "m"
		m.Labels = map[string]string{v1alpha1.LabelFederation: "f", "example.com/team": "web"}
		m.Spec = v1alpha1.MemberClusterSpec{
			ClusterID: "x", Server: "https://m.example.com", JoinedWith: &v1alpha1.JoinFacts{Regions: []string{"us-east-1", "us-west-2"}},
		}
		after := federation.DeepCopy()
		after.Spec.Rules = []v1alpha1.Rule{{Name: "fuzz", Expression: text}}
		x := rules.NewIndex()
		x.SetFederation(federation)
		x.SetMember(m)
		s := rules.Snapshot{Now: cases.Now, Host: x}
		defined := rules.JudgeFederation(s, rules.FederationChange{New: after})
		rules.JudgeFederation(s, rules.FederationChange{Old: federation, New: after}).WarningTexts()
		x.SetFederation(after)
		v := rules.JudgeMember(s, rules.MemberChange{New: m})
		for _, e := range slices.Concat(v.Refusals, v.Warnings) {
			if e.Origin != string(rules.Expressions) {
				continue
			}
			// CEL's own word for a panic that it caught.
			if strings.Contains(e.Detail, "internal error") {
				t.Fatal(e)
			}
			if len(defined.Refusals) == 0 && strings.Contains(e.Detail, "does not compile") {
				t.Fatal(e)
			}
		}
		program, err := expression.Compile(text)
		if err != nil {
			return
		}
		o := program.Judge(expression.NewFederation(federation), nil, expression.NewCluster(m, *m.Spec.JoinedWith))
		if o.Cost > expression.MaxCost {
			t.Fatalf("it costs %d", o.Cost)
		}
	})
}

// written is the federation that a case writes; nil when it writes a member or deletes.
func written(c cases.Case) *v1alpha1.Federation {
	if c.Federation == nil {
		return nil
	}
	return c.Federation.New
}
