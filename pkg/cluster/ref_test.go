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
		{cluster.Ref{Resource: cluster.RancherSettings, Name: "cacerts"}, `Setting "cacerts"`, "settings.management.cattle.io/cacerts"},
		{cluster.Ref{Resource: cluster.Roles, Namespace: "team-x", Name: "prod-a"}, `Role "team-x/prod-a"`, "roles.rbac.authorization.k8s.io/prod-a --namespace team-x"},
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
