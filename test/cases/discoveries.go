package cases

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
)

// discoveries are the cases of what clusters are discovered by.
func discoveries() []Case {
	from := func(f *v1alpha1.Federation, change func(*v1alpha1.DiscoverySource)) *v1alpha1.Discovery {
		source := v1alpha1.DiscoverySource{Kind: "ClusterAPI", Namespaces: []string{"team-x"}}
		change(&source)
		f.Spec.Discovery = &v1alpha1.Discovery{
			Acceptance: v1alpha1.DiscoveryManual, WhenGone: v1alpha1.GoneKeep,
			Sources: []v1alpha1.DiscoverySource{source}, Endpoints: []string{".example.com"},
		}
		return f.Spec.Discovery
	}
	const qualified = `name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')`
	return []Case{
		define(rules.DiscoverySources, "discovering", func(_ *Case, f *v1alpha1.Federation) {
			d := from(f, func(source *v1alpha1.DiscoverySource) {
				source.MemberLabels = []string{"env", team}
				source.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"env": "prod"},
					MatchExpressions: []metav1.LabelSelectorRequirement{{Key: team, Operator: metav1.LabelSelectorOpExists}}}
			})
			d.WhenGone, d.GonePatience = v1alpha1.GoneLeave, "2h"
		}),
		define(rules.DiscoverySources, "discovering-anywhere", func(_ *Case, f *v1alpha1.Federation) {
			d := from(f, func(source *v1alpha1.DiscoverySource) { source.Namespaces = nil })
			d.Sources = append(d.Sources, v1alpha1.DiscoverySource{Name: "hub", Kind: v1alpha1.SourceOpenClusterManagement})
		},
			`spec.discovery.sources[0].namespaces: Required value: name them: who may write in one can ask for membership`),
		define(rules.DiscoverySources, "bad-member-labels", func(_ *Case, f *v1alpha1.Federation) {
			from(f, func(source *v1alpha1.DiscoverySource) {
				source.MemberLabels = []string{"a b", "kubefederate.io/federation"}
			})
		},
			`spec.discovery.sources[0].memberLabels[0]: Invalid value: "a b": `+qualified,
			`spec.discovery.sources[0].memberLabels[1]: Invalid value: "kubefederate.io/federation": keys under kubefederate.io/ are reserved`),
		define(rules.DiscoverySources, "bad-selectors", func(_ *Case, f *v1alpha1.Federation) {
			from(f, func(source *v1alpha1.DiscoverySource) {
				source.Selector = &metav1.LabelSelector{
					MatchLabels: map[string]string{"c d": "x", "a b": "x"},
					MatchExpressions: []metav1.LabelSelectorRequirement{
						{Key: "env", Operator: "Is"},
						{Key: "env", Operator: metav1.LabelSelectorOpIn},
					},
				}
			})
		},
			`spec.discovery.sources[0].selector.matchExpressions[0].operator: Invalid value: "Is": not a valid selector operator`,
			`spec.discovery.sources[0].selector.matchExpressions[1].values: Required value: must be specified when `+"`operator` is 'In' or 'NotIn'",
			`spec.discovery.sources[0].selector.matchLabels: Invalid value: "a b": `+qualified,
			`spec.discovery.sources[0].selector.matchLabels: Invalid value: "c d": `+qualified),
		define(rules.DiscoverySources, "discovering-keys", func(_ *Case, f *v1alpha1.Federation) {
			from(f, func(source *v1alpha1.DiscoverySource) {
				source.Kind, source.Namespaces = "Secret", []string{"team-x", v1alpha1.CredentialsNamespace}
			})
		},
			`spec.discovery.sources[0].namespaces[1]: Forbidden: namespace "kubefederate-credentials" holds keys of this host`),
		define(rules.DiscoverySources, "useless-patience", func(c *Case, f *v1alpha1.Federation) {
			from(f, func(*v1alpha1.DiscoverySource) {}).GonePatience = "2h"
			c.Warnings = []string{"spec.discovery.gonePatience: nothing waits for it: members leave only with whenGone Leave"}
		}),
		change(rules.DiscoverySources, "bad-discovery-before", func(_ set, before, after *v1alpha1.Federation) {
			from(before, func(source *v1alpha1.DiscoverySource) { source.MemberLabels = []string{"a b"} })
			after.Spec = *before.Spec.DeepCopy()
			after.Spec.Description = "a word about it"
		}),
	}
}
