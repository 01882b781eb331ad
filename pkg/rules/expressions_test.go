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
	want := []string{"spec.rules: Forbidden: asking all members costs more than 5000000, so they cannot be judged: write cheaper expressions, or change fewer at a time"}
	if diff := cmp.Diff(want, texts(rules.JudgeFederation(s, rules.FederationChange{Old: f, New: after}).Refusals)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// All of it takes minutes, what is allowed seconds.
	if took := time.Since(start); took > time.Minute {
		t.Errorf("it took %s", took)
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
		s := rules.Snapshot{Now: cases.Now, Federations: x, Identities: x, Memberships: x}
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
			if len(defined.Refusals) == 0 && strings.Contains(e.Detail, "cannot be judged") {
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
