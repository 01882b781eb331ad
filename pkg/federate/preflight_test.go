package federate

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// TestMissingRightsOnce names a right once that several steps take, in their order, and none that is held.
func TestMissingRightsOnce(t *testing.T) {
	t.Parallel()
	create, list := member.NamespaceRef().Rights("create")[0], member.NodesRef.Rights("list")[0]
	held := member.MembershipRef().Rights("get")[0]
	got := missingOf(cluster.Member, []cluster.Right{list, create}, []cluster.Right{create, held, list, create})
	if diff := cmp.Diff([]missing{{cluster.Member, create}, {cluster.Member, list}}, got, cmp.AllowUnexported(missing{})); diff != "" {
		t.Error(diff)
	}
}

// TestSameRefusal compares what a policy, a quota and RBAC say in two namespaces.
func TestSameRefusal(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name          string
		first, second string
		want          bool
	}{
		{"one policy for all", "nothing goes into a namespace without an owner", "nothing goes into a namespace without an owner", true},
		{"one policy for all, which names the object", "resource ServiceAccount/default/a was blocked", "resource ServiceAccount/kube-public/a was blocked", true},
		{"the account default", `serviceaccounts "default" is forbidden: denied`, `serviceaccounts "default" is forbidden: denied`, true},
		{"two policies", "nothing goes into default", "namespaces of Kubernetes are read only", false},
		{"a quota in one, RBAC in the other", "exceeded quota: a", `User "nina" cannot create resource "secrets" in the namespace "kube-public"`, false},
	} {
		if got := sameRefusal(errors.New(tt.first), errors.New(tt.second)); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}
