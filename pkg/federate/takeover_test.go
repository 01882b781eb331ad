package federate

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// orphaned are the facts of a cluster that another host had joined with access and the About API.
func orphaned(change func(*joinFacts)) func(*joinFacts) {
	return func(f *joinFacts) {
		f.Host.Federation.Spec.Access = &v1alpha1.Access{ClusterRole: "edit"}
		f.Member.Properties = true
		joined(f)
		f.Host.Federation.Spec.Access = nil
		f.Host.Member = nil
		k := f.Member.Membership
		k.HostID, k.Federation, k.Member, k.MemberUID = otherID, "lab", "their-east", "uid-there"
		if change != nil {
			change(f)
		}
	}
}

const evicted = `
member delete    ClusterRoleBinding "kubefederate-member:manager" (the other host's)
member delete    RoleBinding "kubefederate-member/kubefederate-manager" (the other host's)
member delete    ClusterRoleBinding "kubefederate-member:consumer" (the other host's)
member delete    ServiceAccount "kubefederate-member/kubefederate-manager" (the other host's)
member delete    ServiceAccount "kubefederate-member/kubefederate-consumer" (the other host's)
member delete    ClusterRole "kubefederate-member:manager" (the other host's)
member delete    Role "kubefederate-member/kubefederate-manager" (the other host's)
member delete    Secret "kubefederate-member/kubefederate-manager-binding" (the other host's)
member delete    ClusterProperty "clusterset.k8s.io" (the other host's)
member delete    ClusterProperty "cluster.clusterset.k8s.io" (the other host's)
member create    ServiceAccount "kubefederate-member/kubefederate-manager"
member create    ClusterRole "kubefederate-member:manager"
member create    Role "kubefederate-member/kubefederate-manager"
member create    Secret "kubefederate-member/kubefederate-manager-binding"
member unchanged ValidatingAdmissionPolicyBinding "member-tokens.kubefederate.io"
member unchanged ValidatingAdmissionPolicy "member-tokens.kubefederate.io"
member create    ClusterProperty "cluster.clusterset.k8s.io"
member update    ConfigMap "kubefederate-member/membership" (nothing of the other host is left)
member create    ClusterRoleBinding "kubefederate-member:manager"
member create    RoleBinding "kubefederate-member/kubefederate-manager"
member request   ServiceAccount "kubefederate-member/kubefederate-manager" (a token for 90d, bound to Secret "kubefederate-member/kubefederate-manager-binding")
host   store     Secret "kubefederate-credentials/east"
member create    ClusterProperty "clusterset.k8s.io"
member try       (the stored credential at https://east.example.com)
host   update    MemberCluster "east" (who joined it, and when)
host   create    Event "default/east"`

func TestPlanTakeOver(t *testing.T) {
	t.Parallel()
	const note = `member: is taken over from the host with cluster ID cccccccc-0000-4000-8000-000000000003; what that host could do here ends`
	for _, tt := range []struct {
		name     string
		facts    func(*joinFacts)
		takeOver bool
		want     string
	}{
		{"from a host that is gone", nil, true, `
host   create    MemberCluster "east"
member unchanged Namespace "kubefederate-member"
member update    ConfigMap "kubefederate-member/membership" (was member "their-east" of federation "lab" of the host with cluster ID cccccccc-0000-4000-8000-000000000003)` + evicted},
		{"this host was restored elsewhere, with its records", func(f *joinFacts) { joinedRecord(f) }, true, `
host   update    MemberCluster "east"
member unchanged Namespace "kubefederate-member"
member update    ConfigMap "kubefederate-member/membership" (was member "their-east" of federation "lab" of the host with cluster ID cccccccc-0000-4000-8000-000000000003)` + evicted},
		{"one that ended halfway continues by itself", func(f *joinFacts) {
			joinedRecord(f)
			k := f.Member.Membership
			k.HostID, k.Federation, k.Member, k.MemberUID, k.TakenFrom = hostID, "prod", "east", "uid-east", otherID
		}, false, `
host   update    MemberCluster "east"
member unchanged Namespace "kubefederate-member"
member unchanged ConfigMap "kubefederate-member/membership"` + evicted},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			plan, against := planJoin(facts(orphaned(tt.facts)), joinOptions(func(o *JoinOptions) { o.TakeOver = tt.takeOver }))
			compare(t, "against", texts(against), "")
			compare(t, "plan", plan.Text(), tt.want)
			compare(t, "notes", texts(plan.notes), note)
			if plan.Already() {
				t.Error("it is said to be joined already")
			}
		})
	}
}

// joinedRecord is the member as this host keeps it, and nothing on the cluster.
func joinedRecord(f *joinFacts) {
	before := f.Member
	f.Member.Membership, f.Member.Objects = nil, map[cluster.Ref]*unstructured.Unstructured{}
	joined(f)
	f.Member = before
}

func TestPlanTakeOverRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		facts func(*joinFacts)
		want  string
	}{
		{"this host is not gone", func(f *joinFacts) { f.Member.Membership.HostID = hostID },
			`member: ConfigMap "kubefederate-member/membership": this cluster is member "their-east" of federation "lab" of this host, which is not gone: ` +
				`there is nothing to take over: unjoin it first: kubectl federate unjoin their-east --member-context ctx-east`},
		{"rights to remove what the other host put there, and only that", func(f *joinFacts) {
			delete(f.Member.Objects, member.ManagerAccountRef())
			rights := []cluster.Right{
				{Verb: "delete", Resource: cluster.ServiceAccounts, Namespace: v1alpha1.MemberNamespace, Name: v1alpha1.ManagerAccount},
				{Verb: "delete", Resource: cluster.ClusterRoles, Name: member.ManagerRole},
			}
			onHost := host.Target{Member: "east"}.LeaveRights()
			f.MemberLacks, f.UndoMissing = rights, missingOf(cluster.Host, onHost, onHost)
		},
			`member: you are not allowed to delete clusterroles.rbac.authorization.k8s.io "kubefederate-member:manager"`},
		{"what join did not create is not removed", func(f *joinFacts) { f.Member.Objects[member.ManagerAccountRef()].SetLabels(nil) },
			`member: ServiceAccount "kubefederate-member/kubefederate-manager": already exists and was not created by kubectl federate (it lacks the label app.kubernetes.io/managed-by=kubectl-federate): find out who uses it, then delete or rename it`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, against := planJoin(facts(orphaned(tt.facts)), joinOptions(func(o *JoinOptions) { o.TakeOver = true }))
			compare(t, "against", texts(against), tt.want)
		})
	}
}
