package cases

import (
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
)

func federations() []Case {
	const (
		qualified = `name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')`
		value     = `a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')`
	)
	return []Case{
		remove(rules.FederationEmpty, "deserted", func(set, *v1alpha1.Federation) {}),
		remove(rules.FederationEmpty, "peopled", func(s set, _ *v1alpha1.Federation) { s.others(2, nil) },
			`metadata.name: Forbidden: federation "peopled" has 2 members: peopled-a, peopled-b; unjoin them first: kubectl federate unjoin peopled-a peopled-b`),
		remove(rules.FederationEmpty, "crowded", func(s set, _ *v1alpha1.Federation) { s.others(7, nil) },
			`metadata.name: Forbidden: federation "crowded" has 7 members: crowded-a, crowded-b, crowded-c, crowded-d, crowded-e and 2 more; unjoin them first: kubectl federate unjoin NAME...`),

		define(rules.ReservedKeys, "foreign-keys", func(_ *Case, f *v1alpha1.Federation) {
			f.Labels = map[string]string{"example.com/federation": "x"}
			f.Annotations = map[string]string{"kubefederate.example.com/note": "x"}
		}),
		define(rules.ReservedKeys, "own-keys", func(_ *Case, f *v1alpha1.Federation) {
			f.Labels = map[string]string{"kubefederate.io/federation": "own-keys", "example.com/x": "y"}
			f.Annotations = map[string]string{"kubefederate.io/note": "x"}
		},
			`metadata.labels: Invalid value: "kubefederate.io/federation": keys under kubefederate.io/ are reserved; none is defined here`,
			`metadata.annotations: Invalid value: "kubefederate.io/note": keys under kubefederate.io/ are reserved; none is defined here`),

		define(rules.LabelRules, "good-rules", func(_ *Case, f *v1alpha1.Federation) {
			f.Spec.Labels = []v1alpha1.LabelRule{
				{Key: rules.LabelRegion, Required: true, Values: []string{"us-east-1", ""}, Immutable: true},
				{Key: team, Pattern: "[a-z]+"},
			}
		}),
		define(rules.LabelRules, "bad-keys", func(_ *Case, f *v1alpha1.Federation) {
			f.Spec.Labels = []v1alpha1.LabelRule{
				{Key: "a b", Required: true},
				{Key: "kubefederate.io/federation", Values: []string{"x"}},
				{Key: team, Values: []string{"a b"}},
			}
		},
			`spec.labels[0].key: Invalid value: "a b": `+qualified,
			`spec.labels[1].key: Invalid value: "kubefederate.io/federation": keys under kubefederate.io/ are reserved`,
			`spec.labels[2].values[0]: Invalid value: "a b": `+value),
		define(rules.LabelRules, "twice", func(c *Case, f *v1alpha1.Federation) {
			f.Spec.Labels = []v1alpha1.LabelRule{{Key: team, Required: true}, {Key: team, Values: []string{"a", "a"}}}
			c.Unreachable = schema
		},
			`spec.labels[1].key: Duplicate value: "example.com/team"`,
			`spec.labels[1].values[1]: Duplicate value: "a"`),
		define(rules.LabelRules, "bad-patterns", func(_ *Case, f *v1alpha1.Federation) {
			f.Spec.Labels = []v1alpha1.LabelRule{
				{Key: "a", Pattern: "ok[a-z"},
				{Key: "b", Pattern: "a)|(b"},
				{Key: "c", Pattern: "x{2,1}"},
				{Key: "d", Pattern: `a(?=b)`},
				{Key: "e", Pattern: "[a-z]+", Values: []string{"A", "B"}},
			}
		},
			`spec.labels[0].pattern: Invalid value: "ok[a-z": at character 3: missing closing ]: "[a-z"`,
			`spec.labels[1].pattern: Invalid value: "a)|(b": at character 1: unexpected ): "a)|(b"`,
			`spec.labels[2].pattern: Invalid value: "x{2,1}": at character 2: invalid repeat count: "{2,1}"`,
			`spec.labels[3].pattern: Invalid value: "a(?=b)": at character 2: invalid or unsupported Perl syntax: "(?="`,
			`spec.labels[4].pattern: Invalid value: "[a-z]+": it matches none of the values, so no member can keep this rule`),
		define(rules.LabelRules, "no-rule", func(c *Case, f *v1alpha1.Federation) {
			f.Spec.Labels = []v1alpha1.LabelRule{{Key: team, Message: "hello"}}
			c.Warnings = []string{"spec.labels[0]: the rule on example.com/team asks for nothing"}
		}),
		change(rules.LabelRules, "bad-before", func(_ set, before, after *v1alpha1.Federation) {
			before.Spec.Labels = []v1alpha1.LabelRule{{Key: team, Pattern: "["}}
			after.Spec = *before.Spec.DeepCopy()
			after.Spec.Description = "a word about it"
		}),

		define(rules.LimitRules, "good-limits", func(_ *Case, f *v1alpha1.Federation) {
			f.Spec.Limits = []v1alpha1.Limit{{Max: 500}, {PerLabel: rules.LabelRegion, Max: 100}}
		}),
		define(rules.LimitRules, "bad-limits", func(_ *Case, f *v1alpha1.Federation) {
			f.Spec.Limits = []v1alpha1.Limit{{PerLabel: "kubefederate.io/federation", Max: 1}, {PerLabel: "a b", Max: 1}}
		},
			`spec.limits[0].perLabel: Invalid value: "kubefederate.io/federation": keys under kubefederate.io/ are reserved`,
			`spec.limits[1].perLabel: Invalid value: "a b": `+qualified),
		define(rules.LimitRules, "impossible-limits", func(c *Case, f *v1alpha1.Federation) {
			f.Spec.Limits = []v1alpha1.Limit{{Max: -1}, {Max: 2}}
			c.Unreachable = schema
		},
			`spec.limits[0].max: Invalid value: -1: it must not be negative`,
			`spec.limits[1].perLabel: Duplicate value: ""`),
		define(rules.LimitRules, "useless-limit", func(c *Case, f *v1alpha1.Federation) {
			f.Spec.Limits = []v1alpha1.Limit{{PerLabel: rules.LabelRegion, Max: 100}, {Max: 50}}
			c.Warnings = []string{"spec.limits[0].max: 100 is more than the 50 that all members together may be"}
		}),

		define(rules.VersionRange, "good-range", func(_ *Case, f *v1alpha1.Federation) { f.Spec.KubernetesVersions = ">=1.33, <1.38 !=1.36.0" }),
		define(rules.VersionRange, "bad-range", func(_ *Case, f *v1alpha1.Federation) { f.Spec.KubernetesVersions = ">=1.33 <1.x" },
			`spec.kubernetesVersions: Invalid value: ">=1.33 <1.x": at character 8: "1.x" is not a version; write it as in >=1.33 or <1.37.2`),
		define(rules.VersionRange, "spaced-range", func(_ *Case, f *v1alpha1.Federation) { f.Spec.KubernetesVersions = ">= 1.33" },
			`spec.kubernetesVersions: Invalid value: ">= 1.33": at character 1: ">=" has no version; write it without a space, as in >=1.33`),
		define(rules.VersionRange, "empty-range", func(_ *Case, f *v1alpha1.Federation) { f.Spec.KubernetesVersions = ">1.36 <1.37" },
			`spec.kubernetesVersions: Invalid value: ">1.36 <1.37": no version is in this range`),

		define(rules.AccessRole, "viewers", func(_ *Case, f *v1alpha1.Federation) { f.Spec.Access = &v1alpha1.Access{ClusterRole: "system:view"} }),
		define(rules.AccessRole, "bad-role", func(_ *Case, f *v1alpha1.Federation) { f.Spec.Access = &v1alpha1.Access{ClusterRole: "a/b"} },
			`spec.access.clusterRole: Invalid value: "a/b": may not contain '/'; it names no ClusterRole`),
		define(rules.AccessRole, "admins", func(c *Case, f *v1alpha1.Federation) {
			f.Spec.Access = &v1alpha1.Access{ClusterRole: "cluster-admin"}
			c.Warnings = []string{"spec.access.clusterRole: every reader of the inventory rules every member with cluster-admin"}
		}),
	}
}

func tightening() []Case {
	region := []v1alpha1.LabelRule{{Key: rules.LabelRegion, Required: true, Values: []string{"us-east-1"}}}
	return []Case{
		change(rules.MembersKeepRules, "kept", func(s set, _, after *v1alpha1.Federation) {
			s.others(3, label(rules.LabelRegion, "us-east-1"))
			after.Spec.Labels = region
			after.Spec.Limits = []v1alpha1.Limit{{Max: 3}, {PerLabel: rules.LabelRegion, Max: 3}}
			after.Spec.KubernetesVersions = "=1.36"
		}),
		change(rules.MembersKeepRules, "broken", func(s set, before, after *v1alpha1.Federation) {
			s.others(7, nil)
			s.Members[6].Labels[rules.LabelRegion] = "us-east-2"
			s.Members[6].Spec.InsecureSkipTLSVerify = true
			before.Spec.AllowInsecureTLS = true
			before.Spec.Limits = []v1alpha1.Limit{{Max: 10}}
			after.Spec.Labels = region
			after.Spec.Limits = []v1alpha1.Limit{{Max: 6}, {PerLabel: rules.LabelRegion, Max: 0}}
			after.Spec.KubernetesVersions = ">=1.37"
		},
			`spec.labels: Forbidden: 1 member would break it: broken-g; metadata.labels[topology.kubernetes.io/region]: Unsupported value: "us-east-2": supported values: "us-east-1"`,
			`spec.labels: Forbidden: 6 members would break it: broken-a, broken-b, broken-c, broken-d, broken-e and 1 more; metadata.labels[topology.kubernetes.io/region]: Required value: is required by federation "broken"; supported values: "us-east-1"`,
			`spec.limits: Forbidden: 7 members would break it: broken-a, broken-b, broken-c, broken-d, broken-e and 2 more; federation "broken" has 7 members and takes at most 6`,
			`spec.limits: Forbidden: 1 member would break it: broken-g; federation "broken" has 1 member with topology.kubernetes.io/region=us-east-2 and takes at most 0`,
			`spec.kubernetesVersions: Forbidden: 7 members would break it: broken-a, broken-b, broken-c, broken-d, broken-e and 2 more; spec.joinedWith.kubernetesVersion: Invalid value: "v1.36.3": federation "broken" takes >=1.37`,
			`spec.allowInsecureTLS: Forbidden: 1 member would break it: broken-g; federation "broken" does not allow it; give spec.caBundle instead`),
		change(rules.MembersKeepRules, "broken-softly", func(s set, _, after *v1alpha1.Federation) {
			s.others(1, nil)
			after.Spec.Labels = region
			after.Spec.Enforcement = v1alpha1.EnforceWarn
			s.Warnings = []string{
				`spec.labels: Forbidden: 1 member would break it: broken-softly-a; metadata.labels[topology.kubernetes.io/region]:`,
				`  Required value: is required by federation "broken-softly"; supported values: "us-east-1"`,
			}
		}),
		change(rules.MembersKeepRules, "broken-already", func(s set, before, after *v1alpha1.Federation) {
			s.others(2, nil)
			before.Spec.Labels = region
			before.Spec.Limits = []v1alpha1.Limit{{Max: 1}}
			after.Spec.Labels = append([]v1alpha1.LabelRule{{Key: team, Pattern: "[a-z]+"}}, region...)
			after.Spec.Limits = before.Spec.Limits
		}),
		change(rules.MembersKeepRules, "hardened", func(s set, before, after *v1alpha1.Federation) {
			s.others(1, nil)
			before.Spec.Labels, after.Spec.Labels = region, region
			before.Spec.Enforcement = v1alpha1.EnforceWarn
		},
			`spec.labels: Forbidden: 1 member would break it: hardened-a; metadata.labels[topology.kubernetes.io/region]: Required value: is required by federation "hardened"; supported values: "us-east-1"`,
			`spec.enforcement: Forbidden: members break the rules above: keep Warn, change the members, then set Deny`),
		change(rules.MembersKeepRules, "hardened-fixed", func(s set, before, after *v1alpha1.Federation) {
			s.others(1, label(rules.LabelRegion, "us-east-1"))
			before.Spec.Labels, after.Spec.Labels = region, region
			before.Spec.Enforcement = v1alpha1.EnforceWarn
		}),
		change(rules.MembersKeepRules, "seen-newer", func(s set, _, after *v1alpha1.Federation) {
			s.others(2, seen("v1.37.1", "us-east-1", "us-east-1a"))
			after.Spec.KubernetesVersions = ">=1.37"
		}),
		change(rules.MembersKeepRules, "seen-older", func(s set, _, after *v1alpha1.Federation) {
			s.others(2, nil)
			seen("v1.35.9", "us-east-1", "us-east-1a")(s.Members[1])
			after.Spec.KubernetesVersions = ">=1.36"
		}, `spec.kubernetesVersions: Forbidden: 1 member would break it: seen-older-b; status.facts.kubernetesVersion: Invalid value: "v1.35.9": federation "seen-older" takes >=1.36`),
		change(rules.MembersKeepRules, "facts-unknown", func(s set, _, after *v1alpha1.Federation) {
			s.others(1, func(m *v1alpha1.MemberCluster) { m.Spec.JoinedWith = nil })
			after.Spec.KubernetesVersions = ">=1.37"
			s.Warnings = []string{
				`spec.kubernetesVersions: 1 member cannot be judged: facts-unknown-a; the version is unknown; federation "facts-unknown"`,
				`  takes >=1.37`,
			}
		}),
		change(rules.MembersKeepRules, "over-already", func(s set, before, after *v1alpha1.Federation) {
			s.others(3, nil)
			before.Spec.Limits = []v1alpha1.Limit{{Max: 2}}
			after.Spec.Limits = []v1alpha1.Limit{{Max: 1}}
		}),
	}
}
