package rules_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
	"github.com/kubefederate/kubectl-federate/test/cases"
)

func texts(l field.ErrorList) (found []string) {
	for _, e := range l {
		found = append(found, e.Error())
	}
	return found
}

func TestCases(t *testing.T) {
	t.Parallel()
	for _, c := range cases.All() {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			v := c.Judge()
			if diff := cmp.Diff(c.Refusals, texts(v.Refusals), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("refusals (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.Warnings, v.WarningTexts(), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
			for _, w := range v.WarningTexts() {
				if len(w) > rules.MaxWarning {
					t.Errorf("warning of %d bytes: %s", len(w), w)
				}
			}
			if len(c.Refusals)+len(c.Warnings) == 0 {
				return
			}
			if !slices.ContainsFunc(slices.Concat(v.Refusals, v.Warnings), func(e *field.Error) bool { return e.Origin == string(c.Rule) }) {
				t.Errorf("nothing was said by rule %s", c.Rule)
			}
		})
	}
}

// TestEveryRuleHasCases holds that each rule is seen to pass and to refuse, and that no case is an orphan: it is of a rule,
// and where no API server gets to see it, that is for a known reason.
func TestEveryRuleHasCases(t *testing.T) {
	t.Parallel()
	type seen struct{ passes, refuses int }
	found := map[string]*seen{}
	for _, r := range rules.MemberRules {
		found["member "+string(r.ID)] = &seen{}
	}
	for _, r := range rules.FederationRules {
		found["federation "+string(r.ID)] = &seen{}
	}
	names := map[string]bool{}
	for _, c := range cases.All() {
		kind := "federation "
		if c.Member != nil {
			kind = "member "
		}
		s := found[kind+string(c.Rule)]
		switch {
		case s == nil:
			t.Errorf("case %s is of no rule: %s", c.Name, c.Rule)
		case slices.ContainsFunc(c.Judge().Refusals, func(e *field.Error) bool { return e.Origin == string(c.Rule) }):
			s.refuses++
		case len(c.Refusals)+len(c.Warnings) == 0:
			s.passes++
		}
		if !slices.Contains([]string{
			"", "the schema of the CustomResourceDefinition refuses it first", "the text names all federations of the host",
			"ValidatingAdmissionPolicy joining.kubefederate.io refuses it first", "the namespace is the host's own, and not labeled there",
			"the webhook judges no object with so many labels",
		}, c.Unreachable) {
			t.Errorf("case %s: no test knows why it is unreachable: %s", c.Name, c.Unreachable)
		}
		if names[c.Name] {
			t.Errorf("two cases are named %s", c.Name)
		}
		names[c.Name] = true
	}
	for rule, s := range found {
		if s.passes == 0 || s.refuses == 0 {
			t.Errorf("%s: %d cases pass, %d are refused", rule, s.passes, s.refuses)
		}
	}
}

// TestEveryFieldHasARule finds, for each field of a Federation's spec, the rule on members that reads it: MembersKeepRules
// asks that rule when the field changes.
func TestEveryFieldHasARule(t *testing.T) {
	t.Parallel()
	// notJudged are fields that no rule judges members by. enforcement is what softens rules.
	notJudged := []string{"description", "acceptance", "enforcement", "access", "health", "discovery", "services"}
	for f := range reflect.TypeFor[v1alpha1.FederationSpec]().Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		judged := slices.ContainsFunc(rules.MemberRules, func(r rules.Rule[rules.MemberChange]) bool { return r.Spec == name })
		if judged == slices.Contains(notJudged, name) {
			t.Errorf("spec.%s: a row of MemberRules has it as Spec: %t; notJudged of this test lists it: %t: exactly one must", name, judged, judged)
		}
	}
}

// TestRefusalsAreWordedOnce pins the two forms that a refusal takes on its way to kubectl.
func TestRefusalsAreWordedOnce(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"exists":        "<nil>",
		"insecure":      `MemberCluster.kubefederate.io "insecure-m" is invalid: [spec.insecureSkipTLSVerify: Forbidden: federation "insecure" does not allow it; give spec.caBundle instead, spec.insecureSkipTLSVerify: Forbidden: may not be set together with spec.caBundle]`,
		"bad-role":      `Federation.kubefederate.io "bad-role" is invalid: spec.access.clusterRole: Invalid value: "a/b": may not contain '/'; it names no ClusterRole`,
		"peopled":       `federation "peopled" has 2 members: peopled-a, peopled-b; unjoin them first: kubectl federate unjoin peopled-a peopled-b`,
		"useless-limit": "<nil>",
	} {
		i := slices.IndexFunc(cases.All(), func(c cases.Case) bool { return c.Name == name })
		c := cases.All()[i]
		if got := fmt.Sprint(c.Error(c.Judge())); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, want)
		}
	}
}

func TestVersions(t *testing.T) {
	t.Parallel()
	m := &v1alpha1.MemberCluster{}
	m.Name = "m"
	m.Labels = map[string]string{v1alpha1.LabelFederation: "f"}
	m.Spec = v1alpha1.MemberClusterSpec{ClusterID: "x", Server: "https://m.example.com"}
	for _, test := range []struct {
		allowed, version string
		in               bool
	}{
		{">=1.33", "v1.33.0", true},
		{">=1.33", "v1.32.99", false},
		{">1.36", "v1.36.9", false},
		{">1.36", "v1.37.0", true},
		{">1.36.1", "v1.36.2", true},
		{"<=1.36", "v1.36.9", true},
		{"<=1.36", "v1.37.0", false},
		{"<1.38", "v1.37.99", true},
		{"<1.38", "v1.38.0-rc.1", false},
		{"=1.36", "v1.36.4", true},
		{"=1.36.3", "v1.36.3-gke.1234+dirty", true},
		{"!=1.36.3", "v1.36.3", false},
		{"!=1.36", "v1.36.0", false},
		{"!=1.36", "v1.37.0", true},
		{">=1.33,<1.38", "1.34", true},
		{"  >=1.9  ", "v1.10.0", true},
	} {
		f := &v1alpha1.Federation{}
		f.Name, f.Spec.KubernetesVersions = "f", test.allowed
		m.Spec.JoinedWith = &v1alpha1.JoinFacts{KubernetesVersion: test.version}
		x := rules.NewIndex()
		x.SetFederation(f)
		v := rules.JudgeMember(rules.Snapshot{Host: x}, rules.MemberChange{New: m})
		if got := len(v.Refusals) == 0; got != test.in {
			t.Errorf("%s in %q: %v, %v", test.version, test.allowed, got, texts(v.Refusals))
		}
	}
}

// TestIndexFollows holds that counts stay right through changes of every kind.
func TestIndexFollows(t *testing.T) {
	t.Parallel()
	m := func(name, federation, team string) *v1alpha1.MemberCluster {
		m := &v1alpha1.MemberCluster{}
		m.Name = name
		m.Labels = map[string]string{v1alpha1.LabelFederation: federation, "team": team}
		m.Spec.ClusterID, m.Spec.Server = "id-"+team, "https://"+team
		return m
	}
	x := rules.NewIndex()
	x.SetMember(m("b", "f", "red"))
	x.SetMember(m("a", "f", "red"))
	x.SetMember(m("c", "g", "red"))
	state := func() string {
		var names []string
		for _, m := range x.MembersWithID("id-red") {
			names = append(names, m.Name)
		}
		return fmt.Sprintf("f %d, red %d, red without a %d, blue %d, id-red %s, at blue %d",
			x.Count(rules.Bucket{Federation: "f"}, ""), x.Count(rules.Bucket{Federation: "f", Key: "team", Value: "red"}, ""),
			x.Count(rules.Bucket{Federation: "f", Key: "team", Value: "red"}, "a"), x.Count(rules.Bucket{Federation: "f", Key: "team", Value: "blue"}, ""),
			strings.Join(names, "+"), len(x.MembersAt(endpoint.KeyOf("https://BLUE:443/"))))
	}
	for _, step := range []struct {
		do   func()
		want string
	}{
		{func() {}, "f 2, red 2, red without a 1, blue 0, id-red a+b+c, at blue 0"},
		{func() { x.SetMember(m("a", "f", "blue")) }, "f 2, red 1, red without a 1, blue 1, id-red b+c, at blue 1"},
		{func() { x.DropMember("b") }, "f 1, red 0, red without a 0, blue 1, id-red c, at blue 1"},
		{func() { x.DropMember("unknown") }, "f 1, red 0, red without a 0, blue 1, id-red c, at blue 1"},
		{func() { x.DropMember("a") }, "f 0, red 0, red without a 0, blue 0, id-red c, at blue 0"},
	} {
		step.do()
		if got := state(); got != step.want {
			t.Errorf("got  %s\nwant %s", got, step.want)
		}
	}
}

func TestLongWarningsAreFolded(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ detail, want string }{
		"short":    {"x", "f: Forbidden: x"},
		"words":    {strings.Repeat("word ", 40) + "end", "f: Forbidden:" + strings.Repeat(" word", 21) + "\n  " + strings.Repeat("word ", 19) + "end"},
		"one word": {strings.Repeat("é", 100), "f: Forbidden:\n  " + strings.Repeat("é", 59) + "\n  " + strings.Repeat("é", 41)},
	} {
		v := rules.Verdict{Findings: rules.Findings{Warnings: field.ErrorList{field.Forbidden(field.NewPath("f"), test.detail)}}}
		if got := strings.Join(v.WarningTexts(), "\n"); got != test.want {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, test.want)
		}
	}
}
