package member

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// rights are the rules of a role, one line per verb, resource and name.
func rights(t *testing.T, rules any) []string {
	t.Helper()
	raw, err := json.Marshal(rules)
	if err != nil {
		t.Fatal(err)
	}
	var parsed []struct{ APIGroups, Resources, Verbs, ResourceNames []string }
	if err := json.Unmarshal(raw, &parsed); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, r := range parsed {
		for _, verb := range r.Verbs {
			lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s %s/%s %s", verb, strings.Join(r.APIGroups, "+"), strings.Join(r.Resources, "+"), strings.Join(r.ResourceNames, "+"))))
		}
	}
	slices.Sort(lines)
	return lines
}

// TestManagerRights pins the complete list of the rights that join grants. A right more is a right that a
// stolen credential gives.
func TestManagerRights(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		grants Grants
		want   []string
	}{
		{"without the About API", Grants{AccessRole: "view"}, []string{
			"create /serviceaccounts/token kubefederate-manager+kubefederate-consumer",
			"delete about.k8s.io/clusterproperties cluster.clusterset.k8s.io+clusterset.k8s.io",
			"get /configmaps membership",
			"get /namespaces kube-system",
			"get about.k8s.io/clusterproperties cluster.clusterset.k8s.io+clusterset.k8s.io",
			"list /nodes",
			"update about.k8s.io/clusterproperties cluster.clusterset.k8s.io+clusterset.k8s.io",
		}},
		{"with the About API", Grants{Properties: true}, []string{
			"create /serviceaccounts/token kubefederate-manager+kubefederate-consumer",
			"create about.k8s.io/clusterproperties",
			"delete about.k8s.io/clusterproperties cluster.clusterset.k8s.io+clusterset.k8s.io",
			"get /configmaps membership",
			"get /namespaces kube-system",
			"get about.k8s.io/clusterproperties cluster.clusterset.k8s.io+clusterset.k8s.io",
			"list /nodes",
			"update about.k8s.io/clusterproperties cluster.clusterset.k8s.io+clusterset.k8s.io",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var granted []any
			for _, o := range tt.grants.BaseObjects() {
				if rules, ok := o.Manifest.Object["rules"].([]any); ok {
					granted = append(granted, rules...)
				}
			}
			if got := rights(t, granted); !slices.Equal(got, tt.want) {
				t.Errorf("granted:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
			// What is asked for before anything is written is what is granted.
			asked := map[string][]string{}
			for _, r := range tt.grants.Given() {
				key := r.Verb + " " + r.Resource.Group + "/" + r.Resource.Resource
				if r.Subresource != "" {
					key += "/" + r.Subresource
				}
				asked[key] = append(asked[key], r.Name)
			}
			var got []string
			for key, names := range asked {
				got = append(got, strings.TrimSpace(key+" "+strings.Join(names, "+")))
			}
			slices.Sort(got)
			if !slices.Equal(got, tt.want) {
				t.Errorf("asked for:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

// TestConsumerExistsOnlyForAccess shows that nothing of the consumer is there when a federation gives no access.
func TestConsumerExistsOnlyForAccess(t *testing.T) {
	t.Parallel()
	count := func(g Grants) (n int) {
		for _, o := range append(g.BaseObjects(), g.Bindings()...) {
			if slices.Contains(ConsumerRefs(), o.Ref) {
				n++
			}
		}
		return n
	}
	if got := count(Grants{}); got != 0 {
		t.Errorf("without access %d objects of the consumer", got)
	}
	if got := count(Grants{AccessRole: "view"}); got != len(ConsumerRefs()) {
		t.Errorf("with access %d objects of the consumer, want %d", got, len(ConsumerRefs()))
	}
}

func TestTopology(t *testing.T) {
	t.Parallel()
	const region, zone = "topology.kubernetes.io/region", "topology.kubernetes.io/zone"
	const oldRegion, oldZone = "failure-domain.beta.kubernetes.io/region", "failure-domain.beta.kubernetes.io/zone"
	for _, tt := range []struct {
		name  string
		nodes []map[string]string
		want  string
	}{
		{"no nodes", nil, "[] [] / 0"},
		{"all agree", []map[string]string{{region: "r1", zone: "a"}, {region: "r1", zone: "a"}}, "[r1] [a] r1/a 2"},
		{"zones differ", []map[string]string{{region: "r1", zone: "b"}, {region: "r1", zone: "a"}}, "[r1] [a b] r1/ 2"},
		{"one says nothing", []map[string]string{{region: "r1", zone: "a"}, {}}, "[r1] [a] / 2"},
		{"old labels", []map[string]string{{oldRegion: "r1", oldZone: "a"}, {region: "r1", zone: "a"}}, "[r1] [a] r1/a 2"},
		{"the new label wins", []map[string]string{{oldRegion: "old", region: "r1"}}, "[r1] [] r1/ 1"},
	} {
		got := TopologyOf(tt.nodes)
		if s := fmt.Sprintf("%v %v %s/%s %d", got.Regions, got.Zones, got.Region, got.Zone, got.Nodes); s != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, s, tt.want)
		}
	}
}

// TestLifetimeOf reads from the policy what it was made with, and nothing from one that is not of a join.
func TestLifetimeOf(t *testing.T) {
	t.Parallel()
	for _, life := range []time.Duration{MinTokenLifetime, 7 * 24 * time.Hour, MaxTokenLifetime} {
		policy := Grants{TokenLifetime: life}.Policy()[1].Manifest
		if got := LifetimeOf(policy); got != life {
			t.Errorf("%s is read as %s", life, got)
		}
		policy.SetLabels(nil)
		if got := LifetimeOf(policy); got != 0 {
			t.Errorf("the policy of others says %s", got)
		}
	}
	for _, life := range []time.Duration{time.Minute, 2 * MaxTokenLifetime} {
		if got := LifetimeOf(Grants{TokenLifetime: life}.Policy()[1].Manifest); got != 0 {
			t.Errorf("%s, which no join asks for, is read as %s", life, got)
		}
	}
	if LifetimeOf(nil) != 0 {
		t.Error("no policy has a lifetime")
	}
}
