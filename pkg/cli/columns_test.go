package cli

import (
	"bytes"
	stdcmp "cmp"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
)

// noon is when the tests look.
var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) metav1.Time { return metav1.NewTime(noon.Add(-d)) }

const day = 24 * time.Hour

// ready is a member in good standing: a test states only what is amiss.
func ready(name string, change ...func(m *v1alpha1.MemberCluster)) *v1alpha1.MemberCluster {
	m := &v1alpha1.MemberCluster{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, UID: types.UID("uid-" + name), ResourceVersion: "1", CreationTimestamp: ago(4 * day),
			Labels: map[string]string{v1alpha1.LabelFederation: "prod", "example.com/team": "web"},
		},
		Spec: v1alpha1.MemberClusterSpec{
			ClusterID: "id-" + name, Server: "https://" + name + ".example.com:6443",
			JoinedWith: &v1alpha1.JoinFacts{KubernetesVersion: "v1.36.3", Regions: []string{"us-east-1"}, Zones: []string{"us-east-1a", "us-east-1b"}},
		},
		Status: v1alpha1.MemberClusterStatus{
			Phase: v1alpha1.PhaseReady, CredentialExpiry: new(metav1.NewTime(noon.Add(89*day + time.Hour))), LastProbeTime: new(ago(20 * time.Second)),
			Facts: &v1alpha1.Facts{
				JoinFacts: v1alpha1.JoinFacts{KubernetesVersion: "v1.37.0", Regions: []string{"us-east-1"}, Zones: []string{"us-east-1a", "us-east-1b"}},
				Nodes:     5,
				Capacity: corev1.ResourceList{
					corev1.ResourceCPU: resource.MustParse("40"), corev1.ResourceMemory: resource.MustParse("160Gi"), corev1.ResourcePods: resource.MustParse("550"),
				},
			},
			Conditions: []metav1.Condition{
				{Type: v1alpha1.ConditionAccepted, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonAccepted, LastTransitionTime: ago(4 * day),
					Message: "the cluster is a member of the federation"},
				{Type: v1alpha1.ConditionCredentialValid, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonCredentialStored, LastTransitionTime: ago(4 * day),
					Message: "a credential for the member's endpoint is stored"},
				{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: "Reachable", LastTransitionTime: ago(3 * day), Message: "the member answers"},
			},
		},
	}
	for _, c := range change {
		c(m)
	}
	return m
}

// condition puts a condition that began some time ago in the place of the one of its type.
func condition(kind string, status metav1.ConditionStatus, reason, message string, began time.Duration) func(m *v1alpha1.MemberCluster) {
	return func(m *v1alpha1.MemberCluster) {
		for i := range m.Status.Conditions {
			if c := &m.Status.Conditions[i]; c.Type == kind {
				c.Status, c.Reason, c.Message, c.LastTransitionTime = status, reason, message, ago(began)
			}
		}
	}
}

func phase(p v1alpha1.Phase) func(m *v1alpha1.MemberCluster) {
	return func(m *v1alpha1.MemberCluster) { m.Status.Phase = p }
}

func expires(in time.Duration) func(m *v1alpha1.MemberCluster) {
	return func(m *v1alpha1.MemberCluster) { m.Status.CredentialExpiry = new(metav1.NewTime(noon.Add(in))) }
}

func inEdge(m *v1alpha1.MemberCluster) { m.Labels[v1alpha1.LabelFederation] = "edge" }

func at(regions, zones string) func(m *v1alpha1.MemberCluster) {
	return func(m *v1alpha1.MemberCluster) {
		m.Status.Facts.Regions, m.Status.Facts.Zones = strings.Fields(regions), strings.Fields(zones)
	}
}

func offline(m *v1alpha1.MemberCluster) {
	phase(v1alpha1.PhaseOffline)(m)
	condition(v1alpha1.ConditionReady, metav1.ConditionFalse, "Unreachable", "https://eu-west.example.com:6443: connection refused", 5*time.Minute)(m)
}

// unknown is a member that the manager has not probed: its labels are all that is known.
func unknown(m *v1alpha1.MemberCluster) {
	m.Spec.JoinedWith = nil
	m.Status = v1alpha1.MemberClusterStatus{}
}

// TestGet shows tables whole.
func TestGet(t *testing.T) {
	t.Parallel()
	fleet := []*v1alpha1.MemberCluster{
		ready("us-east"),
		ready("eu-west", inEdge, at("eu-west-1", "eu-west-1c eu-west-1a"), offline),
		ready("far", inEdge, at("ap-south-1 eu-west-1", "")),
		ready("new", unknown, func(m *v1alpha1.MemberCluster) {
			m.Labels["topology.kubernetes.io/region"], m.Labels["topology.kubernetes.io/zone"] = "us-west-2", "us-west-2a"
			m.CreationTimestamp = ago(2 * time.Second)
		}),
		ready("by-hand", unknown, phase(v1alpha1.PhaseJoining), func(m *v1alpha1.MemberCluster) {
			m.Spec.JoinedWith = &v1alpha1.JoinFacts{KubernetesVersion: "v1.33.1"}
			m.Status.Conditions = []metav1.Condition{
				{Type: v1alpha1.ConditionAccepted, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonAwaitingApproval},
				{Type: v1alpha1.ConditionCredentialValid, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonCredentialMissing, LastTransitionTime: ago(3 * time.Hour),
					Message: "no credential is stored: the join did not finish, or the Secret was deleted; store one: kubectl federate join by-hand --federation prod --member-context CONTEXT"},
			}
		}),
		ready("late", phase(v1alpha1.PhaseNotReady), expires(-3*time.Hour), condition(v1alpha1.ConditionCredentialValid, metav1.ConditionFalse, v1alpha1.ReasonCredentialExpired, "the stored\ncredential \x1b[31mended\u009b", 3*time.Hour)),
		ready("soon", expires(18*day), condition(v1alpha1.ConditionCredentialValid, metav1.ConditionTrue, v1alpha1.ReasonCredentialExpiring, "renew it", 8*time.Hour)),
		ready("leaving", func(m *v1alpha1.MemberCluster) {
			m.DeletionTimestamp, m.Finalizers = new(ago(time.Minute)), []string{"example.com/a", "example.com/b"}
		}),
		ready("unsure", phase(v1alpha1.PhaseNotReady), condition(v1alpha1.ConditionReady, metav1.ConditionUnknown, "Starting", "the first probe is under way", time.Second)),
	}
	for _, tt := range []struct {
		name  string
		typed string
		bare  bool
		want  string
	}{
		{name: "default", want: `
NAME      FEDERATION   PHASE      VERSION   REGION                 CREDENTIAL       AGE   CAUSE
us-east   prod         Ready      v1.37.0   us-east-1              89d              4d    
eu-west   edge         Offline    v1.37.0   eu-west-1              89d              4d    Unreachable (5m ago)
far       edge         Ready      v1.37.0   ap-south-1,eu-west-1   89d              4d    
new       prod         Unknown    <none>    us-west-2              <none>           2s    NotProbed (2s ago)
by-hand   prod         Joining    v1.33.1   <none>                 <none>           4d    CredentialMissing (3h ago)
late      prod         NotReady   v1.37.0   us-east-1              expired 3h ago   4d    CredentialExpired (3h ago)
soon      prod         Ready      v1.37.0   us-east-1              18d (rotate)     4d    CredentialExpiring
leaving   prod         Leaving    v1.37.0   us-east-1              89d              4d    Finalizers (60s ago)
unsure    prod         NotReady   v1.37.0   us-east-1              89d              4d    Starting (1s ago)
`},
		{name: "wide, no headers", typed: "wide", bare: true, want: `
us-east   prod   Ready      v1.37.0   us-east-1              89d              4d    us-east-1a,us-east-1b   5        20s      https://us-east.example.com:6443   id-us-east   
eu-west   edge   Offline    v1.37.0   eu-west-1              89d              4d    eu-west-1a,eu-west-1c   5        20s      https://eu-west.example.com:6443   id-eu-west   Unreachable (5m ago): https://eu-west.example.com:6443: connection refused
far       edge   Ready      v1.37.0   ap-south-1,eu-west-1   89d              4d    <none>                  5        20s      https://far.example.com:6443       id-far       
new       prod   Unknown    <none>    us-west-2              <none>           2s    us-west-2a              <none>   <none>   https://new.example.com:6443       id-new       NotProbed (2s ago): the manager has not probed it yet
by-hand   prod   Joining    v1.33.1   <none>                 <none>           4d    <none>                  <none>   <none>   https://by-hand.example.com:6443   id-by-hand   CredentialMissing (3h ago): no credential is stored: the join did not finish, or the Secret was deleted; store one: kubectl federate join by-hand --federation prod --member-context CONTEXT
late      prod   NotReady   v1.37.0   us-east-1              expired 3h ago   4d    us-east-1a,us-east-1b   5        20s      https://late.example.com:6443      id-late      CredentialExpired (3h ago): the stored credential \x1b[31mended\u009b
soon      prod   Ready      v1.37.0   us-east-1              18d (rotate)     4d    us-east-1a,us-east-1b   5        20s      https://soon.example.com:6443      id-soon      CredentialExpiring: renew it
leaving   prod   Leaving    v1.37.0   us-east-1              89d              4d    us-east-1a,us-east-1b   5        20s      https://leaving.example.com:6443   id-leaving   Finalizers (60s ago): waiting for its finalizers: example.com/a, example.com/b
unsure    prod   NotReady   v1.37.0   us-east-1              89d              4d    us-east-1a,us-east-1b   5        20s      https://unsure.example.com:6443    id-unsure    Starting (1s ago): the first probe is under way
`},
	} {
		o := &getOptions{getFlags: getFlags{noHeaders: tt.bare}, columns: columnsOf(tt.typed == "wide", false, nil)}
		rows := o.header()
		for _, m := range fleet {
			rows = append(rows, cells(m, o.columns, noon))
		}
		var out bytes.Buffer
		if err := output.Rows(&out, rows); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(strings.TrimPrefix(tt.want, "\n"), out.String()); diff != "" {
			t.Errorf("%s:\n%s", tt.name, diff)
		}
	}
	if got, want := cells(fleet[0], columnsOf(false, true, nil), noon)[len(columns)+1], "example.com/team=web,kubefederate.io/federation=prod"; got != want {
		t.Errorf("labels %q, want %q", got, want)
	}
}

// TestOrder sorts members by what may follow --sort-by.
func TestOrder(t *testing.T) {
	t.Parallel()
	version := func(v string) func(m *v1alpha1.MemberCluster) {
		return func(m *v1alpha1.MemberCluster) { m.Status.Facts.KubernetesVersion = v }
	}
	size := func(nodes int32, cpu string) func(m *v1alpha1.MemberCluster) {
		return func(m *v1alpha1.MemberCluster) {
			m.Status.Facts.Nodes = nodes
			m.Status.Facts.Capacity[corev1.ResourceCPU] = resource.MustParse(cpu)
		}
	}
	born := func(d time.Duration) func(m *v1alpha1.MemberCluster) {
		return func(m *v1alpha1.MemberCluster) { m.CreationTimestamp = ago(d) }
	}
	fleet := func() []*v1alpha1.MemberCluster {
		return []*v1alpha1.MemberCluster{
			ready("d", inEdge, version("v1.9.12"), size(3, "1500m"), born(day), expires(day), at("us-2", "")),
			ready("c", version("v1.10.2"), size(12, "96"), born(3*day), expires(3*day), offline, at("us-10", "")),
			ready("b", unknown, born(2*day)),
			ready("a", inEdge, version("v1.9.2"), size(100, "8"), born(4*day), expires(2*day), phase(v1alpha1.PhasePending)),
		}
	}
	for typed, want := range map[string]string{
		"":                                    "a d b c",
		"name":                                "a b c d",
		"NAME":                                "a b c d",
		"federation":                          "a d b c",
		"phase":                               "c b a d",
		"version":                             "a d c b",
		"region":                              "d c a b",
		"nodes":                               "d c a b",
		"credential":                          "d a c b",
		"age":                                 "d b c a",
		"cluster-id":                          "a b c d",
		"cause":                               "b c a d",
		".metadata.creationTimestamp":         "a c b d",
		"metadata.name":                       "a b c d",
		"{.metadata.name}":                    "a b c d",
		".status.facts.nodes":                 "d c a b",
		".status.facts.capacity.cpu":          "d a c b",
		".status.facts.kubernetesVersion":     "a d c b",
		".metadata.labels.example\\.com/team": "a d b c",
		".spec.joinedWith":                    "a d c b",
	} {
		by, err := parseOrder(typed)
		if err != nil {
			t.Errorf("%s: %v", typed, err)
			continue
		}
		members := fleet()
		if err := by.sort(members); err != nil {
			t.Errorf("%s: %v", typed, err)
		}
		var got []string
		for _, m := range members {
			got = append(got, m.Name)
		}
		if got := strings.Join(got, " "); got != want {
			t.Errorf("%s: %s, want %s", typed, got, want)
		}
	}
	for typed, want := range map[string]string{
		"color": `invalid --sort-by "color": must be a column (name, federation, phase, version, region, credential, age, zones, nodes, last-contact, server, ` +
			"cluster-id, cause) or a JSONPath, as .metadata.creationTimestamp",
		".metadata[":   `invalid --sort-by ".metadata[": unterminated array`,
		".spec.size":   `invalid --sort-by ".spec.size": no member has this field`,
		"{.items[*].x": `invalid --sort-by "{.items[*].x": unclosed action`,
	} {
		by, err := parseOrder(typed)
		if err == nil {
			err = by.sort(fleet())
		}
		if err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", typed, err, want)
		}
		if _, ok := errors.AsType[output.UsageError](err); !ok {
			t.Errorf("%s: %T is not a usage error", typed, err)
		}
	}
	// A path is not at fault when there are no members.
	by, err := parseOrder(".spec.size")
	if err = stdcmp.Or(err, by.sort(nil)); err != nil {
		t.Error(err)
	}
}

func TestCompareNatural(t *testing.T) {
	t.Parallel()
	sorted := []string{"", "1", "2", "010", "10", "a", "a1", "a1b", "a2", "a10", "a10b", "b", "v1.9.0", "v1.10.0-rc.1", "v1.10.0-rc.10"}
	for i, a := range sorted {
		for j, b := range sorted {
			if got, want := stdcmp.Compare(compareNatural(a, b), 0), stdcmp.Compare(i, j); got != want {
				t.Errorf("%q to %q: %d, want %d", a, b, got, want)
			}
		}
	}
}
