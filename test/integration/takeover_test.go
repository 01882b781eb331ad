//go:build unix

package integration

import (
	"context"
	"errors"
	"slices"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
	"github.com/kubefederate/kubectl-federate/pkg/member"
	"github.com/kubefederate/kubectl-federate/test/env"
)

// goneHost is the cluster ID of a host that does not come back.
const goneHost = "99999999-0000-4000-8000-00000000dead"

// orphan makes a cluster a member of a host that is gone, and returns the credential that host had. It
// joins this host, which then forgets it; the membership record gets another host's ID.
func orphan(t *testing.T, hostCluster, c *env.Cluster, name v1alpha1.MemberName, fed v1alpha1.FederationName) *kubeconfig.Access {
	t.Helper()
	h, m := connectHost(t, hostCluster.Config()), connectMember(t, c.Config())
	if _, err := join(t, h, m, federate.JoinOptions{Name: name, Federation: fed}); err != nil {
		t.Fatal(err)
	}
	access := credential(t, hostCluster, string(name))
	if _, err := unjoin(t, h, m, federate.UnjoinOptions{Name: name, Force: true}); err != nil {
		t.Fatal(err)
	}
	_, err := m.MergePatch(t.Context(), member.MembershipRef(), map[string]any{"data": map[string]any{v1alpha1.MembershipHostID: goneHost}}, cluster.DryRunNone)
	if err != nil {
		t.Fatal(err)
	}
	return access
}

// TestTakeOver takes a cluster from a host that is gone: never silently, and nothing of that host stays.
func TestTakeOver(t *testing.T) {
	hostCluster, west := joinHost(t), joinFleet(t).Cluster("west")
	fed := federation(t, hostCluster, "rescue", map[string]any{})
	other := federation(t, hostCluster, "rescue-other", map[string]any{})
	h, m := connectHost(t, hostCluster.Config()), connectMember(t, west.Config())
	hostBefore, before := snapshot(t, hostCluster), snapshot(t, west)
	theirs := orphan(t, hostCluster, west, "lost", fed)
	lost := snapshot(t, west)

	options := federate.JoinOptions{Name: "found", Federation: fed, Cluster: command.Cluster{Context: "west"}}
	_, err := join(t, h, m, options)
	want := `cannot join "found" to federation "rescue"; nothing was changed
* member: ConfigMap "kubefederate-member/membership": this cluster is member "lost" of federation "rescue" of another host (cluster ID ` + goneHost +
		`, this one has ` + hostCluster.ID + `): unjoin it there first: kubectl federate unjoin lost --member-context west --context OTHER-HOST; ` +
		`or if that host is gone for good, take it over: kubectl federate join found --federation rescue --member-context west --take-over`
	if err == nil || err.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
	options.TakeOver = true
	for _, mode := range []cluster.DryRun{cluster.DryRunClient, cluster.DryRunServer} {
		dry := options
		dry.DryRun = mode
		if _, err := join(t, h, m, dry); err != nil {
			t.Fatal(err)
		}
	}
	same(t, "refused and dry runs", lost, snapshot(t, west))
	if err := works(t, theirs); err != nil {
		t.Fatal("the other host's credential ended before the take-over")
	}

	result, err := join(t, h, m, options)
	if err != nil || result.TakenFrom != goneHost {
		t.Fatalf("%+v, %v", result, err)
	}
	env.Eventually(t, "the other host's credential is worth nothing", func(context.Context) error {
		if !apierrors.IsUnauthorized(works(t, theirs)) {
			return errors.New("it still works")
		}
		return nil
	})
	if err := works(t, credential(t, hostCluster, "found")); err != nil {
		t.Error("the new credential does not work")
	}
	k, err := m.Membership(t.Context())
	if err != nil || k.HostID != v1alpha1.ClusterID(hostCluster.ID) || k.Member != "found" || k.Federation != fed || k.TakenFrom != "" {
		t.Errorf("membership record %+v, %v", k, err)
	}

	// It is this host's now: nothing to take over.
	if result, err = join(t, h, m, options); err != nil || !result.Already || result.TakenFrom != "" {
		t.Errorf("again: %+v, %v", result, err)
	}
	elsewhere := options
	elsewhere.Federation, elsewhere.Name = other, "elsewhere"
	_, err = join(t, h, m, elsewhere)
	var refusal *federate.Refusal
	want = `member: ConfigMap "kubefederate-member/membership": this cluster is member "found" of federation "rescue" of this host, which is not gone: ` +
		`there is nothing to take over: unjoin it first: kubectl federate unjoin found --member-context west`
	if !errors.As(err, &refusal) || refusal.Findings[0].String() != want {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
	if _, err := unjoin(t, h, m, federate.UnjoinOptions{Name: "found", Cluster: command.Cluster{Context: "west"}}); err != nil {
		t.Fatal(err)
	}
	becomes(t, "the member after unjoin", before, west)
	becomes(t, "the host after unjoin", hostBefore, hostCluster)
}

// TestTwoTakeOvers lets two hosts take a cluster from a third at once: one wins, and the other changes nothing.
func TestTwoTakeOvers(t *testing.T) {
	first, west := joinHost(t), joinFleet(t).Cluster("west")
	second, err := joinFleet(t).Add(t.Context(), env.Spec{Name: "rescuer", ControllerManager: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(second.Stop)
	install(t, second)
	userNamespace(t, west)
	hosts := []*env.Cluster{first, second}
	before := map[*env.Cluster]env.Objects{}
	for _, h := range hosts {
		federation(t, h, "rescued", map[string]any{})
		before[h] = snapshot(t, h)
	}
	before[west] = snapshot(t, west)
	won := map[string]int{}
	for range rounds(10) {
		orphan(t, first, west, "lost", "rescued")
		becomes(t, "the host that forgot it", before[first], first)
		// Both have read the membership record of the host that is gone before either writes.
		plans := make([]*federate.JoinPlan, len(hosts))
		for i, h := range hosts {
			plans[i], err = federate.PlanJoin(t.Context(), connectHost(t, h.Config()), connectMember(t, west.Config()),
				federate.JoinOptions{Name: "rescued", Federation: "rescued", Cluster: command.Cluster{Context: "west"}, TakeOver: true})
			if err != nil {
				t.Fatal(err)
			}
		}
		errs := atOnce(len(hosts), func(i int) error {
			_, err := plans[i].Apply(t.Context(), nil)
			return err
		})
		winner := slices.Index(errs, nil)
		if winner < 0 || errs[1-winner] == nil {
			t.Fatalf("one must win: %v", errs)
		}
		loser := 1 - winner
		won[hosts[winner].Name]++
		want := `cannot join "rescued" to federation "rescued"; all changes were rolled back
* member: ConfigMap "kubefederate-member/membership": this cluster is member "rescued" of federation "rescued" of another host (cluster ID ` + hosts[winner].ID +
			`, this one has ` + hosts[loser].ID + `): unjoin it there first: kubectl federate unjoin rescued --member-context west --context OTHER-HOST; ` +
			`or if that host is gone for good, take it over: kubectl federate join rescued --federation rescued --member-context west --take-over`
		if errs[loser].Error() != want {
			t.Errorf("got:\n%v\nwant:\n%s", errs[loser], want)
		}
		becomes(t, "the host that came second", before[hosts[loser]], hosts[loser])
		if err := works(t, credential(t, hosts[winner], "rescued")); err != nil {
			t.Error("the winner's credential does not work")
		}
		if _, err := unjoin(t, connectHost(t, hosts[winner].Config()), connectMember(t, west.Config()), federate.UnjoinOptions{Name: "rescued"}); err != nil {
			t.Fatal(err)
		}
		becomes(t, "the host that came first", before[hosts[winner]], hosts[winner])
		becomes(t, "the member", before[west], west)
	}
	t.Log(won)
}
