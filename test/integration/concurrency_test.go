//go:build unix

package integration

import (
	"fmt"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/test/env"
)

// TestTwoNames joins one cluster under two names at once: one wins, the other's refusal says who holds
// the cluster, and nothing of it is left.
func TestTwoNames(t *testing.T) {
	hostCluster, west := joinHost(t), joinFleet(t).Cluster("west")
	userNamespace(t, west)
	fed := federation(t, hostCluster, "names", map[string]any{})
	before, hostBefore := snapshot(t, west), snapshot(t, hostCluster)
	names := []v1alpha1.MemberName{"one", "two"}
	for range rounds(10) {
		errs := atOnce(len(names), func(i int) error {
			_, err := join(t, connectHost(t, hostCluster.Config()), connectMember(t, west.Config()), federate.JoinOptions{Name: names[i], Federation: fed})
			return err
		})
		winner := slices.Index(errs, nil)
		if winner < 0 {
			t.Fatalf("neither joined: %v", errs)
		}
		if text := errs[1-winner].Error(); !slices.Contains(isHeld(fed, west, names[1-winner], names[winner]), text) {
			t.Errorf("the other join: %s", text)
		}
		h, m := connectHost(t, hostCluster.Config()), connectMember(t, west.Config())
		if members, err := h.Members(t.Context(), host.MemberQuery{Federation: fed}); err != nil || len(members) != 1 {
			t.Errorf("%d members, %v", len(members), err)
		}
		if _, err := unjoin(t, h, m, federate.UnjoinOptions{Name: names[winner]}); err != nil {
			t.Fatal(err)
		}
		becomes(t, "the member", before, west)
		becomes(t, "the host", hostBefore, hostCluster)
	}
}

// isHeld are the whole texts that refuse a join under a name because its cluster is a member under another. The
// webhook says it; where it saw both at the same moment, the membership record does.
func isHeld(fed v1alpha1.FederationName, c *env.Cluster, loser, holder v1alpha1.MemberName) []string {
	return []string{
		fmt.Sprintf(`cannot join %q to federation %q; all changes were rolled back
* member: ConfigMap "kubefederate-member/membership": this cluster is member %q of federation %q of this host: unjoin it first: kubectl federate unjoin %s`,
			loser, fed, holder, fed, holder),
		fmt.Sprintf(`cannot join %q to federation %q; nothing was changed
* host: MemberCluster %q: spec.clusterID: Duplicate value: %q: this cluster is already member %q of federation %q; let it leave first: kubectl federate unjoin %s`,
			loser, fed, loser, c.ID, holder, fed, holder),
	}
}

// TestParallelJoins joins two clusters under four names each, all at once: of each cluster one member comes out, the
// refusals of the others say who holds it, and nothing of them is left.
func TestParallelJoins(t *testing.T) {
	hostCluster := joinHost(t)
	members := []*env.Cluster{joinFleet(t).Cluster("east"), joinFleet(t).Cluster("west")}
	fed := federation(t, hostCluster, "crowd", map[string]any{"access": map[string]any{"clusterRole": "view"}})
	for _, c := range members {
		userNamespace(t, c)
	}
	before := map[*env.Cluster]env.Objects{}
	for _, c := range append(members, hostCluster) {
		before[c] = snapshot(t, c)
	}
	const names = 4
	name := func(i int) v1alpha1.MemberName {
		return v1alpha1.MemberName(fmt.Sprintf("%s-%d", members[i/names].Name, i%names))
	}
	for range rounds(5) {
		errs := atOnce(names*len(members), func(i int) error {
			_, err := join(t, connectHost(t, hostCluster.Config()), connectMember(t, members[i/names].Config()), federate.JoinOptions{Name: name(i), Federation: fed})
			return err
		})
		h := connectHost(t, hostCluster.Config())
		if all, err := h.Members(t.Context(), host.MemberQuery{Federation: fed}); err != nil || len(all) != len(members) {
			t.Errorf("%d members, %v: %v", len(all), err, errs)
		}
		for c, m := range members {
			winner := -1
			for i := c * names; i < (c+1)*names; i++ {
				if errs[i] == nil {
					if winner >= 0 {
						t.Errorf("%s joined under two names", m.Name)
					}
					winner = i
				}
			}
			if winner < 0 {
				t.Fatalf("%s joined under no name: %v", m.Name, errs)
			}
			for i := c * names; i < (c+1)*names; i++ {
				if i != winner && !slices.Contains(isHeld(fed, m, name(i), name(winner)), errs[i].Error()) {
					t.Errorf("%s: %v", name(i), errs[i])
				}
			}
			if err := works(t, credential(t, hostCluster, string(name(winner)))); err != nil {
				t.Errorf("the stored credential of %s does not work: %v", name(winner), err)
			}
			if _, err := unjoin(t, h, connectMember(t, m.Config()), federate.UnjoinOptions{Name: name(winner)}); err != nil {
				t.Fatal(err)
			}
		}
		for c, objects := range before {
			becomes(t, c.Name, objects, c)
		}
	}
}

// TestTwoJoins joins one cluster twice at once under one name: both report joined, or one says why
// not, and one member comes out.
func TestTwoJoins(t *testing.T) {
	hostCluster, west := joinHost(t), joinFleet(t).Cluster("west")
	userNamespace(t, west)
	fed := federation(t, hostCluster, "twice", map[string]any{})
	before, hostBefore := snapshot(t, west), snapshot(t, hostCluster)
	for range rounds(5) {
		errs := atOnce(2, func(int) error {
			_, err := join(t, connectHost(t, hostCluster.Config()), connectMember(t, west.Config()), federate.JoinOptions{Name: "twice", Federation: fed})
			return err
		})
		for _, err := range errs {
			if err != nil {
				t.Error(err)
			}
		}
		h, m := connectHost(t, hostCluster.Config()), connectMember(t, west.Config())
		access := credential(t, hostCluster, "twice")
		if _, err := clientset(t, access.RESTConfig()).CoreV1().Namespaces().Get(t.Context(), "kube-system", metav1.GetOptions{}); err != nil {
			t.Errorf("the stored credential does not work: %v", err)
		}
		if made, err := h.Member(t.Context(), "twice"); err != nil || made.Annotations[v1alpha1.AnnotationAttempt] != "" {
			t.Errorf("an attempt stays on the member: %v, %v", made.Annotations, err)
		}
		if _, err := unjoin(t, h, m, federate.UnjoinOptions{Name: "twice"}); err != nil {
			t.Fatal(err)
		}
		becomes(t, "the member", before, west)
		becomes(t, "the host", hostBefore, hostCluster)
	}
}

// TestJoinAgainstUnjoin runs both at once. Whichever wins, running the loser again brings the cluster where it
// wants it.
func TestJoinAgainstUnjoin(t *testing.T) {
	hostCluster, west := joinHost(t), joinFleet(t).Cluster("west")
	userNamespace(t, west)
	fed := federation(t, hostCluster, "tug", map[string]any{})
	before, hostBefore := snapshot(t, west), snapshot(t, hostCluster)
	h, m := connectHost(t, hostCluster.Config()), connectMember(t, west.Config())
	options, left := federate.JoinOptions{Name: "tug", Federation: fed}, federate.UnjoinOptions{Name: "tug"}
	for i := range rounds(12) {
		if i%2 == 0 {
			if _, err := join(t, h, m, options); err != nil {
				t.Fatal(err)
			}
		}
		errs := atOnce(2, func(i int) error {
			if i == 0 {
				_, err := join(t, connectHost(t, hostCluster.Config()), connectMember(t, west.Config()), options)
				return err
			}
			_, err := unjoin(t, connectHost(t, hostCluster.Config()), connectMember(t, west.Config()), left)
			return err
		})
		t.Logf("join: %v; unjoin: %v", errs[0], errs[1])
		if _, err := join(t, h, m, options); err != nil {
			t.Fatalf("join afterwards: %v", err)
		}
		if _, err := unjoin(t, h, m, left); err != nil {
			t.Fatalf("unjoin afterwards: %v", err)
		}
		becomes(t, "the member", before, west)
		becomes(t, "the host", hostBefore, hostCluster)
	}
}
