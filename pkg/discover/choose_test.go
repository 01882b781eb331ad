package discover

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// TestChoose names the clusters of contexts as they are found in the wild. Each case is judged in both orders: the
// names are the same.
func TestChoose(t *testing.T) {
	t.Parallel()
	began := func(name v1alpha1.MemberName) func(*Answer) {
		return func(a *Answer) { a.Membership = &member.Membership{HostID: hostID, Federation: "prod", Member: name} }
	}
	dead := func(name string) Observation {
		return Observation{Candidate: Candidate{Source: "kubeconfig", Name: name}, Err: errors.New("member: no answer")}
	}
	for _, tt := range []struct {
		name         string
		observations []Observation
		want         []row
	}{
		{"one EKS name in two regions", []Observation{
			seen("arn:aws:eks:eu-west-1:123:cluster/shop", "22222222-x", nil), seen("arn:aws:eks:us-east-1:123:cluster/shop", "33333333-y", nil),
		}, []row{
			{"arn:aws:eks:eu-west-1:123:cluster/shop", "shop-22222222", "prod", Wants, ""},
			{"arn:aws:eks:us-east-1:123:cluster/shop", "shop-33333333", "prod", Wants, ""},
		}},
		{"GKE", []Observation{seen("gke_p_europe-west1-b_shop", "2", nil)}, []row{{"gke_p_europe-west1-b_shop", "shop", "prod", Wants, ""}}},
		{"a user before the cluster", []Observation{seen("jill@shop", "2", nil)}, []row{{"jill@shop", "shop", "prod", Wants, ""}}},
		{"kubeadm's name for every cluster", []Observation{
			seen("kubernetes-admin@kubernetes", "22222222-x", nil), seen("kubernetes", "33333333-y", nil),
		}, []row{
			{"kubernetes", "kubernetes-33333333", "prod", Wants, ""},
			{"kubernetes-admin@kubernetes", "kubernetes-22222222", "prod", Wants, ""},
		}},
		{"one of two does not answer", []Observation{dead("x@default"), seen("y@default", "33333333-y", nil)},
			[]row{{"x@default", "", "", Unreachable, "member: no answer"}, {"y@default", "default-33333333", "prod", Wants, ""}}},
		{"one of two is a member already", []Observation{seen("x@web", "11111111-web", nil), seen("y@web", "33333333-y", nil)},
			[]row{{"x@web", "web", "prod", Joined, ""}, {"y@web", "web-33333333", "prod", Wants, ""}}},
		{"a member under another name counts as its context too", []Observation{seen("x@shop", "11111111-web", nil), seen("y@shop", "33333333-y", nil)},
			[]row{{"x@shop", "web", "prod", Joined, ""}, {"y@shop", "shop-33333333", "prod", Wants, ""}}},
		{"a context called like another with its ID", []Observation{seen("x@shop", "22222222-x", nil), seen("y@shop", "33333333-y", nil), seen("shop-22222222", "4", nil)},
			[]row{{"shop-22222222", "shop-22222222", "prod", Wants, ""}, {"x@shop", "shop-22222222-x", "prod", Wants, ""}, {"y@shop", "shop-33333333", "prod", Wants, ""}}},
		{"a join that was not finished", []Observation{seen("a", "2", began("east"))}, []row{{"a", "east", "prod", Wants, ""}}},
		{"a membership record with the name of another member", []Observation{seen("a", "2", began("web"))}, []row{{"a", "a", "prod", Wants, ""}}},
		{"another host's membership record gives no name", []Observation{seen("a", "2", recorded(otherID))}, []row{{"a", "a", "prod", Wants, `it is member "was" of federation "test" of another host, cluster 99999999-other-host`}}},
		{"its own federation label counts for nothing", []Observation{seen("a", "2", requests("test"))}, []row{{"a", "a", "prod", Wants, ""}}},
		{"nothing usable in the name", []Observation{seen("日本", "22222222-x", nil)}, []row{{"日本", "22222222", "prod", Wants, ""}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			backwards := slices.Clone(tt.observations)
			slices.Reverse(backwards)
			for _, observations := range [][]Observation{tt.observations, backwards} {
				clusters := Choose(view(), "prod", observations)
				Sort(clusters)
				var got []row
				for _, c := range clusters {
					got = append(got, row{c.Name, string(c.Member), string(c.Federation), c.State, c.Reason})
				}
				want := slices.Clone(tt.want)
				slices.SortStableFunc(want, cmpStates)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

// cmpStates puts what did not answer last, as Sort does.
func cmpStates(a, b row) int {
	if (a.State == Unreachable) == (b.State == Unreachable) {
		return 0
	}
	if a.State == Unreachable {
		return 1
	}
	return -1
}

func TestReach(t *testing.T) {
	t.Parallel()
	v := view()
	other := v.Members[0]
	other.Spec.ClusterID = "22222222-gone"
	v.Members = append(v.Members, other)
	reached := Reach(v, []Observation{
		{Candidate: Candidate{Name: "dead"}, Err: errors.New("member: no answer")},
		seen("b", "11111111-web", nil), seen("a", "11111111-web", nil), elsewhere("evil", "11111111-web", "key of evil"),
		elsewhere("a copy", "11111111-web", "key of 11111111-web"),
	})
	if len(reached) != 2 || len(reached[0].Ways) != 3 || reached[0].Ways[0].Name != "a" || reached[0].Ways[2].Name != "a copy" || len(reached[0].Disputed) != 1 || len(reached[1].Ways) != 0 {
		t.Errorf("got %+v, want two contexts of the first member, then the copy, and none of the second", reached)
	}
}
