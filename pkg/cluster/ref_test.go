package cluster_test

import (
	"testing"

	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

// TestRefs pins how messages and kubectl name what a request is about.
func TestRefs(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		ref        cluster.Ref
		text, word string
	}{
		{cluster.Ref{Resource: cluster.RancherClusters, Name: "c-m-k2x9wq7d"}, `Cluster "c-m-k2x9wq7d"`, "clusters.management.cattle.io/c-m-k2x9wq7d"},
		{cluster.Ref{Resource: cluster.ClusterAPIClusters[0], Namespace: "team-x", Name: "prod-a"}, `Cluster "team-x/prod-a"`, "clusters.cluster.x-k8s.io/prod-a --namespace team-x"},
		{cluster.Ref{Resource: cluster.ServiceAccounts, Namespace: "a", Name: "b", Subresource: "token"}, `serviceaccounts/token of ServiceAccount "a/b"`, ""},
		{cluster.Ref{Resource: cluster.Secrets, Namespace: "a"}, `secrets in namespace "a"`, ""},
		{cluster.Ref{Resource: cluster.MemberClusters}, "memberclusters.kubefederate.io", ""},
		{cluster.Ref{Path: "/version"}, "/version", ""},
		{cluster.Ref{}, "", ""},
	} {
		if got := tt.ref.String(); got != tt.text {
			t.Errorf("text %q, want %q", got, tt.text)
		}
		if got := tt.ref.Word(); tt.word != "" && got != tt.word {
			t.Errorf("word %q, want %q", got, tt.word)
		}
	}
}
