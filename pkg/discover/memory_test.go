package discover

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

var rememberedAt = time.Date(2026, 11, 1, 10, 0, 0, 0, time.UTC)

func is(pairs ...string) map[v1alpha1.ClusterID]v1alpha1.FederationName {
	members := map[v1alpha1.ClusterID]v1alpha1.FederationName{}
	for i := 0; i < len(pairs); i += 2 {
		members[v1alpha1.ClusterID(pairs[i])] = v1alpha1.FederationName(pairs[i+1])
	}
	return members
}

// TestMemory follows a cluster that an object led to, as it is kept: it joins, leaves, asks no more, is asked for anew, and
// joins again.
func TestMemory(t *testing.T) {
	t.Parallel()
	m := ReadMemory(nil)
	m.See("object", "prod", "cluster")
	m.See("other", "edge", "cluster-2")
	m.See("", "prod", "cluster-3")
	steps := []struct {
		name string
		do   func()
		want map[string]string
		// left is what the memory says of the cluster while the label is there: its time, or "anew".
		left string
	}{
		{"members", func() {}, map[string]string{"prod": "object cluster\n", "edge": "other cluster-2\n"}, ""},
		{"a member whose label is removed for a while", func() { m.Unlabel("object") }, map[string]string{"prod": "object cluster\n", "edge": "other cluster-2\n"}, ""},
		{"left", func() { m.Update(is("cluster-2", "edge"), rememberedAt) },
			map[string]string{"prod": "object cluster 2026-11-01T10:00:00Z\n", "edge": "other cluster-2\n"}, "2026-11-01T10:00:00Z"},
		{"still gone", func() { m.Update(is("cluster-2", "edge"), rememberedAt.Add(time.Hour)) },
			map[string]string{"prod": "object cluster 2026-11-01T10:00:00Z\n", "edge": "other cluster-2\n"}, "2026-11-01T10:00:00Z"},
		{"a member of another federation", func() { m.Update(is("cluster", "edge", "cluster-2", "edge"), rememberedAt.Add(time.Hour)) },
			map[string]string{"prod": "object cluster 2026-11-01T10:00:00Z\n", "edge": "other cluster-2\n"}, "2026-11-01T10:00:00Z"},
		{"the label is removed", func() { m.Unlabel("object") },
			map[string]string{"prod": "object cluster 2026-11-01T10:00:00Z removed\n", "edge": "other cluster-2\n"}, "anew"},
		{"joined again", func() { m.Update(is("cluster", "prod", "cluster-2", "edge"), rememberedAt.Add(2*time.Hour)) },
			map[string]string{"prod": "object cluster\n", "edge": "other cluster-2\n"}, ""},
	}
	for _, s := range steps {
		s.do()
		if diff := cmp.Diff(s.want, m.Data()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", s.name, diff)
		}
		m = ReadMemory(m.Data()) // as a controller that is started anew
		got := ""
		_, until, anew := m.left(&Cluster{ID: "cluster", requests: []Object{{UID: "object", JoinRequest: "prod"}}})
		switch {
		case anew:
			got = "anew"
		case !until.IsZero():
			got = until.Format(time.RFC3339)
		}
		if got != s.left {
			t.Errorf("%s: left is %q, want %q", s.name, got, s.left)
		}
	}
}

// TestMemoryIsOfOneCluster holds that what is remembered of an object says nothing of another cluster, federation or object.
func TestMemoryIsOfOneCluster(t *testing.T) {
	t.Parallel()
	m := ReadMemory(map[string]string{"prod": "object cluster 2026-11-01T10:00:00Z\n"})
	for _, c := range []Cluster{
		{ID: "another", requests: []Object{{UID: "object", JoinRequest: "prod"}}},
		{ID: "cluster", requests: []Object{{UID: "object", JoinRequest: "edge"}}},
		{ID: "cluster", requests: []Object{{UID: "new", JoinRequest: "prod"}}},
		{ID: "cluster", requests: []Object{{JoinRequest: "prod"}}},
	} {
		if o, _, anew := m.left(&c); o != nil || anew {
			t.Errorf("%+v: left", c)
		}
	}
	var none *Memory
	if o, _, _ := none.left(&Cluster{ID: "cluster", requests: []Object{{UID: "object", JoinRequest: "prod"}}}); o != nil || none.Cluster("object") != "" {
		t.Error("no memory remembers")
	}
}

// TestMemoryReadsAnything holds that lines that it did not write are left out.
func TestMemoryReadsAnything(t *testing.T) {
	t.Parallel()
	m := ReadMemory(map[string]string{"prod": "\n \na\nb c 2026\nb c tomorrow removed\nobject cluster\nx y 2026-11-01T10:00:00Z removed more\n"})
	want := map[string]string{"prod": "object cluster\nx y 2026-11-01T10:00:00Z removed\n"}
	if diff := cmp.Diff(want, m.Data()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestMemoryIsBounded holds that the memory fits into an object, members first, and then those that left last.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	m := ReadMemory(nil)
	id := func(i int) string { return fmt.Sprintf("00000000-0000-0000-0000-%012d", i) }
	members := is()
	const all, kept = 12_000, 2_000
	for i := range all {
		m.See(types.UID(id(i)), "prod", v1alpha1.ClusterID(id(i)))
		m.Update(members, rememberedAt.Add(time.Duration(i)*time.Minute))
	}
	m.See("edge", "edge", v1alpha1.ClusterID(id(all)))
	m.Update(members, rememberedAt.Add(-time.Hour)) // it left long before all others
	for i := range kept {
		members[v1alpha1.ClusterID(id(i))] = "prod"
	}
	m.Update(members, rememberedAt)
	data := m.Data()
	if size := len(data["prod"]) + len(data["edge"]); len(data) != 2 || size > maxMemory || size < maxMemory-200 {
		t.Errorf("%d federations, %d bytes", len(data), size)
	}
	if !maps.Equal(data, ReadMemory(data).Data()) {
		t.Error("what is kept is not what is read")
	}
	for i, want := range map[int]bool{0: true, kept - 1: true, kept: false, all - 1: true} {
		if got := strings.Contains(data["prod"], id(i)); got != want {
			t.Errorf("cluster %d is remembered: %v", i, got)
		}
	}
}
