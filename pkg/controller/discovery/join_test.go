package discovery

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/discover"
)

// rowsOf are rows of clusters, one for each "federation/namespace".
func rowsOf(places ...string) []row {
	var rows []row
	for i, place := range places {
		federation, namespace, _ := strings.Cut(place, "/")
		f := federationOf(federation)
		candidate := candidateOf(namespace, map[string]string{v1alpha1.LabelFederation: federation})
		candidate.Name = fmt.Sprintf("%s/%d", namespace, i)
		way := &found{candidate: candidate, request: &request{federation: f, object: candidate.Objects[0]}, entry: &entry{}}
		rows = append(rows, row{federation: f, of: []*found{way}, Cluster: discover.Cluster{
			Candidate: candidate, State: discover.Refused, Reason: "refused",
		}})
	}
	return rows
}

// TestInTurns holds that federations take turns, and within each its namespaces: many clusters of one keep no other waiting.
func TestInTurns(t *testing.T) {
	t.Parallel()
	var got []string
	for _, r := range inTurns(rowsOf("a/x", "a/x", "a/x", "a/x", "a/y", "a/y", "b/x", "b/x", "c/z")) {
		got = append(got, r.federation.Name+"/"+r.Candidate.Name)
	}
	want := []string{"a/x/0", "b/x/6", "c/z/8", "a/y/4", "b/x/7", "a/x/1", "a/y/5", "a/x/2", "a/x/3"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestStatusOf holds that all clusters are counted, and the first of each namespace are named, ten at most.
func TestStatusOf(t *testing.T) {
	t.Parallel()
	c := &controller{memory: &keptMemory{Memory: *discover.ReadMemory(map[string]string{"a": "object cluster\n"})}}
	rows := rowsOf("a/x", "a/x", "a/x", "a/x", "a/x", "a/x", "a/x", "a/x", "a/x", "a/x", "a/x", "a/y", "b/x")
	rows[0].State = discover.Joined
	status := c.statusOf(rows[0].federation, rows, nil)
	var named []string
	for _, n := range status.NotJoined {
		named = append(named, strings.TrimPrefix(n.Cluster, "cluster-api:"))
	}
	if status.Found != 12 || status.Joined != 1 {
		t.Errorf("found %d, joined %d", status.Found, status.Joined)
	}
	if diff := cmp.Diff([]string{"y/11", "x/1", "x/2", "x/3", "x/4", "x/5", "x/6", "x/7", "x/8", "x/9"}, named); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestAskedTogether holds that a cluster of which one way answered before, and another in this round, is judged by neither: who may only
// look at a cluster, and was first, would keep its administrator's way from counting. A way that does not answer changes nothing.
func TestAskedTogether(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		fresh [2]bool
		err   error
		again bool
	}{
		{"one before, one now", [2]bool{true, false}, nil, true},
		{"both now", [2]bool{true, true}, nil, false},
		{"both before", [2]bool{false, false}, nil, false},
		{"one does not answer", [2]bool{true, false}, errUnread, false},
	} {
		c := &controller{alarm: newAlarm(), hostID: "host"}
		rows := rowsOf("a/x", "a/y")
		r := rows[0]
		r.of = append(r.of, rows[1].of...)
		for i, f := range r.of {
			f.fresh, f.entry.observation = tt.fresh[i], &discover.Observation{}
			f.entry.made = "made"
		}
		r.of[1].entry.observation.Err = tt.err
		all := []row{r}
		c.joinAll(t.Context(), &state{}, all)
		if again := all[0].State == discover.NotYetProved && r.of[0].entry.made == "" && r.of[1].entry.made == ""; again != tt.again {
			t.Errorf("%s: asked again: %v, %s", tt.name, again, all[0].State)
		}
	}
}
