//go:build unix

package integration

import (
	"context"
	"errors"
	"fmt"
	"regexp"
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

// twoHosts are joinHost and another host, each with "west", and with a federation "shared", of which it becomes member "shared".
type twoHosts [2]*pair

// TestTwoHosts lets two hosts have one cluster: its etcd decides, the other host's refusal says who holds it, and nothing of
// it is left.
func TestTwoHosts(t *testing.T) {
	second := addMember(t, env.Spec{Name: "other-host", ControllerManager: true})
	install(t, second)
	var hosts twoHosts
	for i, h := range []*env.Cluster{joinHost(t), second} {
		hosts[i] = newPairOf(t, h, joinFleet(t).Cluster("west"), "shared", nil)
	}
	userNamespace(t, hosts[0].member)
	for _, p := range hosts {
		p.remember()
	}
	t.Run("join against join", hosts.joinBoth)
	t.Run("take-over against take-over", hosts.takeOverBoth)
	t.Run("join against unjoin", hosts.leaveAndJoin)
}

// in gives the hosts to a subtest.
func (hosts twoHosts) in(t *testing.T) twoHosts {
	for i, p := range hosts {
		hosts[i] = p.process()
		hosts[i].T = t
	}
	return hosts
}

// sharedJoin is how each of them joins.
var sharedJoin = federate.JoinOptions{Cluster: command.Cluster{Context: "west"}}

// wins looks at what two commands at once left: the one that has the cluster keeps a credential that works, and lets it leave
// again; the other has nothing.
func (hosts twoHosts) wins(errs []error) (winner, loser *pair, refusal error) {
	hosts[0].Helper()
	i := slices.Index(errs, nil)
	if i < 0 || errs[1-i] == nil {
		hosts[0].Fatalf("one must win: %v", errs)
	}
	winner, loser = hosts[i], hosts[1-i]
	loser.unchanged(loser.host)
	if err := works(winner.T, winner.credential()); err != nil {
		winner.Errorf("the winner's credential does not work: %v", err)
	}
	winner.left("shared")
	return winner, loser, errs[1-i]
}

func (hosts twoHosts) joinBoth(t *testing.T) {
	hosts = hosts.in(t)
	for range env.Rounds(10) {
		winner, loser, err := hosts.wins(atOnce(len(hosts), func(i int) error {
			_, err := hosts[i].process().join(sharedJoin)
			return err
		}))
		if want := heldByOther(winner, loser); !isRefusal(err, want) {
			t.Errorf("the other host: %v\nwant:\n%s", err, want)
		}
	}
}

// takeOverBoth lets both take the cluster from a third at once.
func (hosts twoHosts) takeOverBoth(t *testing.T) {
	hosts = hosts.in(t)
	options := sharedJoin
	options.TakeOver = true
	for range env.Rounds(10) {
		hosts[0].orphan("lost")
		hosts[0].unchanged(hosts[0].host)
		// Both have read the membership record of the host that is gone before either writes.
		var plans [2]*federate.JoinPlan
		for i, p := range hosts {
			var err error
			if plans[i], err = p.planJoin(options); err != nil {
				t.Fatal(err)
			}
		}
		winner, loser, err := hosts.wins(atOnce(len(hosts), func(i int) error {
			_, err := plans[i].Apply(t.Context(), nil)
			return err
		}))
		wantError(t, err, "cannot join \"shared\" to federation \"shared\"; all changes were rolled back\n* "+heldByOther(winner, loser))
	}
}

// leaveAndJoin lets a cluster leave one host while another joins it. The join begins at each request of the unjoin in turn,
// which goes on beside it or waits for its end. The cluster leaves in any case, and the other host's refusal says who holds it, or
// has it, with nothing taken away that the unjoin came across.
func (hosts twoHosts) leaveAndJoin(t *testing.T) {
	hosts = hosts.in(t)
	to, from := hosts[0], hosts[1]
	ends := map[string]int{}
	round := func(side cluster.Side, k int) bool {
		from.joined(sharedJoin)
		end := make(chan error, 1)
		x := &proxy{kind: faultMeanwhile, side: side, k: k, meanwhile: func() {
			done := make(chan struct{})
			go func() {
				defer close(done)
				_, err := to.process().join(sharedJoin)
				end <- err
			}()
			if k%2 == 0 {
				<-done
			}
		}}
		h, m := connectHost(t, x.through(from.host.Config(), cluster.Host)), connectMember(t, x.through(from.member.Config(), cluster.Member))
		if _, err := unjoin(t.Context(), h, m, federate.UnjoinOptions{Name: "shared"}); err != nil {
			t.Fatalf("unjoin: %v", err)
		}
		from.unchanged(from.host)
		if x.hit == "" {
			from.unchanged(from.member)
			return false
		}
		err := <-end
		undone, isUndone := errors.AsType[*federate.Undone](err)
		switch want := heldByOther(from, to); {
		case err == nil:
			ends["joined"]++
		case isUndone && goneMeanwhile.MatchString(undone.Error()):
			ends["rolled back"]++
		case isRefusal(err, want):
			ends["refused"]++
		default:
			t.Errorf("%s %d (%s): join: %v\nwant:\n%s", side, k, x.hit, err, want)
		}
		if err != nil {
			to.unchanged(to.host)
			to.joined(sharedJoin)
		}
		if err := works(t, to.credential()); err != nil {
			t.Errorf("the stored credential does not work: %v", err)
		}
		to.left("shared")
		return true
	}
	for _, tc := range []struct {
		side  cluster.Side
		quick int
	}{{cluster.Host, 9}, {cluster.Member, 19}} {
		for k := 1; round(tc.side, k); k += env.InTier(1, 3, tc.quick) {
		}
	}
	t.Logf("the joins: %v", ends)
	if !testing.Short() && (ends["joined"] == 0 || ends["refused"] == 0) {
		t.Errorf("the joins: %v; want some that joined, and some that were refused", ends)
	}
}

// goneMeanwhile is what a join says that saw a cluster which was just leaving.
var goneMeanwhile = regexp.MustCompile(`^cannot join "shared" to federation "shared"; all changes were rolled back
\* member: [A-Z][A-Za-z]+ "[a-z:/-]+": was removed by another client while this join ran: join again: kubectl federate join shared --federation shared --member-context [A-Za-z]+$`)

// heldByOther is the finding that another host has the cluster.
func heldByOther(holder, loser *pair) string {
	return heldBy(v1alpha1.ClusterID(holder.host.ID), "shared", loser, "shared")
}

// heldBy is what p finds when it joins a cluster as member joining, which is member held of another host.
func heldBy(hostID v1alpha1.ClusterID, held string, p *pair, joining string) string {
	return fmt.Sprintf(`member: ConfigMap "kubefederate-member/membership": this cluster is member %q of federation %q of another host (cluster ID %s, this one has %s): `+
		`unjoin it there first: kubectl federate unjoin %s --member-context west --context OTHER-HOST; `+
		`or if that host is gone for good, take it over: kubectl federate join %s --federation %s --member-context west --take-over`,
		held, p.name, hostID, p.host.ID, held, joining, p.name)
}

// goneHost is the cluster ID of a host that does not come back.
const goneHost = "99999999-0000-4000-8000-00000000dead"

// orphan makes the cluster a member of a host that is gone, and returns the credential that host had. It joins this host,
// which then forgets it; the membership record gets another host's ID.
func (p *pair) orphan(name v1alpha1.MemberName) *kubeconfig.Access {
	p.Helper()
	p.joined(federate.JoinOptions{Name: name})
	access := credential(p.T, p.host, string(name))
	p.unjoined(federate.UnjoinOptions{Name: name, Force: true})
	_, err := p.m.MergePatch(p.Context(), member.MembershipRef(), map[string]any{"data": map[string]any{v1alpha1.MembershipHostID: goneHost}}, cluster.DryRunNone)
	if err != nil {
		p.Fatal(err)
	}
	return access
}

// worthless waits until a credential of the member is refused.
func (p *pair) worthless(what string, access *kubeconfig.Access) {
	p.Helper()
	env.Eventually(p.T, what+": the other host's credential is worth nothing", func(context.Context) error {
		if !apierrors.IsUnauthorized(works(p.T, access)) {
			return errors.New("it still works")
		}
		return nil
	})
}

// TestTakeOver takes a cluster from a host that is gone: never silently, and nothing of that host stays.
func TestTakeOver(t *testing.T) {
	federation(t, joinHost(t), "rescue-other", nil)
	p := newPair(t, "rescue", nil)
	theirs := p.orphan("lost")
	lost := snapshot(t, p.member)

	options := federate.JoinOptions{Name: "found", Cluster: command.Cluster{Context: "west"}}
	_, err := p.join(options)
	wantError(t, err, "cannot join \"found\" to federation \"rescue\"; nothing was changed\n* "+heldBy(goneHost, "lost", p, "found"))
	options.TakeOver = true
	for _, mode := range []cluster.DryRun{cluster.DryRunClient, cluster.DryRunServer} {
		dry := options
		dry.DryRun = mode
		p.joined(dry)
	}
	becomes(t, "refused and dry runs", lost, p.member)
	if err := works(t, theirs); err != nil {
		t.Fatal("the other host's credential ended before the take-over")
	}

	if result := p.joined(options); result.Reason != "taken over from the host with cluster ID "+goneHost {
		t.Fatalf("%+v", result)
	}
	p.worthless("taken over", theirs)
	if err := works(t, credential(t, p.host, "found")); err != nil {
		t.Error("the new credential does not work")
	}
	k, err := p.m.Membership(t.Context())
	if err != nil || k.HostID != v1alpha1.ClusterID(p.host.ID) || k.Member != "found" || k.Federation != "rescue" || k.TakenFrom != "" {
		t.Errorf("membership record %+v, %v", k, err)
	}

	// It is this host's now: nothing to take over.
	if result := p.joined(options); result.Done != "renewed" || result.Reason != "" {
		t.Errorf("again: %+v", result)
	}
	elsewhere := options
	elsewhere.Federation, elsewhere.Name = "rescue-other", "elsewhere"
	p.refused(elsewhere, `cannot join "elsewhere" to federation "rescue-other"; nothing was changed
* member: ConfigMap "kubefederate-member/membership": this cluster is member "found" of federation "rescue" of this host, which is not gone: there is nothing to take over: unjoin it first: kubectl federate unjoin found --member-context west
* host: MemberCluster "elsewhere": spec.clusterID: Duplicate value: "`+p.member.ID+`": this cluster is already member "found" of federation "rescue"; let it leave first: kubectl federate unjoin found`)
	p.left("found")
}
