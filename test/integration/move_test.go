//go:build unix

package integration

import (
	"fmt"
	"testing"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// TestMove moves a member: the credential of the former federation ends. Another host that takes the cluster while it moves keeps it,
// and the move says so.
func TestMove(t *testing.T) {
	federation(t, joinHost(t), "moves-to", nil)
	p := newPair(t, "moves", viewAccess)
	from := federate.JoinOptions{Cluster: command.Cluster{Context: "west"}, Labels: map[string]string{"example.com/team": "web"}}
	to := federate.JoinOptions{Name: "moves", Federation: "moves-to", Cluster: from.Cluster}
	plan := func() *federate.MovePlan {
		t.Helper()
		plan, err := federate.PlanMove(t.Context(), p.h, p.m, to)
		if err != nil {
			t.Fatal(err)
		}
		return plan
	}
	takes := func(hostID string) {
		t.Helper()
		_, err := p.m.MergePatch(t.Context(), member.MembershipRef(), map[string]any{"data": map[string]any{v1alpha1.MembershipHostID: hostID}}, cluster.DryRunNone)
		if err != nil {
			t.Fatal(err)
		}
	}
	p.joined(from)
	old := p.credential()

	planned := plan()
	takes(goneHost)
	_, err := planned.Apply(t.Context(), nil)
	wantError(t, err, fmt.Sprintf(`could not finish: move "moves" to federation "moves-to"
* member: ConfigMap "kubefederate-member/membership": this cluster is member "moves" of federation "moves" of another host (cluster ID %s, this one has %s): `+
		`unjoin it there first: kubectl federate unjoin moves --member-context west --context OTHER-HOST; or if that host is gone for good, take it over: %[3]s --take-over
* left: host: MemberCluster "moves" is to return to federation "moves"
to continue, run: %[3]s`, goneHost, p.host.ID, "kubectl federate join moves --federation moves --member-context west --labels example.com/team=web --token-lifetime 90d"))
	if m, err := p.h.FindMember(t.Context(), "moves"); m != nil || err != nil {
		t.Errorf("the host still has the member: %v, %v", m, err)
	}

	// The other host lets it go, and the command that was proposed makes it what it was.
	takes(p.host.ID)
	p.joined(from)

	// What was changed since the plan was made would be lost.
	suspend := func(suspended bool) {
		t.Helper()
		if _, err := p.h.MergePatch(t.Context(), host.MemberRef("moves"), map[string]any{"spec": map[string]any{"suspended": suspended}}, cluster.DryRunNone); err != nil {
			t.Fatal(err)
		}
	}
	planned = plan()
	suspend(true)
	_, err = planned.Apply(t.Context(), nil)
	wantRefusal(t, err, `cannot move "moves" to federation "moves-to"; nothing was changed
* host: MemberCluster "moves": was changed while the move was planned: move it again: kubectl federate move moves --to moves-to --member-context west`)
	suspend(false)

	if result, err := plan().Apply(t.Context(), nil); err != nil || result.Done != "moved" || result.Member.Federation() != "moves-to" || result.Member.Labels["example.com/team"] != "web" {
		t.Fatalf("%+v, %v", result, err)
	}
	p.worthless("moved", old)
	if err := works(t, p.credential()); err != nil {
		t.Errorf("the new credential does not work: %v", err)
	}
	if result, err := plan().Apply(t.Context(), nil); err != nil || result.Done != "unchanged" {
		t.Errorf("again: %+v, %v", result, err)
	}

	// What is left of a membership that the host does not know any more is found by its record, and a join to any federation makes it anew.
	old = p.credential()
	p.unjoined(federate.UnjoinOptions{Name: "moves", Force: true})
	_, err = federate.PlanMove(t.Context(), p.h, p.m, to)
	wantRefusal(t, err, `cannot move "moves" to federation "moves-to"; nothing was changed
* host: MemberCluster "moves": not found: an unjoin or a move of it was interrupted; join it again: kubectl federate join moves --federation moves-to --member-context west`)
	p.joined(from)
	p.worthless("joined anew", old)
	p.left("moves")
}
