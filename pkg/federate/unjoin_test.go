package federate

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// leaving are the facts of a member that joined with these facts.
func leaving(join func(*joinFacts), change func(*unjoinFacts)) unjoinFacts {
	f := facts(func(f *joinFacts) {
		if join != nil {
			join(f)
		}
		joined(f)
	})
	u := unjoinFacts{Host: f.Host, Member: &f.Member}
	u.Host.Federation = nil
	if change != nil {
		change(&u)
	}
	return u
}

func TestPlanUnjoinSteps(t *testing.T) {
	t.Parallel()
	everything := func(f *joinFacts) {
		f.Host.Federation.Spec.Access = &v1alpha1.Access{ClusterRole: "view"}
		f.Member.Properties = true
	}
	for _, tt := range []struct {
		name    string
		joined  func(*joinFacts)
		facts   func(*unjoinFacts)
		options UnjoinOptions
		want    string
		notes   string
	}{
		{"everything there is", everything, func(f *unjoinFacts) { f.MayDeleteCredential = true }, UnjoinOptions{}, `
member delete    ClusterRoleBinding "kubefederate-member:manager"
member delete    RoleBinding "kubefederate-member/kubefederate-manager"
member delete    ClusterRoleBinding "kubefederate-member:consumer"
member delete    ServiceAccount "kubefederate-member/kubefederate-manager"
member delete    ServiceAccount "kubefederate-member/kubefederate-consumer"
member delete    ClusterRole "kubefederate-member:manager"
member delete    Role "kubefederate-member/kubefederate-manager"
member delete    Secret "kubefederate-member/kubefederate-manager-binding"
member delete    ClusterProperty "clusterset.k8s.io"
member delete    ClusterProperty "cluster.clusterset.k8s.io"
member delete    ValidatingAdmissionPolicyBinding "member-tokens.kubefederate.io"
member delete    ValidatingAdmissionPolicy "member-tokens.kubefederate.io"
member delete    ConfigMap "kubefederate-member/membership"
member delete    Namespace "kubefederate-member" (if nothing else is in it)
member try       (whether it refuses the host's credential)
host   delete    Secret "kubefederate-credentials/east"
host   delete    MemberCluster "east"`, ""},
		{"what others prepared stays", everything, func(f *unjoinFacts) {
			f.Member.Namespace.SetLabels(nil)
			for ref, o := range f.Member.Objects {
				if ref.Namespace == "" {
					o.SetLabels(nil)
					o.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: "kubectl-client-side-apply"}})
				}
			}
		}, UnjoinOptions{}, `
member delete    RoleBinding "kubefederate-member/kubefederate-manager"
member delete    ServiceAccount "kubefederate-member/kubefederate-manager"
member delete    ServiceAccount "kubefederate-member/kubefederate-consumer"
member delete    Role "kubefederate-member/kubefederate-manager"
member delete    Secret "kubefederate-member/kubefederate-manager-binding"
member delete    ConfigMap "kubefederate-member/membership"
member try       (whether it refuses the host's credential)
host   delete    MemberCluster "east" (garbage collection removes its credential)`, ""},
		{"accounts are revoked without their label, and what else lost it is named", everything, func(f *unjoinFacts) {
			for ref, o := range f.Member.Objects {
				o.SetLabels(nil)
				if ref.Resource == cluster.ClusterProperties {
					o.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: v1alpha1.ManagerFieldOwner}})
				} else if ref.Namespace == "" {
					o.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: "kubectl-label"}, {Manager: v1alpha1.FieldOwner}})
				}
			}
		}, UnjoinOptions{}, `
member delete    ServiceAccount "kubefederate-member/kubefederate-manager" (although it has lost its label)
member delete    ServiceAccount "kubefederate-member/kubefederate-consumer" (although it has lost its label)
member delete    ConfigMap "kubefederate-member/membership"
member delete    Namespace "kubefederate-member" (if nothing else is in it)
member try       (whether it refuses the host's credential)
host   delete    MemberCluster "east" (garbage collection removes its credential)`, `
member: ClusterRoleBinding "kubefederate-member:manager": stays, since it lacks the label app.kubernetes.io/managed-by=kubectl-federate, which a join sets: if it is not needed, delete it: kubectl delete clusterrolebindings.rbac.authorization.k8s.io kubefederate-member:manager --context ctx-east
member: RoleBinding "kubefederate-member/kubefederate-manager": stays, since it lacks the label app.kubernetes.io/managed-by=kubectl-federate, which a join sets: if it is not needed, delete it: kubectl delete rolebindings.rbac.authorization.k8s.io kubefederate-manager --namespace kubefederate-member --context ctx-east
member: ClusterRoleBinding "kubefederate-member:consumer": stays, since it lacks the label app.kubernetes.io/managed-by=kubectl-federate, which a join sets: if it is not needed, delete it: kubectl delete clusterrolebindings.rbac.authorization.k8s.io kubefederate-member:consumer --context ctx-east
member: ClusterRole "kubefederate-member:manager": stays, since it lacks the label app.kubernetes.io/managed-by=kubectl-federate, which a join sets: if it is not needed, delete it: kubectl delete clusterroles.rbac.authorization.k8s.io kubefederate-member:manager --context ctx-east
member: Role "kubefederate-member/kubefederate-manager": stays, since it lacks the label app.kubernetes.io/managed-by=kubectl-federate, which a join sets: if it is not needed, delete it: kubectl delete roles.rbac.authorization.k8s.io kubefederate-manager --namespace kubefederate-member --context ctx-east
member: Secret "kubefederate-member/kubefederate-manager-binding": stays, since it lacks the label app.kubernetes.io/managed-by=kubectl-federate, which a join sets: if it is not needed, delete it: kubectl delete secrets kubefederate-manager-binding --namespace kubefederate-member --context ctx-east
member: ClusterProperty "clusterset.k8s.io": stays, since it lacks the label kubefederate.io/federation, which a join sets: if it is not needed, delete it: kubectl delete clusterproperties.about.k8s.io clusterset.k8s.io --context ctx-east
member: ClusterProperty "cluster.clusterset.k8s.io": stays, since it lacks the label kubefederate.io/federation, which a join sets: if it is not needed, delete it: kubectl delete clusterproperties.about.k8s.io cluster.clusterset.k8s.io --context ctx-east
member: ValidatingAdmissionPolicyBinding "member-tokens.kubefederate.io": stays, since it lacks the label app.kubernetes.io/managed-by=kubectl-federate, which a join sets: if it is not needed, delete it: kubectl delete validatingadmissionpolicybindings.admissionregistration.k8s.io member-tokens.kubefederate.io --context ctx-east
member: ValidatingAdmissionPolicy "member-tokens.kubefederate.io": stays, since it lacks the label app.kubernetes.io/managed-by=kubectl-federate, which a join sets: if it is not needed, delete it: kubectl delete validatingadmissionpolicies.admissionregistration.k8s.io member-tokens.kubefederate.io --context ctx-east`},
		{"an account without its label where nothing says that the cluster is this host's member", nil, func(f *unjoinFacts) {
			f.Member = &member.State{ID: memberID, Objects: map[cluster.Ref]*unstructured.Unstructured{
				member.ManagerAccountRef(): cluster.ServiceAccounts.New(v1alpha1.MemberNamespace, v1alpha1.ManagerAccount)}}
		}, UnjoinOptions{}, `
member try       (whether it refuses the host's credential)
host   delete    MemberCluster "east" (garbage collection removes its credential)`,
			`member: ServiceAccount "kubefederate-member/kubefederate-manager": stays, and its tokens remain valid, since it lacks the label app.kubernetes.io/managed-by=kubectl-federate, which a join sets: ` +
				`if it is not needed, delete it: kubectl delete serviceaccounts kubefederate-manager --namespace kubefederate-member --context ctx-east`},
		{"the caller may not delete namespaces", nil, func(f *unjoinFacts) {
			f.Member.Objects, f.MemberLacks = nil, member.NamespaceRef().Rights("delete")
		}, UnjoinOptions{}, `
member delete    ConfigMap "kubefederate-member/membership"
member try       (whether it refuses the host's credential)
host   delete    MemberCluster "east" (garbage collection removes its credential)`,
			`member: Namespace "kubefederate-member": stays, since you are not allowed to delete namespaces "kubefederate-member": ` +
				`if nothing else is in it, an administrator of the cluster can delete it: kubectl delete namespaces kubefederate-member --context ctx-east`},
		{"an unjoin that ended halfway: the member is clean, the host's record stands", nil, func(f *unjoinFacts) {
			f.Member = &member.State{ID: memberID}
		}, UnjoinOptions{}, `
member try       (whether it refuses the host's credential)
host   delete    MemberCluster "east" (garbage collection removes its credential)`, ""},
		{"no record on the host", nil, func(f *unjoinFacts) {
			f.Host.Member = nil
			for ref := range f.Member.Objects {
				if ref != member.BindingRefs()[0] {
					delete(f.Member.Objects, ref)
				}
			}
		}, UnjoinOptions{}, `
member delete    Secret "kubefederate-member/kubefederate-manager-binding"
member delete    ConfigMap "kubefederate-member/membership"
member delete    Namespace "kubefederate-member" (if nothing else is in it)`, ""},
		{"a federation label that stays", nil, func(f *unjoinFacts) {
			f.Member.Objects = nil
			f.Member.JoinRequest = member.JoinRequest{Federation: "prod", Namespace: "kube-system"}
		}, UnjoinOptions{}, `
member delete    ConfigMap "kubefederate-member/membership"
member update    Namespace "kube-system" (annotate that it left, beside its federation label)
member delete    Namespace "kubefederate-member" (if nothing else is in it)
member try       (whether it refuses the host's credential)
host   delete    MemberCluster "east" (garbage collection removes its credential)`,
			`member: Namespace "kube-system": still carries the label kubefederate.io/federation=prod; discovery does not join it again: remove it: kubectl federate label --member-context ctx-east --remove`},
		{"a federation label that stays on the host's object", nil, func(f *unjoinFacts) {
			f.Member.Objects = nil
			f.Member.Membership.RequestedBy = requester
		}, UnjoinOptions{}, `
member delete    ConfigMap "kubefederate-member/membership"
member update    Namespace "kube-system" (annotate that it left, since its federation label is on the host)
member delete    Namespace "kubefederate-member" (if nothing else is in it)
member try       (whether it refuses the host's credential)
host   delete    MemberCluster "east" (garbage collection removes its credential)`,
			`host: clusters.cluster.x-k8s.io/team-x/east: carried the label kubefederate.io/federation=prod, which asked to join; if it still does, discovery does not join the cluster again: ` +
				`remove the label: kubectl label clusters.cluster.x-k8s.io east --namespace team-x kubefederate.io/federation-`},
		{"a federation label that stays on an object of another API server", nil, func(f *unjoinFacts) {
			f.Member.Objects = nil
			f.Member.Membership.RequestedBy = requester
			f.Member.Membership.RequestedBy.Elsewhere = true
		}, UnjoinOptions{}, `
member delete    ConfigMap "kubefederate-member/membership"
member update    Namespace "kube-system" (annotate that it left, since its federation label is on another API server)
member delete    Namespace "kubefederate-member" (if nothing else is in it)
member try       (whether it refuses the host's credential)
host   delete    MemberCluster "east" (garbage collection removes its credential)`,
			`sources: clusters.cluster.x-k8s.io/team-x/east: carried the label kubefederate.io/federation=prod, which asked to join; if it still does, discovery does not join the cluster again: ` +
				`remove the label: kubectl label clusters.cluster.x-k8s.io east --namespace team-x kubefederate.io/federation- --context CONTEXT`},
		{"the host's object asked for it, and so does the cluster", nil, func(f *unjoinFacts) {
			f.Member.Objects = nil
			f.Member.JoinRequest = member.JoinRequest{Federation: "prod", Namespace: "kube-system"}
			f.Member.Membership.RequestedBy = requester
		}, UnjoinOptions{}, `
member delete    ConfigMap "kubefederate-member/membership"
member update    Namespace "kube-system" (annotate that it left, beside its federation label)
member delete    Namespace "kubefederate-member" (if nothing else is in it)
member try       (whether it refuses the host's credential)
host   delete    MemberCluster "east" (garbage collection removes its credential)`,
			`member: Namespace "kube-system": still carries the label kubefederate.io/federation=prod; discovery does not join it again: remove it: kubectl federate label --member-context ctx-east --remove`},
		{"a federation label that goes along, and its namespace with it", nil, func(f *unjoinFacts) {
			f.Member.Objects = nil
			f.Member.JoinRequest = member.JoinRequest{Federation: "prod", Namespace: v1alpha1.MemberNamespace}
		}, UnjoinOptions{DropLabel: true}, `
member delete    ConfigMap "kubefederate-member/membership"
member update    Namespace "kubefederate-member" (remove the label kubefederate.io/federation=prod)
member delete    Namespace "kubefederate-member" (if nothing else is in it)
member try       (whether it refuses the host's credential)
host   delete    MemberCluster "east" (garbage collection removes its credential)`, ""},
		{"a federation label for another federation is none of this one's business", nil, func(f *unjoinFacts) {
			f.Member.Objects = nil
			f.Member.JoinRequest = member.JoinRequest{Federation: "lab", Namespace: v1alpha1.MemberNamespace}
		}, UnjoinOptions{}, `
member delete    ConfigMap "kubefederate-member/membership"
member try       (whether it refuses the host's credential)
host   delete    MemberCluster "east" (garbage collection removes its credential)`, ""},
		{"no manager runs", nil, func(f *unjoinFacts) {
			f.Member.Objects, f.NoManager = nil, fmt.Errorf("host: %w", host.ErrNotEnforcing)
		}, UnjoinOptions{}, `
member delete    ConfigMap "kubefederate-member/membership"
member delete    Namespace "kubefederate-member" (if nothing else is in it)
host   delete    MemberCluster "east" (garbage collection removes its credential)`,
			`host: MemberCluster "east": it is not confirmed that the member refuses the host's credential: no manager is running`},
		{"forced", nil, func(f *unjoinFacts) {
			f.Member = nil
			f.Host.Member.Status.CredentialExpiry = &metav1.Time{Time: time.Date(2027, 2, 1, 0, 0, 0, 0, time.UTC)}
		}, UnjoinOptions{Force: true}, `host   delete    MemberCluster "east" (garbage collection removes its credential)`,
			`member: is not touched: namespace "kubefederate-member" with its accounts, roles and bindings of kubefederate-member, and ClusterProperties stay there; ` +
				`the host's token works until 2027-02-01T00:00:00Z: should the cluster come back: kubectl federate unjoin east --member-context CONTEXT`},
		{"forced, and the manager has not reported when the token ends", nil, func(f *unjoinFacts) { f.Member = nil }, UnjoinOptions{Force: true},
			`host   delete    MemberCluster "east" (garbage collection removes its credential)`,
			`member: is not touched: namespace "kubefederate-member" with its accounts, roles and bindings of kubefederate-member, and ClusterProperties stay there; ` +
				`the host's token works until its end, at most a year after it was made: should the cluster come back: kubectl federate unjoin east --member-context CONTEXT`},
		{"nothing anywhere", nil, func(f *unjoinFacts) { f.Host.Member, f.Member = nil, &member.State{ID: memberID} }, UnjoinOptions{}, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.options.Name, tt.options.Cluster.Context = "east", "ctx-east"
			plan, against := planUnjoin(leaving(tt.joined, tt.facts), tt.options)
			compare(t, "against", texts(against), "")
			compare(t, "plan", plan.Text(), tt.want)
			compare(t, "notes", texts(plan.notes), tt.notes)
			if plan.Already() != (tt.want == "") {
				t.Errorf("Already() = %v", plan.Already())
			}
		})
	}
}

// TestForgottenLast holds that the manager is asked about the credential when all grants are revoked, while the namespace goes, and
// that the host forgets the member after all else.
func TestForgottenLast(t *testing.T) {
	t.Parallel()
	plan, _ := planUnjoin(leaving(nil, func(f *unjoinFacts) { f.MayDeleteCredential = true }), UnjoinOptions{Name: "east"})
	var phases []string
	for _, group := range plan.phases(func(Step) bool { return true }) {
		var verbs []string
		for _, i := range group {
			s := plan.Steps[i]
			verbs = append(verbs, strings.TrimSpace(fmt.Sprintf("%s %s %s", s.Side, s.Verb, s.Object.Resource.Kind)))
		}
		phases = append(phases, strings.Join(slices.Compact(verbs), ", "))
	}
	compare(t, "phases", strings.Join(phases, "\n"), `
member delete ClusterRoleBinding, member delete RoleBinding, member delete ServiceAccount, member delete ClusterRole, member delete Role, member delete Secret, member delete ValidatingAdmissionPolicyBinding, member delete ValidatingAdmissionPolicy
member delete ConfigMap
member delete Namespace, member try
host delete Secret, host delete MemberCluster`)
}

func TestPlanUnjoinRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		facts func(*unjoinFacts)
		want  string
	}{
		{"the wrong cluster", func(f *unjoinFacts) { f.Member.ID = otherID },
			`member: MemberCluster "east": has cluster ID bbbbbbbb-0000-4000-8000-000000000002, but the context leads to cluster cccccccc-0000-4000-8000-000000000003: ` +
				`name the member's own context with --member-context`},
		{"taken over by another host", func(f *unjoinFacts) { f.Member.Membership.HostID = otherID },
			`member: ConfigMap "kubefederate-member/membership": this cluster is member "east" of federation "prod" of another host (cluster ID cccccccc-0000-4000-8000-000000000003): ` +
				`unjoin it there first: kubectl federate unjoin east --member-context ctx-east --context OTHER-HOST; or remove only this host's record: kubectl federate unjoin east --force`},
		{"another member of this host", func(f *unjoinFacts) {
			f.Host.Member = nil
			f.Member.Membership.Member = "east-1"
		},
			`member: ConfigMap "kubefederate-member/membership": this cluster is member "east-1" of federation "prod": unjoin it by that name: kubectl federate unjoin east-1 --member-context ctx-east`},
		{"rights", func(f *unjoinFacts) {
			f.MemberLacks = []cluster.Right{{Verb: "delete", Resource: cluster.ClusterRoles, Name: member.ManagerRole}}
			f.Refused = &cluster.Error{Side: cluster.Host, Object: host.MemberRef("east"), Err: apierrors.NewForbidden(schema.GroupResource{Group: "kubefederate.io", Resource: "memberclusters"}, "east", nil)}
		}, `
member: you are not allowed to delete clusterroles.rbac.authorization.k8s.io "kubefederate-member:manager"
host: MemberCluster "east": memberclusters.kubefederate.io "east" is forbidden: <nil>`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, against := planUnjoin(leaving(nil, tt.facts), UnjoinOptions{Name: "east", Cluster: command.Cluster{Context: "ctx-east"}})
			compare(t, "against", texts(against), tt.want)
		})
	}
}

func TestPlanUnjoinWantsTheMember(t *testing.T) {
	t.Parallel()
	_, err := PlanUnjoin(t.Context(), &host.Cluster{}, nil, UnjoinOptions{Name: "east"})
	compare(t, "error", err.Error(), `
cannot unjoin "east"; nothing was changed
* member: the cluster itself must be reached, to revoke what it granted: name it with --member-context, or remove only the host's record with --force if the cluster is gone for good`)
}
