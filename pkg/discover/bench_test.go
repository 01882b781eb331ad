package discover

import (
	"fmt"
	"testing"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// BenchmarkJudge judges 10,000 members and as many clusters that would join, all under one name.
func BenchmarkJudge(b *testing.B) {
	v := view()
	v.Members, _ = manyMembers()
	observations := make([]Observation, 0, 2*len(v.Members))
	for i := range v.Members {
		observations = append(observations, seen(v.Members[i].Name, v1alpha1.ClusterID(v.Members[i].Spec.ClusterID), requests("prod")),
			seen(fmt.Sprintf("admin-%d@kubernetes", i), v1alpha1.ClusterID(fmt.Sprintf("%08x-new", i)), requests("prod")))
	}
	for b.Loop() {
		if clusters := Judge(v, observations); len(clusters) != len(observations) {
			b.Fatal(len(clusters))
		}
	}
}

// BenchmarkReach finds the contexts of 10,000 members.
func BenchmarkReach(b *testing.B) {
	members, observations := manyMembers()
	for b.Loop() {
		Reach(View{Members: members}, observations)
	}
}

func manyMembers() ([]v1alpha1.MemberCluster, []Observation) {
	members, observations := make([]v1alpha1.MemberCluster, 10_000), make([]Observation, 10_000)
	for i := range members {
		members[i].Name, members[i].Spec.ClusterID = fmt.Sprintf("member-%d", i), fmt.Sprintf("%08x-member", i)
		members[i].Labels = map[string]string{v1alpha1.LabelFederation: "prod"}
		server(v1alpha1.ClusterID(members[i].Spec.ClusterID)).Store(&members[i].Spec)
		observations[i] = seen(members[i].Name, v1alpha1.ClusterID(members[i].Spec.ClusterID), nil)
	}
	return members, observations
}
