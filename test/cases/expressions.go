package cases

import (
	"fmt"
	"strings"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
)

const (
	joined = "metadata.labels[kubefederate.io/federation]: "
	// teamed is broken by a label, and has no answer without one.
	teamed = "cluster.labels['example.com/team'] != 'unknown'"
	east   = "cluster.facts.regions.all(r, r.startsWith('us-'))"
	moved  = "oldCluster == null || cluster.spec.server == oldCluster.spec.server"
)

func expressionRule(name, expression string) v1alpha1.Rule {
	return v1alpha1.Rule{Name: name, Expression: expression}
}

// expressions are the cases of CEL on members.
func expressions() []Case {
	teams := []v1alpha1.Rule{expressionRule("teamed", teamed)}
	return []Case{
		create(rules.Expressions, "expressed", func(s set, m *v1alpha1.MemberCluster) {
			s.f.Labels = map[string]string{"tier": "gold"}
			s.f.Spec.Rules = []v1alpha1.Rule{
				expressionRule("teamed", teamed),
				expressionRule("east", east),
				expressionRule("moved", moved),
				expressionRule("version", "semver(cluster.facts.kubernetesVersion, true).isGreaterThan(semver('1.30.0'))"),
				expressionRule("private", "url(cluster.spec.server).getHostname().endsWith('.example.com') && !has(cluster.spec.proxyURL)"),
				expressionRule("tier", "federation.labels['tier'] == 'gold' && federation.spec.enforcement == 'Deny'"),
			}
			label(team, "web")(m)
		}),
		create(rules.Expressions, "inexpressible", func(s set, m *v1alpha1.MemberCluster) {
			s.f.Spec.Rules = []v1alpha1.Rule{
				expressionRule("teamed", teamed),
				{Name: "gpu-only-in-us", Expression: "!('gpu' in cluster.labels) || cluster.labels['topology.kubernetes.io/region'].startsWith('us-')", Message: "GPU clusters must be in a US region"},
				expressionRule("west", "'us-west-2' in cluster.facts.regions"),
				{Name: "softly", Expression: "cluster.name.startsWith('x')", Enforcement: v1alpha1.EnforceWarn},
				expressionRule("moved", "cluster.spec.server == oldCluster.spec.server"),
			}
			label("gpu", "a100")(m)
			s.Warnings = []string{
				joined + `Forbidden: rule "softly" of federation "inexpressible" is violated:`,
				`  cluster.name.startsWith('x')`,
			}
		},
			joined+`Forbidden: rule "teamed" of federation "inexpressible" could not be evaluated: no such key: example.com/team`,
			joined+`Forbidden: rule "gpu-only-in-us" of federation "inexpressible" could not be evaluated: no such key: topology.kubernetes.io/region; GPU clusters must be in a US region`,
			joined+`Forbidden: rule "west" of federation "inexpressible" is violated: 'us-west-2' in cluster.facts.regions`,
			joined+`Forbidden: rule "moved" of federation "inexpressible" could not be evaluated: no such key: spec; oldCluster is null when a cluster joins`),
		create(rules.Expressions, "worded", func(s set, m *v1alpha1.MemberCluster) {
			s.f.Spec.Rules = []v1alpha1.Rule{{Name: "teamed", Expression: teamed, Message: "name the owning team"}}
			label(team, "unknown")(m)
		}, joined+`Forbidden: rule "teamed" of federation "worded" is violated; name the owning team`),
		create(rules.Expressions, "expressed-softly", func(s set, m *v1alpha1.MemberCluster) {
			s.f.Spec.Enforcement = v1alpha1.EnforceWarn
			s.f.Spec.Rules = []v1alpha1.Rule{{Name: "teamed", Expression: teamed, Message: "name the owning team", Enforcement: v1alpha1.EnforceDeny}}
			label(team, "unknown")(m)
			s.Warnings = []string{
				joined + `Forbidden: rule "teamed" of federation "expressed-softly" is violated; name`,
				`  the owning team`,
			}
		}),
		create(rules.Expressions, "fact-unknown", func(s set, m *v1alpha1.MemberCluster) {
			s.f.Spec.Rules = []v1alpha1.Rule{
				expressionRule("east", east),
				expressionRule("careful", "has(cluster.facts.regions) ? "+east+" : true"),
				expressionRule("either", "cluster.name != '' || "+east),
			}
			m.Spec.JoinedWith = nil
			s.Warnings = []string{
				joined + `rule "east" of federation "fact-unknown" was not evaluated:`,
				`  cluster.facts.regions is not known`,
			}
		}),
		create(rules.Expressions, "costly", func(s set, m *v1alpha1.MemberCluster) {
			s.f.Spec.Rules = []v1alpha1.Rule{expressionRule("labels", "cluster.labels.all(k, k.matches('^[a-z0-9./_-]+$') && k.contains('i') && k.contains('a') || k.size() > 0 && k != 'x')")}
			// More labels than an estimate takes.
			s.Unreachable = "the webhook judges no object with so many labels"
			for i := range 6000 {
				label(fmt.Sprintf("a.i/%s-%d", strings.Repeat("x", 40), i), "")(m)
			}
		}, joined+`Forbidden: rule "labels" of federation "costly" could not be evaluated: it costs more than 50000`),
		create(rules.Expressions, "bad-since", func(s set, _ *v1alpha1.MemberCluster) {
			s.f.Spec.Rules = []v1alpha1.Rule{expressionRule("old", "cluster.spce == 1")}
		},
			joined+`Forbidden: rule "old" of federation "bad-since" does not compile: 1:8: undefined field 'spce'`),

		update(rules.Expressions, "seen-in-the-east", func(s set, before, after *v1alpha1.MemberCluster) {
			s.f.Spec.Rules = []v1alpha1.Rule{expressionRule("east", "!('gpu' in cluster.labels) || "+east)}
			before.Spec.JoinedWith.Regions, after.Spec.JoinedWith.Regions = []string{"eu-west-1"}, []string{"eu-west-1"}
			seen("v1.36.3", "us-east-1", "us-east-1a")(before)
			label("gpu", "")(after)
		}),
		update(rules.Expressions, "seen-elsewhere", func(s set, before, after *v1alpha1.MemberCluster) {
			s.f.Spec.Rules = []v1alpha1.Rule{expressionRule("east", "!('gpu' in cluster.labels) || "+east)}
			seen("v1.36.3", "eu-west-1", "eu-west-1a")(before)
			label("gpu", "")(after)
		}, joined+`Forbidden: rule "east" of federation "seen-elsewhere" is violated: !('gpu' in cluster.labels) || cluster.facts.regions.all(r, r.startsWith('us-'))`),
		update(rules.Expressions, "broken-before", func(s set, before, after *v1alpha1.MemberCluster) {
			s.f.Spec.Rules = []v1alpha1.Rule{teams[0], expressionRule("east", east), expressionRule("old", "cluster.spce == 1")}
			before.Spec.JoinedWith, after.Spec.JoinedWith = nil, nil
			label("example.com/note", "x")(after)
		}),
		update(rules.Expressions, "half-mended", func(s set, _, after *v1alpha1.MemberCluster) {
			// It had no answer, and is broken still.
			s.f.Spec.Rules = teams
			label(team, "unknown")(after)
		}),
		update(rules.Expressions, "worsened", func(s set, before, after *v1alpha1.MemberCluster) {
			s.f.Spec.Rules = teams
			label(team, "web")(before)
			label(team, "unknown")(after)
		}, joined+`Forbidden: rule "teamed" of federation "worsened" is violated: `+teamed),
		update(rules.Expressions, "moving", func(s set, _, after *v1alpha1.MemberCluster) {
			s.f.Spec.Rules = []v1alpha1.Rule{expressionRule("moved", moved)}
			after.Spec.Server = "https://elsewhere.example.com"
		}, joined+`Forbidden: rule "moved" of federation "moving" is violated: `+moved),
		update(rules.Expressions, "fixed-in-place", func(s set, _, after *v1alpha1.MemberCluster) {
			// False of the member as it was, too: it reads a change, which is never there before.
			s.f.Spec.Rules = []v1alpha1.Rule{expressionRule("fixed", "oldCluster != null && cluster.spec.server == oldCluster.spec.server")}
			after.Spec.Server = "https://fixed-elsewhere.example.com"
		}, joined+`Forbidden: rule "fixed" of federation "fixed-in-place" is violated: oldCluster != null && cluster.spec.server == oldCluster.spec.server`),
		update(rules.Expressions, "annotated", func(s set, _, after *v1alpha1.MemberCluster) {
			s.f.Spec.Rules = []v1alpha1.Rule{expressionRule("never", "oldCluster == null")}
			after.Annotations = map[string]string{v1alpha1.AnnotationJoinedBy: "me now"}
		}),
	}
}

// expressionRules are the cases of CEL on federations.
func expressionRules() []Case {
	return []Case{
		define(rules.ExpressionRules, "good-expressions", func(_ *Case, f *v1alpha1.Federation) {
			f.Spec.Rules = []v1alpha1.Rule{
				expressionRule("teamed", teamed), expressionRule("east", east), expressionRule("moved", moved),
				expressionRule("strings", "cluster.name.split('-').map(p, p.upperAscii()).join('').size() > 0"),
				expressionRule("lists", "cluster.facts.zones.isSorted() && cluster.facts.zones.exists_one(z, z.find('[a-z]$') == 'a')"),
				expressionRule("addresses", "!isIP(url(cluster.spec.server).getHostname()) || cidr('10.0.0.0/8').containsIP(url(cluster.spec.server).getHostname())"),
				expressionRule("quantities", "quantity('1Gi').isGreaterThan(quantity('1Mi'))"),
				expressionRule("formats", "!format.dns1123Label().validate(cluster.name).hasValue()"),
				expressionRule("sets", "sets.contains(['us-east-1', 'us-west-2'], cluster.facts.regions)"),
				expressionRule("optionals", "cluster.labels[?'tier'].orValue('gold') == 'gold'"),
				expressionRule("pairs", "cluster.labels.all(k, v, k != '' || v != '')"),
				expressionRule("limits", "federation.spec.limits.all(l, l.max > 1 || l.perLabel == 'x')"),
			}
		}),
		define(rules.ExpressionRules, "bad-expressions", func(_ *Case, f *v1alpha1.Federation) {
			f.Spec.Rules = []v1alpha1.Rule{
				expressionRule("field", "cluster.name != '' &&\n  cluster.spce.server != ''"),
				expressionRule("hidden", "cluster.spec.accepted && !cluster.spec.suspended"),
				expressionRule("variable", "object.name == 'x'"),
				expressionRule("syntax", "cluster.name = 'x'"),
				expressionRule("type", "cluster.name.size()"),
				expressionRule("mixed", "cluster.name == 1"),
				expressionRule("pattern", "cluster.name.matches('(a')"),
				expressionRule("cost", "cluster.facts.zones.all(a, cluster.facts.zones.all(b, a == b || a.contains(b)))"),
				expressionRule("boundless", "type(cluster) == type(cluster)"),
				expressionRule("many", "a || b || c || d"),
			}
		},
			`spec.rules[0].expression: Invalid value: "cluster.name != '' &&\n  cluster.spce.server != ''": 2:10: undefined field 'spce'`,
			`spec.rules[1].expression: Invalid value: "cluster.spec.accepted && !cluster.spec.suspended": 1:13: undefined field 'accepted'; 1:39: undefined field 'suspended'`,
			`spec.rules[2].expression: Invalid value: "object.name == 'x'": 1:1: undeclared reference to 'object'`,
			`spec.rules[3].expression: Invalid value: "cluster.name = 'x'": 1:14: Syntax error: token recognition error at: '= '; 1:16: Syntax error: extraneous input ''x'' expecting <EOF>`,
			`spec.rules[4].expression: Invalid value: "cluster.name.size()": it gives int, and must give bool`,
			`spec.rules[5].expression: Invalid value: "cluster.name == 1": 1:14: found no matching overload for '_==_' applied to '(string, int)'`,
			`spec.rules[6].expression: Invalid value: "cluster.name.matches('(a')": 1:22: invalid matches argument`,
			`spec.rules[7].expression: Invalid value: "cluster.facts.zones.all(a, cluster.facts.zones.all(b, a == b || a.contains(b)))": it may cost 4130564, and at most 50000 is allowed: go through fewer or shorter lists`,
			`spec.rules[8].expression: Invalid value: "type(cluster) == type(cluster)": its cost has no bound, and may be at most 50000: bound the texts and lists it goes through`,
			`spec.rules[9].expression: Invalid value: "a || b || c || d": 1:1: undeclared reference to 'a'; 1:6: undeclared reference to 'b'; 1:11: undeclared reference to 'c'; and 1 more`),
		define(rules.ExpressionRules, "rules-twice", func(c *Case, f *v1alpha1.Federation) {
			for range 21 {
				f.Spec.Rules = append(f.Spec.Rules, expressionRule("x", "true"))
			}
			f.Spec.Rules = append(f.Spec.Rules[:20:20], expressionRule("X", "true"))
			f.Spec.Rules = append(f.Spec.Rules[:1:1], f.Spec.Rules[19:]...)
			c.Unreachable = schema
		},
			`spec.rules[1].name: Duplicate value: "x"`,
			`spec.rules[2].name: Invalid value: "X": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')`),
		define(rules.ExpressionRules, "many-rules", func(c *Case, f *v1alpha1.Federation) {
			for i := range 21 {
				f.Spec.Rules = append(f.Spec.Rules, expressionRule(fmt.Sprintf("rule-%d", i), "true"))
			}
			c.Unreachable = schema
		}, `spec.rules: Too many: 21: must have at most 20 items`),
		define(rules.ExpressionRules, "harder-than-all", func(c *Case, f *v1alpha1.Federation) {
			f.Spec.Enforcement = v1alpha1.EnforceWarn
			f.Spec.Rules = []v1alpha1.Rule{{Name: "teamed", Expression: teamed, Enforcement: v1alpha1.EnforceDeny}}
			c.Warnings = []string{"spec.rules[0].enforcement: it only warns, as all rules of this federation do"}
		}),
		change(rules.ExpressionRules, "bad-expression-before", func(_ set, before, after *v1alpha1.Federation) {
			before.Spec.Rules = []v1alpha1.Rule{expressionRule("bad", "nonsense")}
			after.Spec.Rules = before.Spec.Rules
			after.Spec.Description = "a word about it"
		}),
	}
}

// stricter are the cases of members that a change of expressions is judged by.
func stricter() []Case {
	web := label(team, "web")
	one := func(expression string) []v1alpha1.Rule { return []v1alpha1.Rule{expressionRule("one", expression)} }
	const hard = `Forbidden: members break the rules above: keep Warn, change the members, then set Deny`
	return []Case{
		change(rules.MembersKeepRules, "express-kept", func(s set, _, after *v1alpha1.Federation) {
			s.others(3, web)
			after.Spec.Rules = []v1alpha1.Rule{expressionRule("teamed", teamed), expressionRule("east", east), expressionRule("never", "oldCluster != null")}
		}),
		change(rules.MembersKeepRules, "express-broken", func(s set, _, after *v1alpha1.Federation) {
			s.others(9, web)
			delete(s.Members[8].Labels, team)
			delete(s.Members[7].Labels, team)
			s.Members[6].Spec.JoinedWith = nil
			after.Spec.Rules = []v1alpha1.Rule{
				expressionRule("teamed", "cluster.labels['example.com/team'] == 'core'"),
				expressionRule("named", "cluster.labels[cluster.name] == ''"),
				expressionRule("east", east),
				{Name: "softly", Expression: "cluster.name != 'express-broken-a'", Enforcement: v1alpha1.EnforceWarn},
			}
			s.Warnings = []string{
				`spec.rules: 1 member cannot be judged: express-broken-g; rule "east" of federation "express-broken" was not evaluated:`,
				`  cluster.facts.regions is not known`,
				`spec.rules: 1 member would break it: express-broken-a; rule "softly" of federation "express-broken" is violated:`,
				`  cluster.name != 'express-broken-a'`,
			}
		},
			`spec.rules: Forbidden: 9 members would break it: express-broken-a, express-broken-b, express-broken-c, express-broken-d, express-broken-e and 4 more; rule "named" of federation "express-broken" could not be evaluated: no such key: express-broken-a`,
			`spec.rules: Forbidden: 9 members would break it: express-broken-a, express-broken-b, express-broken-c, express-broken-d, express-broken-e and 4 more; rule "teamed" of federation "express-broken" is violated: cluster.labels['example.com/team'] == 'core'`),
		change(rules.MembersKeepRules, "express-seen", func(s set, _, after *v1alpha1.Federation) {
			s.others(3, nil)
			seen("v1.36.3", "eu-west-1", "eu-west-1a")(s.Members[0])
			s.Members[1].Spec.JoinedWith.Regions = []string{"eu-west-1"}
			seen("v1.36.3", "us-west-2", "us-west-2a")(s.Members[1])
			after.Spec.Rules = one(east)
		}, `spec.rules: Forbidden: 1 member would break it: express-seen-a; rule "one" of federation "express-seen" is violated: `+east),
		change(rules.MembersKeepRules, "express-softly", func(s set, _, after *v1alpha1.Federation) {
			s.others(1, nil)
			after.Spec.Enforcement = v1alpha1.EnforceWarn
			after.Spec.Rules = one("cluster.name == 'x'")
			s.Warnings = []string{
				`spec.rules: Forbidden: 1 member would break it: express-softly-a; rule "one" of federation "express-softly" is violated:`,
				`  cluster.name == 'x'`,
			}
		}),
		change(rules.MembersKeepRules, "express-already", func(s set, before, after *v1alpha1.Federation) {
			s.others(2, nil)
			before.Spec.Rules = []v1alpha1.Rule{expressionRule("one", "cluster.name == 'x'"), expressionRule("two", "cluster.name == 'y'"), expressionRule("bad", "nonsense")}
			after.Spec.Rules = []v1alpha1.Rule{expressionRule("two", "cluster.name == 'z' && cluster.name != ''"), before.Spec.Rules[0], before.Spec.Rules[2]}
		}),
		change(rules.MembersKeepRules, "express-changed", func(s set, before, after *v1alpha1.Federation) {
			s.others(2, nil)
			before.Spec.Rules = one("cluster.name != 'express-changed-a'")
			after.Spec.Rules = one("cluster.name.startsWith('x')")
		}, `spec.rules: Forbidden: 1 member would break it: express-changed-b; rule "one" of federation "express-changed" is violated: cluster.name.startsWith('x')`),
		change(rules.MembersKeepRules, "express-by-federation", func(s set, before, after *v1alpha1.Federation) {
			s.others(1, nil)
			before.Spec.Description = "any"
			before.Spec.Rules = one("federation.spec.description == 'any'")
			after.Spec.Rules = before.Spec.Rules
			after.Spec.Description = "none"
		}, `spec.rules: Forbidden: 1 member would break it: express-by-federation-a; rule "one" of federation "express-by-federation" is violated: federation.spec.description == 'any'`),
		change(rules.MembersKeepRules, "express-hardened", func(s set, before, after *v1alpha1.Federation) {
			s.others(1, nil)
			before.Spec.Enforcement = v1alpha1.EnforceWarn
			before.Spec.Rules = append(one("cluster.name == 'x'"), v1alpha1.Rule{Name: "soft", Expression: "cluster.name == 'y'", Enforcement: v1alpha1.EnforceWarn})
			after.Spec.Rules = before.Spec.Rules
			s.Warnings = []string{
				`spec.rules: 1 member would break it: express-hardened-a; rule "soft" of federation "express-hardened" is violated:`,
				`  cluster.name == 'y'`,
			}
		},
			`spec.rules: Forbidden: 1 member would break it: express-hardened-a; rule "one" of federation "express-hardened" is violated: cluster.name == 'x'`,
			`spec.enforcement: `+hard),
		change(rules.MembersKeepRules, "express-rule-hardened", func(s set, before, after *v1alpha1.Federation) {
			s.others(1, nil)
			before.Spec.Rules = []v1alpha1.Rule{{Name: "one", Expression: "cluster.name == 'x'", Enforcement: v1alpha1.EnforceWarn}}
			after.Spec.Rules = one("cluster.name == 'x'")
		}, `spec.rules: Forbidden: 1 member would break it: express-rule-hardened-a; rule "one" of federation "express-rule-hardened" is violated: cluster.name == 'x'`),
	}
}
