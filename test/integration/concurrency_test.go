//go:build unix

package integration

import (
	"fmt"
	"slices"
	"testing"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/test/env"
)

// TestTwoNames joins one cluster under two names at once: one wins, the other's refusal says who holds
// the cluster, and nothing of it is left.
func TestTwoNames(t *testing.T) {
	joinAtOnce(t, "names", 2, env.Rounds(10), joinFleet(t).Cluster("west"))
}

// TestParallelJoins joins two clusters under four names each, all at once.
func TestParallelJoins(t *testing.T) {
	joinAtOnce(t, "crowd", 4, env.Rounds(5), joinFleet(t).Cluster("east"), joinFleet(t).Cluster("west"))
}

// joinAtOnce joins each cluster under several names, all at once: of each one member comes out, the refusals of the others
// say who holds it, and nothing of them is left.
func joinAtOnce(t *testing.T, fed string, names, rounds int, clusters ...*env.Cluster) {
	t.Helper()
	var pairs []*pair
	for _, c := range clusters {
		pairs = append(pairs, newPairOf(t, joinHost(t), c, fed, viewAccess).furnished())
	}
	name := func(i int) v1alpha1.MemberName {
		return v1alpha1.MemberName(fmt.Sprintf("%s-%d", clusters[i/names].Name, i%names))
	}
	for range rounds {
		errs := atOnce(names*len(pairs), func(i int) error {
			_, err := pairs[i/names].process().join(federate.JoinOptions{Name: name(i)})
			return err
		})
		if all, err := pairs[0].h.Members(t.Context(), host.MemberQuery{Federation: v1alpha1.FederationName(fed)}); err != nil || len(all) != len(pairs) {
			t.Errorf("%d members, %v: %v", len(all), err, errs)
		}
		for c, p := range pairs {
			first := c * names
			winner := first + slices.Index(errs[first:first+names], nil)
			if winner < first {
				t.Fatalf("%s joined under no name: %v", p.member.Name, errs)
			}
			for i := first; i < first+names; i++ {
				switch {
				case i == winner:
				case errs[i] == nil:
					t.Errorf("%s joined under two names", p.member.Name)
				case !slices.Contains(isHeld(fed, p.member, name(i), name(winner)), errs[i].Error()):
					t.Errorf("%s: %v", name(i), errs[i])
				}
			}
			if err := works(t, credential(t, p.host, string(name(winner)))); err != nil {
				t.Errorf("the stored credential of %s does not work: %v", name(winner), err)
			}
			p.unjoined(federate.UnjoinOptions{Name: name(winner)})
		}
		for _, p := range pairs {
			p.unchanged()
		}
	}
}

// isHeld are the whole texts that refuse a join under a name because its cluster is a member under another. The
// webhook says it; where it saw both at the same moment, the membership record does.
func isHeld(fed string, c *env.Cluster, loser, holder v1alpha1.MemberName) []string {
	return []string{
		fmt.Sprintf(`cannot join %q to federation %q; all changes were rolled back
* member: ConfigMap "kubefederate-member/membership": this cluster is member %q of federation %q of this host: unjoin it first: kubectl federate unjoin %s`,
			loser, fed, holder, fed, holder),
		fmt.Sprintf(`cannot join %q to federation %q; nothing was changed
* host: MemberCluster %q: spec.clusterID: Duplicate value: %q: this cluster is already member %q of federation %q; let it leave first: kubectl federate unjoin %s`,
			loser, fed, loser, c.ID, holder, fed, holder),
	}
}

// TestTwoJoins joins one cluster twice at once under one name: both report joined, and one member comes out.
func TestTwoJoins(t *testing.T) {
	p := newPair(t, "twice", nil).furnished()
	for range env.Rounds(5) {
		for _, err := range atOnce(2, func(int) error {
			_, err := p.process().join(federate.JoinOptions{})
			return err
		}) {
			if err != nil {
				t.Error(err)
			}
		}
		if err := works(t, p.credential()); err != nil {
			t.Errorf("the stored credential does not work: %v", err)
		}
		if made, err := p.h.Member(t.Context(), "twice"); err != nil || made.Annotations[v1alpha1.AnnotationAttempt] != "" {
			t.Errorf("an attempt stays on the member: %v, %v", made.Annotations, err)
		}
		p.left("twice")
	}
}

// TestJoinAgainstUnjoin runs both at once. Whichever wins, running the loser again brings the cluster where it
// wants it.
func TestJoinAgainstUnjoin(t *testing.T) {
	p := newPair(t, "tug", nil).furnished()
	for i := range env.Rounds(12) {
		if i%2 == 0 {
			p.joined(federate.JoinOptions{})
		}
		errs := atOnce(2, func(i int) error {
			var err error
			if i == 0 {
				_, err = p.process().join(federate.JoinOptions{})
			} else {
				_, err = p.process().unjoin(federate.UnjoinOptions{})
			}
			return err
		})
		t.Logf("join: %v; unjoin: %v", errs[0], errs[1])
		p.joined(federate.JoinOptions{})
		p.left("tug")
	}
}
