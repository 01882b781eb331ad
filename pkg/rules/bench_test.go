package rules_test

import (
	"fmt"
	"testing"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
	"github.com/kubefederate/kubectl-federate/test/cases"
)

// crowd is a federation of n members under twenty rules on labels and two limits.
func crowd(n int) (rules.Snapshot, *v1alpha1.Federation) {
	f := &v1alpha1.Federation{}
	f.Name = "f"
	f.Spec.Limits = []v1alpha1.Limit{{Max: 100000}, {PerLabel: "team-0", Max: 100000}}
	for i := range 20 {
		f.Spec.Labels = append(f.Spec.Labels, v1alpha1.LabelRule{Key: fmt.Sprintf("team-%d", i), Required: true, Pattern: "[a-z]+"})
	}
	x := rules.NewIndex()
	x.SetFederation(f)
	for i := range n {
		x.SetMember(inCrowd(i))
	}
	return rules.Snapshot{Now: cases.Now, Host: x}, f
}

func inCrowd(i int) *v1alpha1.MemberCluster {
	m := &v1alpha1.MemberCluster{}
	m.Name = fmt.Sprintf("m-%d", i)
	m.Labels = map[string]string{v1alpha1.LabelFederation: "f"}
	for j := range 20 {
		m.Labels[fmt.Sprintf("team-%d", j)] = "red"
	}
	m.Spec = v1alpha1.MemberClusterSpec{ClusterID: m.Name, Server: "https://" + m.Name + ".example.com"}
	return m
}

// BenchmarkJudgeMember must not depend on how many members there are.
func BenchmarkJudgeMember(b *testing.B) {
	for _, n := range []int{10, 10000} {
		b.Run(fmt.Sprintf("members=%d", n), func(b *testing.B) {
			s, _ := crowd(n)
			m := inCrowd(-1)
			for b.Loop() {
				if v := rules.JudgeMember(s, rules.MemberChange{New: m}); len(v.Refusals) > 0 {
					b.Fatal(v.Refusals)
				}
			}
		})
	}
}

// BenchmarkJudgeRuleChange asks all members.
func BenchmarkJudgeRuleChange(b *testing.B) {
	s, f := crowd(10000)
	after := f.DeepCopy()
	for i := range after.Spec.Labels {
		after.Spec.Labels[i].Pattern = "[A-Z]+"
	}
	for b.Loop() {
		if v := rules.JudgeFederation(s, rules.FederationChange{Old: f, New: after}); len(v.Refusals) != 20 {
			b.Fatal(v.Refusals)
		}
	}
}

// BenchmarkRuleChange asks ten thousand members about twenty expressions that are new; an admission webhook has five
// seconds.
func BenchmarkRuleChange(b *testing.B) {
	s, f := crowd(10000)
	after := f.DeepCopy()
	for i := range 20 {
		after.Spec.Rules = append(after.Spec.Rules, v1alpha1.Rule{
			Name: fmt.Sprintf("rule-%d", i),
			Expression: fmt.Sprintf(`!('team-%d' in cluster.labels) || cluster.labels['team-%d'].matches('[A-Z]+') ||
				!url(cluster.spec.server).getHostname().endsWith('.example.com')`, i, i),
		})
	}
	for b.Loop() {
		if v := rules.JudgeFederation(s, rules.FederationChange{Old: f, New: after}); len(v.Refusals) != 20 {
			b.Fatal(v.Refusals)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/200_000, "ns/evaluation")
}

// BenchmarkCompliance judges one member by twenty expressions; a change of a federation's rules judges each of its members.
func BenchmarkCompliance(b *testing.B) {
	_, f := crowd(1)
	for i := range 20 {
		f.Spec.Rules = append(f.Spec.Rules, v1alpha1.Rule{
			Name: fmt.Sprintf("rule-%d", i),
			Expression: fmt.Sprintf(`!('team-%d' in cluster.labels) || cluster.labels['team-%d'].matches('[A-Z]+') ||
				!url(cluster.spec.server).getHostname().endsWith('.example.com')`, i, i),
		})
	}
	m := inCrowd(1)
	m.Status.Facts = &v1alpha1.Facts{}
	for b.Loop() {
		if c := rules.JudgeCompliance(f, m); len(c.Violations) != 20 {
			b.Fatal(c)
		}
	}
}
