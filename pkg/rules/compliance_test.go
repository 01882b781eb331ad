package rules_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
)

// kept is a federation that asks for something by each rule, and a member that keeps all of them; a test states only its fault.
func kept() (*v1alpha1.Federation, *v1alpha1.MemberCluster) {
	f := &v1alpha1.Federation{}
	f.Name = "prod"
	f.Spec.KubernetesVersions = ">=1.33"
	f.Spec.Labels = []v1alpha1.LabelRule{{Key: "team", Required: true, Pattern: "[a-z]+"}}
	f.Spec.Limits = []v1alpha1.Limit{{Max: 0}}
	f.Spec.Rules = []v1alpha1.Rule{
		{Name: "us-only", Expression: "cluster.facts.regions.all(r, r.startsWith('us-'))"},
		{Name: "new-only", Expression: "oldCluster != null || cluster.facts.kubernetesVersion == 'v1.36.3'", Message: "join with v1.36.3"},
	}
	m := &v1alpha1.MemberCluster{}
	m.Name = "east"
	m.Labels = map[string]string{v1alpha1.LabelFederation: "prod", "team": "web", rules.LabelRegion: "us-east-1"}
	m.Spec = v1alpha1.MemberClusterSpec{ClusterID: "id", Server: "https://127.0.0.1:6443", CABundle: []byte("not PEM"),
		JoinedWith: &v1alpha1.JoinFacts{KubernetesVersion: "v1.20.0", Regions: []string{"eu-west-1"}}}
	m.Status.Facts = &v1alpha1.Facts{JoinFacts: v1alpha1.JoinFacts{KubernetesVersion: "v1.36.3", Regions: []string{"us-east-1"}}}
	return f, m
}

// TestCompliance holds what the rules say of a member as it is, and that they say it in the words of a refusal.
func TestCompliance(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		fault func(*v1alpha1.Federation, *v1alpha1.MemberCluster)
		want  string
	}{
		"kept": {func(*v1alpha1.Federation, *v1alpha1.MemberCluster) {}, ""},
		"an old version": {func(_ *v1alpha1.Federation, m *v1alpha1.MemberCluster) {
			m.Status.AcceptedTime, m.Status.Facts.KubernetesVersion = &metav1.Time{}, "v1.32.9"
		}, `Deny kubernetesVersion: status.facts.kubernetesVersion: Invalid value: "v1.32.9": federation "prod" takes >=1.33`},
		"several": {func(_ *v1alpha1.Federation, m *v1alpha1.MemberCluster) {
			m.Labels["team"], m.Labels[v1alpha1.Prefix+"fedration"] = "Web", "x"
			m.Status.Facts.Regions = []string{"eu-west-1"}
			m.Spec.Server, m.Spec.InsecureSkipTLSVerify, m.Spec.CABundle = "https://me@east.example.com", true, nil
		}, `Deny reservedKeys: metadata.labels: Invalid value: "kubefederate.io/fedration": keys under kubefederate.io/ are reserved; did you mean "kubefederate.io/federation"?
Deny labels: metadata.labels[team]: Invalid value: "Web": must match "[a-z]+" in federation "prod"
Deny expressions: metadata.labels[kubefederate.io/federation]: Forbidden: rule "us-only" of federation "prod" is violated: cluster.facts.regions.all(r, r.startsWith('us-'))
Deny topology: metadata.labels[topology.kubernetes.io/region]: Invalid value: "us-east-1": the nodes of this cluster are in region "eu-west-1"
Deny endpoint: spec.server: Invalid value: it must not hold a user: everyone who may get members reads it
Deny insecureTLS: spec.insecureSkipTLSVerify: Forbidden: federation "prod" does not allow it; give spec.caBundle instead`},
		"a federation that warns": {func(f *v1alpha1.Federation, m *v1alpha1.MemberCluster) {
			f.Spec.Enforcement = v1alpha1.EnforceWarn
			delete(m.Labels, "team")
			m.Status.Facts.Regions = []string{"eu-west-1"}
		}, `Warn labels: metadata.labels[team]: Required value: is required by federation "prod"; it must match "[a-z]+"
Warn expressions: metadata.labels[kubefederate.io/federation]: Forbidden: rule "us-only" of federation "prod" is violated: cluster.facts.regions.all(r, r.startsWith('us-'))
Deny topology: metadata.labels[topology.kubernetes.io/region]: Invalid value: "us-east-1": the nodes of this cluster are in region "eu-west-1"`},
		"a rule that warns": {func(f *v1alpha1.Federation, m *v1alpha1.MemberCluster) {
			f.Spec.Rules[0].Enforcement = v1alpha1.EnforceWarn
			delete(m.Labels, rules.LabelRegion)
			m.Status.Facts.Regions = []string{"eu-west-1"}
		}, `Warn expressions: metadata.labels[kubefederate.io/federation]: Forbidden: rule "us-only" of federation "prod" is violated: cluster.facts.regions.all(r, r.startsWith('us-'))`},
		"facts that only the joiner saw": {func(_ *v1alpha1.Federation, m *v1alpha1.MemberCluster) { m.Status.Facts = nil },
			`unknown, Deny kubernetesVersion: status.facts.kubernetesVersion: the version is unknown; federation "prod" takes >=1.33
unknown, Deny expressions: metadata.labels[kubefederate.io/federation]: rule "us-only" of federation "prod" was not evaluated: cluster.facts.regions is not known
unknown, Deny expressions: metadata.labels[kubefederate.io/federation]: rule "new-only" of federation "prod" was not evaluated: cluster.facts.kubernetesVersion is not known
unknown, Deny topology: metadata.labels[topology.kubernetes.io/region]: no region of the nodes is known to compare it with`},
		"facts that are not known, and rules that warn": {func(f *v1alpha1.Federation, m *v1alpha1.MemberCluster) {
			f.Spec.Rules[1].Enforcement, m.Status.Facts = v1alpha1.EnforceWarn, nil
			f.Spec.KubernetesVersions = ""
		}, `unknown, Deny expressions: metadata.labels[kubefederate.io/federation]: rule "us-only" of federation "prod" was not evaluated: cluster.facts.regions is not known
unknown, Warn expressions: metadata.labels[kubefederate.io/federation]: rule "new-only" of federation "prod" was not evaluated: cluster.facts.kubernetesVersion is not known
unknown, Deny topology: metadata.labels[topology.kubernetes.io/region]: no region of the nodes is known to compare it with`},
		"facts that are not known, and a federation that warns": {func(f *v1alpha1.Federation, m *v1alpha1.MemberCluster) {
			f.Spec.Enforcement, m.Status.Facts = v1alpha1.EnforceWarn, nil
			f.Spec.Rules = f.Spec.Rules[:1]
		}, `unknown, Warn kubernetesVersion: status.facts.kubernetesVersion: the version is unknown; federation "prod" takes >=1.33
unknown, Warn expressions: metadata.labels[kubefederate.io/federation]: rule "us-only" of federation "prod" was not evaluated: cluster.facts.regions is not known
unknown, Deny topology: metadata.labels[topology.kubernetes.io/region]: no region of the nodes is known to compare it with`},
		"a change, until it is accepted": {func(_ *v1alpha1.Federation, m *v1alpha1.MemberCluster) { m.Status.Facts.KubernetesVersion = "v1.36.4" },
			`Deny expressions: metadata.labels[kubefederate.io/federation]: Forbidden: rule "new-only" of federation "prod" is violated; join with v1.36.3`},
		"a change, after": {func(_ *v1alpha1.Federation, m *v1alpha1.MemberCluster) {
			m.Status.AcceptedTime, m.Status.Facts.KubernetesVersion = &metav1.Time{}, "v1.36.4"
		}, ""},
	} {
		f, m := kept()
		tt.fault(f, m)
		labels, rulesBefore, facts := maps.Clone(m.Labels), slices.Clone(f.Spec.Rules), m.Status.Facts
		var said []string
		c := rules.JudgeCompliance(f, m)
		for _, v := range c.Violations {
			said = append(said, fmt.Sprintf("%s %s: %s", v.Enforcement, v.Rule, v.Message))
		}
		for _, u := range c.Unknown {
			said = append(said, fmt.Sprintf("unknown, %s %s: %s", u.Enforcement, u.Rule, u.Text))
		}
		got := strings.Join(said, "\n")
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
		if c.Denied() != strings.Contains("\n"+got, "\nDeny") {
			t.Errorf("%s: denied: %t", name, c.Denied())
		}
		if len(c.Undecided()) != strings.Count(got, "unknown, Deny")-strings.Count(got, "Deny topology: metadata.labels[topology.kubernetes.io/region]: no region") {
			t.Errorf("%s: undecided: %q", name, c.Undecided())
		}
		if (c.Unlocated() != "") != strings.Contains(got, "topology: metadata.labels[topology.kubernetes.io/region]: no region") ||
			c.Contradicted() != strings.Contains(got, "\nDeny topology") {
			t.Errorf("%s: unlocated: %q, contradicted: %t", name, c.Unlocated(), c.Contradicted())
		}
		if !maps.Equal(labels, m.Labels) || !slices.Equal(rulesBefore, f.Spec.Rules) || facts != m.Status.Facts {
			t.Errorf("%s: the objects were changed", name)
		}
	}
}

// TestLastingRules names the rules that a member is not judged by later, so that a new rule is either.
func TestLastingRules(t *testing.T) {
	t.Parallel()
	var not []rules.ID
	for _, rule := range rules.MemberRules {
		if !rule.Lasting {
			not = append(not, rule.ID)
		}
	}
	want := []rules.ID{
		rules.FederationExists,                                     // the condition Accepted says it
		rules.ClusterIDUnique, rules.ImmutableLabels, rules.Limits, // judge other members, or changes
		rules.CABundle, // ends with time
	}
	if diff := cmp.Diff(want, not); diff != "" {
		t.Error(diff)
	}
}

// TestExceededLimits holds the words of limits, and their order.
func TestExceededLimits(t *testing.T) {
	t.Parallel()
	f := &v1alpha1.Federation{}
	f.Name = "prod"
	f.Spec.Limits = []v1alpha1.Limit{{PerLabel: "zone", Max: 1}, {Max: 4}, {PerLabel: "team", Max: 5}}
	var members []*v1alpha1.MemberCluster
	for _, zone := range []string{"b", "a", "b", "a", "c"} {
		m := &v1alpha1.MemberCluster{}
		m.Labels = map[string]string{v1alpha1.LabelFederation: "prod", "zone": zone, "team": "web"}
		members = append(members, m)
	}
	want := []string{
		`federation "prod" has 2 members with zone=a and takes at most 1`,
		`federation "prod" has 2 members with zone=b and takes at most 1`,
		`federation "prod" has 5 members and takes at most 4`,
	}
	if diff := cmp.Diff(want, rules.ExceededLimits(f, slices.Values(members))); diff != "" {
		t.Error(diff)
	}
	if got := rules.ExceededLimits(f, slices.Values(members[:1])); got != nil {
		t.Errorf("one member: %q", got)
	}
}

// TestLabelToSet holds which label a command sets, and to what.
func TestLabelToSet(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		fault func(*v1alpha1.Federation, *v1alpha1.MemberCluster)
		want  string
	}{
		"nothing is wrong": {func(*v1alpha1.Federation, *v1alpha1.MemberCluster) {}, "="},
		"any value":        {func(_ *v1alpha1.Federation, m *v1alpha1.MemberCluster) { m.Labels["team"] = "Web" }, "team=VALUE"},
		"one value": {func(f *v1alpha1.Federation, m *v1alpha1.MemberCluster) {
			f.Spec.Labels[0].Values = []string{"web"}
			delete(m.Labels, "team")
		}, "team=web"},
		"where the nodes are": {func(_ *v1alpha1.Federation, m *v1alpha1.MemberCluster) { m.Labels[rules.LabelRegion] = "us" }, "topology.kubernetes.io/region=us-east-1"},
		"one that must not change": {func(f *v1alpha1.Federation, m *v1alpha1.MemberCluster) {
			f.Spec.Labels[0].Immutable, m.Labels["team"] = true, "Web"
		}, "="},
		"one that is missing and must not change after": {func(f *v1alpha1.Federation, m *v1alpha1.MemberCluster) {
			f.Spec.Labels[0].Immutable = true
			delete(m.Labels, "team")
		}, "team=VALUE"},
	} {
		f, m := kept()
		tt.fault(f, m)
		if key, value := rules.LabelToSet(f, m); key+"="+value != tt.want {
			t.Errorf("%s: %s=%s, want %s", name, key, value, tt.want)
		}
	}
}
