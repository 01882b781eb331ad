//go:build unix

package integration

import (
	"errors"
	"regexp"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/member"
	"github.com/kubefederate/kubectl-federate/test/env"
)

// TestTwoHosts lets two hosts join one cluster at once: its etcd decides, the other host's refusal says who holds it,
// and nothing of it is left.
func TestTwoHosts(t *testing.T) {
	first, west := joinHost(t), joinFleet(t).Cluster("west")
	second, err := joinFleet(t).Add(t.Context(), env.Spec{Name: "other-host", ControllerManager: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(second.Stop)
	install(t, second)
	userNamespace(t, west)
	hosts := []*env.Cluster{first, second}
	before := map[*env.Cluster]env.Objects{}
	for _, h := range hosts {
		federation(t, h, "shared", map[string]any{})
		before[h] = snapshot(t, h)
	}
	before[west] = snapshot(t, west)
	won := map[string]int{}
	for range rounds(10) {
		errs := atOnce(len(hosts), func(i int) error {
			_, err := join(t, connectHost(t, hosts[i].Config()), connectMember(t, west.Config()), federate.JoinOptions{Name: "shared", Federation: "shared", Cluster: command.Cluster{Context: "west"}})
			return err
		})
		winner := slices.Index(errs, nil)
		if winner < 0 {
			t.Fatalf("neither joined: %v", errs)
		}
		loser := 1 - winner
		won[hosts[winner].Name]++
		if want := heldByOther(hosts[winner], hosts[loser]); !isRefusal(errs[loser], want) {
			t.Errorf("the other host: %v\nwant:\n%s", errs[loser], want)
		}
		becomes(t, "the host that came second", before[hosts[loser]], hosts[loser])
		access := credential(t, hosts[winner], "shared")
		if _, err := clientset(t, access.RESTConfig()).CoreV1().Namespaces().Get(t.Context(), "kube-system", metav1.GetOptions{}); err != nil {
			t.Errorf("the winner's credential does not work: %v", err)
		}
		if _, err := unjoin(t, connectHost(t, hosts[winner].Config()), connectMember(t, west.Config()), federate.UnjoinOptions{Name: "shared"}); err != nil {
			t.Fatal(err)
		}
		becomes(t, "the host that came first", before[hosts[winner]], hosts[winner])
		becomes(t, "the member", before[west], west)
	}
	t.Log(won)
	t.Run("join against unjoin", func(t *testing.T) { leaveAndJoin(t, second, first, west, before) })
}

// leaveAndJoin lets a cluster leave one host while another joins it. The join begins at each request of the unjoin in turn,
// which goes on beside it or waits for its end. The cluster leaves in any case, and the other host's refusal says who holds it, or
// has it, with nothing taken away that the unjoin came across.
func leaveAndJoin(t *testing.T, from, to, west *env.Cluster, before map[*env.Cluster]env.Objects) {
	t.Helper()
	options := federate.JoinOptions{Name: "shared", Federation: "shared", Cluster: command.Cluster{Context: "west"}}
	connect := func(h *env.Cluster) (*host.Cluster, *member.Cluster) {
		return connectHost(t, h.Config()), connectMember(t, west.Config())
	}
	ends := map[string]int{}
	round := func(side federate.Side, k int) bool {
		h, m := connect(from)
		if _, err := join(t, h, m, options); err != nil {
			t.Fatal(err)
		}
		end := make(chan error, 1)
		p := &proxy{kind: faultMeanwhile, side: side, k: k, meanwhile: func() {
			done := make(chan struct{})
			go func() {
				defer close(done)
				h, m := connect(to)
				plan, err := federate.PlanJoin(t.Context(), h, m, options)
				if err == nil {
					_, err = plan.Apply(t.Context(), nil)
				}
				end <- err
			}()
			if k%2 == 0 {
				<-done
			}
		}}
		h, m = connectHost(t, p.through(from.Config(), federate.SideHost)), connectMember(t, p.through(west.Config(), federate.SideMember))
		if _, err := unjoin(t, h, m, federate.UnjoinOptions{Name: "shared"}); err != nil {
			t.Fatalf("unjoin: %v", err)
		}
		becomes(t, "the host that it left", before[from], from)
		if p.hit == "" {
			becomes(t, "the member", before[west], west)
			return false
		}
		err := <-end
		h, m = connect(to)
		if err == nil {
			ends["joined"]++
		} else {
			if undone, ok := errors.AsType[*federate.Undone](err); ok && goneMeanwhile.MatchString(undone.Error()) {
				ends["rolled back"]++
			} else if want := heldByOther(from, to); isRefusal(err, want) {
				ends["refused"]++
			} else {
				t.Errorf("%s %d (%s): join: %v\nwant:\n%s", side, k, p.hit, err, want)
			}
			becomes(t, "the host that did not get it", before[to], to)
			if _, err := join(t, h, m, options); err != nil {
				t.Fatalf("join afterwards: %v", err)
			}
		}
		if err := works(t, credential(t, to, "shared")); err != nil {
			t.Errorf("the stored credential does not work: %v", err)
		}
		if _, err := unjoin(t, h, m, federate.UnjoinOptions{Name: "shared"}); err != nil {
			t.Fatal(err)
		}
		becomes(t, "the host that it joined", before[to], to)
		becomes(t, "the member", before[west], west)
		return true
	}
	step := map[federate.Side]int{federate.SideHost: 1, federate.SideMember: 1}
	if testing.Short() {
		step = map[federate.Side]int{federate.SideHost: 9, federate.SideMember: 19}
	}
	for _, side := range []federate.Side{federate.SideHost, federate.SideMember} {
		for k := 1; round(side, k); k += step[side] {
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
func heldByOther(holder, loser *env.Cluster) string {
	return `member: ConfigMap "kubefederate-member/membership": this cluster is member "shared" of federation "shared" of another host (cluster ID ` + holder.ID +
		`, this one has ` + loser.ID + `): unjoin it there first: kubectl federate unjoin shared --member-context west --context OTHER-HOST; ` +
		`or if that host is gone for good, take it over: kubectl federate join shared --federation shared --member-context west --take-over`
}
