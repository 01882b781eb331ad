package discovery

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	authorizationv1 "k8s.io/api/authorization/v1"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

// TestRightsOf holds what rules of RBAC let the account read.
func TestRightsOf(t *testing.T) {
	t.Parallel()
	secrets := func(verbs []string, names ...string) authorizationv1.ResourceRule {
		return authorizationv1.ResourceRule{Verbs: verbs, APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: names}
	}
	for name, c := range map[string]struct {
		rules []authorizationv1.ResourceRule
		want  secretRights
	}{
		"nothing":            {nil, secretRights{}},
		"two by name":        {[]authorizationv1.ResourceRule{secrets([]string{"get"}, "b"), secrets([]string{"get"}, "a", "b")}, secretRights{names: []string{"a", "b"}}},
		"all":                {[]authorizationv1.ResourceRule{secrets([]string{"get", "list", "watch"})}, secretRights{all: true, list: true}},
		"everything":         {[]authorizationv1.ResourceRule{{Verbs: []string{"*"}, APIGroups: []string{"*"}, Resources: []string{"*"}}}, secretRights{all: true, list: true}},
		"a list by name":     {[]authorizationv1.ResourceRule{secrets([]string{"list"}, "a")}, secretRights{}},
		"to write":           {[]authorizationv1.ResourceRule{secrets([]string{"create", "update"})}, secretRights{}},
		"of another group":   {[]authorizationv1.ResourceRule{{Verbs: []string{"get"}, APIGroups: []string{"apps"}, Resources: []string{"secrets"}}}, secretRights{}},
		"of other resources": {[]authorizationv1.ResourceRule{{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"configmaps", "secrets/status"}}}, secretRights{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := rightsOf(&authorizationv1.SubjectRulesReviewStatus{ResourceRules: c.rules})
			if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(secretRights{})); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestMay holds that a Secret of another name or namespace may not be read, and that one is asked for where the host cannot say.
func TestMay(t *testing.T) {
	t.Parallel()
	c := &consents{secrets: map[string]secretRights{
		"named": {names: []string{"a"}}, "whole": {all: true, list: true}, "unknown": {incomplete: true}, "none": {},
	}}
	for at, want := range map[[2]string]bool{
		{"named", "a"}: true, {"named", "b"}: false, {"whole", "b"}: true, {"unknown", "b"}: true, {"none", "a"}: false, {"missing", "a"}: false,
	} {
		if got := c.may(cluster.Ref{Resource: cluster.Secrets, Namespace: at[0], Name: at[1]}); got != want {
			t.Errorf("%v: %v", at, got)
		}
	}
	if diff := cmp.Diff([]string{"whole"}, c.listed([]string{"missing", "named", "whole"})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestNextQuestions holds that what is not known is asked at once, that all else is asked in turn, and what becomes of the answers.
func TestNextQuestions(t *testing.T) {
	t.Parallel()
	var wanted []question
	for i := range 998 {
		wanted = append(wanted, question{namespace: fmt.Sprint(i)})
	}
	wanted = append(wanted, question{federation: "prod"}, question{federation: "dev"})
	var granted *consents
	round, asked := 0, map[question]int{}
	answer := func() int {
		next := nextQuestions(wanted, granted, round)
		round++
		answers := noConsents()
		for _, q := range next {
			asked[q]++
			if q.federation != "" {
				answers.discover[q.federation] = true
			} else {
				answers.secrets[q.namespace] = secretRights{all: true}
			}
		}
		granted = granted.with(answers, wanted)
		return len(next)
	}
	for len(granted.missing(wanted)) > 0 {
		if n := answer(); n > maxNew+maxAgain {
			t.Fatalf("%d at once", n)
		}
	}
	if round = 0; len(asked) != len(wanted) {
		t.Fatalf("%d of %d were asked", len(asked), len(wanted))
	}
	clear(asked)
	for range len(wanted) / maxAgain {
		if n := answer(); n != maxAgain {
			t.Fatalf("%d at once", n)
		}
	}
	if len(asked) != len(wanted) {
		t.Errorf("%d of %d were asked again", len(asked), len(wanted))
	}
	wanted = append(wanted[:1:1], wanted[999], question{namespace: "new"}) // others are not needed any more
	if n := answer(); n != 2 {
		t.Errorf("%d were asked, want the new one and one of the others", n)
	}
	if !granted.known(question{namespace: "new"}) || !granted.discover["dev"] || granted.leave["dev"] || len(granted.secrets) != 2 || len(granted.discover) != 1 {
		t.Errorf("granted: %s", granted)
	}
}

// TestQuestionsWithoutAnswer holds that those which the host never answers keep no other from being asked again.
func TestQuestionsWithoutAnswer(t *testing.T) {
	t.Parallel()
	var wanted []question
	granted := noConsents()
	for i := range 18 {
		q := question{namespace: fmt.Sprint(i)}
		if wanted = append(wanted, q); i < 10 {
			granted.secrets[q.namespace] = secretRights{}
		}
	}
	asked := map[question]int{}
	for round := range rounds {
		for _, q := range nextQuestions(wanted, granted, round) {
			asked[q]++
		}
	}
	if len(asked) != len(wanted) {
		t.Errorf("%d of %d were asked in %d rounds", len(asked), len(wanted), rounds)
	}
}

// missing are the questions without an answer.
func (c *consents) missing(wanted []question) (all []question) {
	for _, q := range wanted {
		if !c.known(q) {
			all = append(all, q)
		}
	}
	return all
}

// TestSingle holds which Secrets are looked at by their names, and what is said of a namespace of which not all are.
func TestSingle(t *testing.T) {
	t.Parallel()
	f := federationOf("prod", v1alpha1.DiscoverySource{Kind: v1alpha1.SourceSecret, Namespaces: []string{"few", "many", "whole"}},
		v1alpha1.DiscoverySource{Kind: v1alpha1.SourceClusterAPI, Namespaces: []string{"none", "other"}})
	names := func(n int) (all []string) {
		for i := range n {
			all = append(all, fmt.Sprint(i))
		}
		return all
	}
	c := &consents{secrets: map[string]secretRights{
		"few": {names: names(3)}, "many": {names: names(50_000)}, "whole": {all: true, list: true, names: names(2)}, "other": {names: names(4)},
	}}
	count := map[string]int{}
	for _, ref := range c.single(map[v1alpha1.FederationName]*v1alpha1.Federation{"prod": f}) {
		count[ref.Namespace]++
	}
	if diff := cmp.Diff(map[string]int{"few": 3, "many": maxSingle}, count); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if namespace, what := c.skipped(f); namespace != "many" || what != `discovery looks at 500 Secrets in namespace "many", of 50000 that it may get by their names` {
		t.Errorf("%s: %s", namespace, what)
	}
	c.secrets["many"] = secretRights{}
	if namespace, what := c.skipped(f); namespace != "many" || what != `discovery may read no Secret in namespace "many"` {
		t.Errorf("%s: %s", namespace, what)
	}
	c.secrets["many"] = secretRights{all: true, list: true}
	if _, what := c.skipped(f); what != "" {
		t.Error(what)
	}
}
