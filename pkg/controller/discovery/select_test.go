package discovery

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/discover"
)

// candidateOf is a candidate of Cluster API, with the name "a", whose object has labels.
func candidateOf(namespace string, labels map[string]string) discover.Candidate {
	const name = "a"
	return discover.Candidate{
		Source: discover.FromClusterAPI, Name: namespace + "/" + name, Labels: labels,
		Secret: cluster.Ref{Resource: cluster.Secrets, Namespace: namespace, Name: name + "-kubeconfig"},
		Objects: []discover.Object{{
			Ref: cluster.Ref{Namespace: namespace, Name: name}, UID: types.UID("uid-" + name), JoinRequest: v1alpha1.FederationName(labels[v1alpha1.LabelFederation]),
		}},
	}
}

func federationOf(name string, sources ...v1alpha1.DiscoverySource) *v1alpha1.Federation {
	return &v1alpha1.Federation{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name)}, Spec: v1alpha1.FederationSpec{
		Discovery: &v1alpha1.Discovery{Sources: sources, Endpoints: []string{"*"}},
	}}
}

// TestRequestOf holds what an object may ask for.
func TestRequestOf(t *testing.T) {
	t.Parallel()
	prod := federationOf("prod",
		v1alpha1.DiscoverySource{Name: "edge", Kind: v1alpha1.SourceClusterAPI, Namespaces: []string{"team-x"},
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"env": "edge"}}, MemberLabels: []string{"env"}},
		v1alpha1.DiscoverySource{Kind: v1alpha1.SourceClusterAPI, Namespaces: []string{"team-x", "team-y"},
			Selector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "env", Operator: metav1.LabelSelectorOpExists}}}},
		v1alpha1.DiscoverySource{Name: "rancher", Kind: v1alpha1.SourceRancher, Namespaces: []string{"team-z"}},
		v1alpha1.DiscoverySource{Name: "broken", Kind: v1alpha1.SourceClusterAPI, Namespaces: []string{"team-b"},
			Selector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "env", Operator: "Like"}}}},
	)
	leaving := federationOf("leaving", v1alpha1.DiscoverySource{Kind: v1alpha1.SourceClusterAPI, Namespaces: []string{"team-x"}})
	leaving.DeletionTimestamp = &metav1.Time{}
	federations := map[v1alpha1.FederationName]*v1alpha1.Federation{
		"prod": prod, "leaving": leaving, "persons": {ObjectMeta: metav1.ObjectMeta{Name: "persons"}},
	}
	label := func(federation, env string) map[string]string {
		labels := map[string]string{v1alpha1.LabelFederation: federation, "team": "x"}
		if env != "" {
			labels["env"] = env
		}
		return labels
	}
	for name, c := range map[string]struct {
		namespace string
		labels    map[string]string
		// source is the index of the source that takes it; -1 is none.
		source int
	}{
		"the first source":              {"team-x", label("prod", "edge"), 0},
		"the second":                    {"team-x", label("prod", "test"), 1},
		"in another namespace of it":    {"team-y", label("prod", "edge"), 1},
		"a label that none selects":     {"team-x", label("prod", ""), -1},
		"a namespace that is not named": {"team-w", label("prod", "edge"), -1},
		"one that is named for others":  {"team-z", label("prod", "edge"), -1},
		"a selector that cannot be":     {"team-b", label("prod", "edge"), -1},
		"no label":                      {"team-x", map[string]string{"env": "edge"}, -1},
		"no such federation":            {"team-x", label("prdo", "edge"), -1},
		"one without discovery":         {"team-x", label("persons", "edge"), -1},
		"one that goes":                 {"team-x", label("leaving", "edge"), -1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			candidate := candidateOf(c.namespace, c.labels)
			got := -1
			if r := requestOf(federations, &candidate); r != nil {
				for i := range prod.Spec.Discovery.Sources {
					if r.source == &prod.Spec.Discovery.Sources[i] {
						got = i
					}
				}
			}
			if got != c.source {
				t.Errorf("source %d, want %d", got, c.source)
			}
		})
	}
}

// TestNamespaceOf holds that an object of the whole host counts for the namespace of its credential: who may write there says what
// the cluster is.
func TestNamespaceOf(t *testing.T) {
	t.Parallel()
	c := discover.Candidate{
		Objects: []discover.Object{{Ref: cluster.Ref{Name: "c-abcde"}}, {Ref: cluster.Ref{Namespace: "fleet-default", Name: "a"}}},
		Secret:  cluster.Ref{Namespace: "elsewhere"},
	}
	if got := namespaceOf(&c); got != "fleet-default" {
		t.Errorf("with an object in it: %q", got)
	}
	c.Objects = c.Objects[:1]
	if got := namespaceOf(&c); got != "elsewhere" {
		t.Errorf("without: %q", got)
	}
}

// TestMemberLabels holds that a member gets the labels that its federation names and the object has, and none of this project's.
func TestMemberLabels(t *testing.T) {
	t.Parallel()
	c := candidateOf("team-x", map[string]string{v1alpha1.LabelFederation: "prod", "env": "edge", "other": "1", "kubefederate.io/inventory": "x"})
	r := &request{source: &v1alpha1.DiscoverySource{MemberLabels: []string{"env", "missing", v1alpha1.LabelFederation, "kubefederate.io/inventory"}}}
	if diff := cmp.Diff(map[string]string{"env": "edge"}, r.memberLabels(&c)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
