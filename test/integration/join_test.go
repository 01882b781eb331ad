//go:build unix

package integration

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
)

// TestJoinAndUnjoin is the whole way: a join does what its plan says, a second one finds nothing to do, and after
// unjoin every object of both sides is as it was.
func TestJoinAndUnjoin(t *testing.T) {
	hostCluster := joinHost(t)
	east := joinFleet(t).Cluster("east")
	prod := federation(t, hostCluster, "prod", map[string]any{})
	h, m := connectHost(t, hostCluster.Config()), connectMember(t, east.Config())
	hostBefore, before := snapshot(t, hostCluster), snapshot(t, east)

	options := federate.JoinOptions{Name: "us-east-1", Federation: prod, MemberContext: "east", Labels: map[string]string{"example.com/team": "blue"}}
	plan, err := federate.PlanJoin(t.Context(), h, m, options)
	if err != nil {
		t.Fatal(err)
	}
	var done []string
	result, err := plan.Apply(t.Context(), func(s federate.Step) { done = append(done, s.String()) })
	if err != nil {
		t.Fatal(err)
	}
	planned := strings.Split(strings.TrimSpace(plan.Text()), "\n")
	slices.Sort(planned) // steps of one stage end in any order
	slices.Sort(done)
	if !slices.Equal(done, planned) {
		t.Errorf("done:\n%s\nplanned:\n%s", strings.Join(done, "\n"), strings.Join(planned, "\n"))
	}
	if result.Already {
		t.Error("a fresh cluster is said to have been joined already")
	}
	by, at, _ := strings.Cut(result.Member.Annotations[v1alpha1.AnnotationJoinedBy], " ")
	if when, err := time.Parse(time.RFC3339, at); by != "admin" || err != nil || time.Since(when) > time.Minute {
		t.Errorf("joined by %q at %q", by, at)
	}
	if result.Member.Annotations[v1alpha1.AnnotationAttempt] != "" || result.Member.Labels["example.com/team"] != "blue" {
		t.Errorf("annotations %v, labels %v", result.Member.Annotations, result.Member.Labels)
	}
	if left := time.Until(result.Expires); left < federate.DefaultTokenLifetime-time.Minute || left > federate.DefaultTokenLifetime {
		t.Errorf("the credential ends in %s, want %s", left, federate.DefaultTokenLifetime)
	}
	first := credential(t, hostCluster, "us-east-1")

	if result, err = join(t, h, m, options); err != nil || !result.Already {
		t.Fatalf("joining again: %+v, %v", result, err)
	}
	if credential(t, hostCluster, "us-east-1").Token == first.Token {
		t.Error("joining again did not renew the credential")
	}

	left, err := unjoin(t, h, m, federate.UnjoinOptions{Name: "us-east-1", MemberContext: "east"})
	if err != nil || !left.Finishing || len(left.Notes) > 0 {
		t.Fatalf("%+v, %v", left, err)
	}
	becomes(t, "the member after unjoin", before, east)
	becomes(t, "the host after unjoin", hostBefore, hostCluster)
}
