package federate

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// TestNoteOthers is what a join notes of a namespace that was there before: only where the federation gives access, and of accounts
// only where no membership stands for them.
func TestNoteOthers(t *testing.T) {
	t.Parallel()
	binding := func(name string) member.Other {
		return member.Other{Ref: cluster.Ref{Resource: cluster.RoleBindings, Namespace: v1alpha1.MemberNamespace, Name: name}, Does: `lets Group "team-x" read its Secrets`}
	}
	const reach = ", and so have the access of ClusterRole \"view\" that the federation gives"
	const who = "lets Group \"team-x\" read its Secrets" + reach
	intended := func(name string) string {
		return "if that is not intended, delete it: kubectl delete rolebindings.rbac.authorization.k8s.io " + name + " --namespace kubefederate-member --context ctx-east"
	}
	prepared := func(f *joinFacts) {
		f.Host.Federation.Spec.Access = &v1alpha1.Access{ClusterRole: "view"}
		f.Member.Namespace = cluster.Namespaces.New("", v1alpha1.MemberNamespace)
	}
	var many []string
	for i := range 10 {
		name := fmt.Sprint("b", i)
		many = append(many, `member: RoleBinding "kubefederate-member/`+name+`": `+who+": "+intended(name))
	}
	account := member.ManagerAccountRef()
	for name, tt := range map[string]struct {
		facts func(*joinFacts)
		want  []string
	}{
		"nothing of others": {prepared, nil},
		"a RoleBinding": {func(f *joinFacts) {
			prepared(f)
			f.Others = []member.Other{binding("team-x")}
		}, []string{`member: RoleBinding "kubefederate-member/team-x": ` + who + ": " + intended("team-x")}},
		"no access": {func(f *joinFacts) {
			prepared(f)
			f.Host.Federation.Spec.Access = nil
			f.Others = []member.Other{binding("team-x")}
		}, nil},
		"many": {func(f *joinFacts) {
			prepared(f)
			for i := range 12 {
				f.Others = append(f.Others, binding(fmt.Sprint("b", i)))
			}
		}, append(slices.Clone(many), `member: Namespace "kubefederate-member": holds 2 more of the kind`)},
		"no right to look": {func(f *joinFacts) {
			prepared(f)
			f.OthersUnread = errors.New("forbidden")
		}, []string{`member: Namespace "kubefederate-member": exists already, and it could not be seen who may create tokens in it` + reach +
			": forbidden: let an administrator of the cluster look at its RoleBindings and Secrets"}},
		"an account": {func(f *joinFacts) {
			prepared(f)
			f.Member.Objects[account] = member.Grants{}.Accounts()[0].Manifest
		}, []string{`member: ServiceAccount "kubefederate-member/kubefederate-manager": was there before the join: who has a token of it keeps it` + reach +
			": make the accounts anew after the join, which ends such tokens: kubectl federate rotate east --member-context ctx-east"}},
		"an account of a membership": {func(f *joinFacts) {
			joined(f)
			prepared(f)
		}, nil},
	} {
		plan, against := planJoin(facts(tt.facts), joinOptions(nil))
		if len(against) > 0 {
			t.Errorf("%s: refused: %v", name, against)
		}
		var got []string
		for _, note := range plan.Notes() {
			got = append(got, note.String())
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
