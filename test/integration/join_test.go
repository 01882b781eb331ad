//go:build unix

package integration

import (
	"testing"
	"time"

	"github.com/kubefederate/kubectl-federate/pkg/federate"
)

func TestJoinAndUnjoin(t *testing.T) {
	hostCluster := joinHost(t)
	east := joinFleet(t).Cluster("east")
	prod := federation(t, hostCluster, "prod", map[string]any{})
	h, m := connectHost(t, hostCluster.Config()), connectMember(t, east.Config())
	hostBefore, before := snapshot(t, hostCluster), snapshot(t, east)

	options := federate.JoinOptions{Name: "us-east-1", Federation: prod, MemberContext: "east"}
	plan, err := federate.PlanJoin(t.Context(), h, m, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + plan.Text())
	start := time.Now()
	result, err := plan.Apply(t.Context(), func(s federate.Step) { t.Log(time.Since(start), s) })
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", result.Notes)
	t.Log(result.Member.Annotations)

	result, err = join(t, h, m, options)
	if err != nil {
		t.Fatal(err)
	}
	if !result.Already {
		t.Error("not already")
	}

	start = time.Now()
	if _, err := unjoin(t, h, m, federate.UnjoinOptions{Name: "us-east-1", MemberContext: "east"}); err != nil {
		t.Fatal(err)
	}
	t.Log("unjoin", time.Since(start))
	becomes(t, "the member after unjoin", before, east)
	becomes(t, "the host after unjoin", hostBefore, hostCluster)
}
