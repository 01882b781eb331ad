package rules_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
	"github.com/kubefederate/kubectl-federate/test/cases"
)

// FuzzLabels sets every kind of label rule against every kind of label: what LabelRules takes can be judged, and is judged as
// the words of the API say, by another way of matching; nothing is said of what did not get worse; and a federation
// that only warns says the same in lines that clients print whole.
func FuzzLabels(f *testing.F) {
	f.Add("example.com/team", "", "[a-z]+", "name the team", true, false, "payments", true, "Payments", true)
	f.Add("topology.kubernetes.io/region", "eu-west-1,us-east-1", "", "", true, true, "eu-west-1", true, "", false)
	f.Add("a", "", "a|ab", "", false, true, "ab", true, "abc", true)
	f.Add("a", "x", "(?i)X|(y", "", false, false, "", false, "\xff", true)
	f.Add("a b", "a b,", `\Ba$|(?m:^b)`, strings.Repeat("long ", 99), true, true, "", true, "", true)
	f.Fuzz(func(t *testing.T, key, values, pattern, message string, required, immutable bool, was string, had bool, is string, has bool) {
		rule := v1alpha1.LabelRule{Key: key, Pattern: pattern, Message: message, Required: required, Immutable: immutable}
		if values != "" {
			rule.Values = strings.Split(values, ",")
		}
		federation := &v1alpha1.Federation{Spec: v1alpha1.FederationSpec{Labels: []v1alpha1.LabelRule{rule}}}
		federation.Name = "f"
		labeled := func(value string, has bool) *v1alpha1.MemberCluster {
			m := &v1alpha1.MemberCluster{Spec: v1alpha1.MemberClusterSpec{ClusterID: "x", Server: "https://m.example.com"}}
			m.Name, m.Labels = "m", map[string]string{}
			if has {
				m.Labels[key] = value
			}
			m.Labels[v1alpha1.LabelFederation] = "f"
			return m
		}
		judge := func(before, after *v1alpha1.MemberCluster) rules.Verdict {
			x := rules.NewIndex()
			x.SetFederation(federation)
			s := rules.Snapshot{Host: x}
			v := rules.JudgeMember(s, rules.MemberChange{Old: before, New: after})
			if diff := cmp.Diff(texts(v.Refusals), texts(rules.JudgeMember(s, rules.MemberChange{Old: before, New: after}).Refusals)); diff != "" {
				t.Errorf("it says two things:\n%s", diff)
			}
			return v
		}
		// ruled are the faults that the rule may find, without those of others.
		ruled := func(v rules.Verdict, of ...rules.ID) (found []string) {
			for _, e := range v.Refusals {
				if slices.Contains(of, rules.ID(e.Origin)) {
					found = append(found, e.Error())
				}
			}
			return found
		}
		x := rules.NewIndex()
		sound := len(rules.JudgeFederation(rules.Snapshot{Host: x},
			rules.FederationChange{New: federation}).Refusals) == 0

		created := judge(nil, labeled(is, has))
		if got := len(ruled(created, rules.Labels)) == 0; sound && got != keeps(rule, is, has) {
			t.Errorf("kept: %v; said: %q", !got, ruled(created, rules.Labels))
		}
		if faults := ruled(judge(labeled(is, has), labeled(is, has)), rules.Labels, rules.ImmutableLabels); len(faults) > 0 {
			t.Errorf("nothing changed, and it says %q", faults)
		}
		moved := had && (!has || was != is)
		if faults := ruled(judge(labeled(was, had), labeled(is, has)), rules.ImmutableLabels); sound && (len(faults) > 0) != (immutable && moved) {
			t.Errorf("moved: %v, immutable: %v, and it says %q", moved, immutable, faults)
		}

		federation.Spec.Enforcement = v1alpha1.EnforceWarn
		soft := judge(nil, labeled(is, has))
		if faults := ruled(soft, rules.Labels, rules.ImmutableLabels); len(faults) > 0 {
			t.Errorf("it only warns, and refuses %q", faults)
		}
		if n := len(soft.Warnings) - len(created.Warnings); n != len(ruled(created, rules.Labels)) {
			t.Errorf("%d warnings of %q", n, ruled(created, rules.Labels))
		}
		for _, line := range soft.WarningTexts() {
			if len(line) > rules.MaxWarning {
				t.Errorf("%d bytes: %q", len(line), line)
			}
		}
	})
}

// keeps says what v1alpha1.LabelRule promises. A value matches as a whole when the longest match of all that begin first
// is the value.
func keeps(rule v1alpha1.LabelRule, value string, has bool) bool {
	if !has {
		return !rule.Required
	}
	if len(rule.Values) > 0 && !slices.Contains(rule.Values, value) {
		return false
	}
	if rule.Pattern == "" {
		return true
	}
	pattern := regexp.MustCompile(rule.Pattern)
	pattern.Longest()
	at := pattern.FindStringIndex(value)
	return at != nil && at[0] == 0 && at[1] == len(value)
}

// FuzzEndpoint holds that no text makes the endpoint rules panic, and that a server that passes has a key.
func FuzzEndpoint(f *testing.F) {
	for _, seed := range []string{"https://a", "https://[::1]:6443/x", "https://a%zz", "https://:0"} {
		f.Add(seed, seed)
	}
	x := rules.NewIndex()
	x.SetFederation(&v1alpha1.Federation{})
	f.Fuzz(func(t *testing.T, server, proxy string) {
		m := &v1alpha1.MemberCluster{}
		m.Spec.Server, m.Spec.ProxyURL = server, proxy
		v := rules.JudgeMember(rules.Snapshot{Now: cases.Now, Host: x}, rules.MemberChange{New: m})
		bad := slices.ContainsFunc(v.Refusals, func(e *field.Error) bool { return e.Origin == string(rules.Endpoint) })
		if !bad && endpoint.KeyOf(server) == "" {
			t.Errorf("%q passes and has no key", server)
		}
	})
}

// FuzzTightening holds that no rule or range, set where a member may break it, makes a rule panic.
func FuzzTightening(f *testing.F) {
	f.Add("[a-z]+", "abc", ">=1.33", "v1.36.3")
	f.Add("a)|(b", "ab", "!=1", "1.2")
	f.Fuzz(func(_ *testing.T, pattern, value, allowed, version string) {
		federation := &v1alpha1.Federation{}
		federation.Name = "f"
		after := federation.DeepCopy()
		after.Spec.Labels = []v1alpha1.LabelRule{{Key: value, Pattern: pattern, Values: []string{value}}}
		after.Spec.KubernetesVersions = allowed
		m := &v1alpha1.MemberCluster{}
		m.Name = "m"
		m.Labels = map[string]string{v1alpha1.LabelFederation: "f", value: value}
		m.Spec.JoinedWith = &v1alpha1.JoinFacts{KubernetesVersion: version}
		x := rules.NewIndex()
		x.SetFederation(federation)
		x.SetMember(m)
		s := rules.Snapshot{Now: cases.Now, Host: x}
		rules.JudgeFederation(s, rules.FederationChange{Old: federation, New: after}).WarningTexts()
		x.SetFederation(after)
		rules.JudgeMember(s, rules.MemberChange{New: m}).WarningTexts()
	})
}
