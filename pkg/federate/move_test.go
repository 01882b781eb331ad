package federate

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// moving are the facts of a member of prod, which gives access, that moves to test.
func movingFacts(change func(*joinFacts)) joinFacts {
	return facts(func(f *joinFacts) {
		f.Host.Federation.Spec.Access = &v1alpha1.Access{ClusterRole: "view"}
		joined(f)
		f.Leaving, f.Host.Member = f.Host.Member, nil
		f.Leaving.Labels["example.com/team"] = "web"
		f.Leaving.Spec.Suspended, f.Leaving.Spec.Suspension = true, &v1alpha1.Suspension{Reason: "upgrade"}
		f.Host.Federation = &v1alpha1.Federation{}
		f.Host.Federation.Name = "test"
		if change != nil {
			change(f)
		}
	})
}

func moveOptions(change func(*JoinOptions)) JoinOptions {
	return joinOptions(func(o *JoinOptions) {
		o.Federation, o.moving = "test", moving{moves: true, from: "prod"}
		if change != nil {
			change(o)
		}
	})
}

// movedPlan is what a move does on the member, and then on the host.
const movedPlan = `
member delete    ClusterRoleBinding "kubefederate-member:manager" (the former federation's)
member delete    RoleBinding "kubefederate-member/kubefederate-manager" (the former federation's)
member delete    ClusterRoleBinding "kubefederate-member:consumer" (the former federation's)
member delete    ServiceAccount "kubefederate-member/kubefederate-manager" (the former federation's)
member delete    ServiceAccount "kubefederate-member/kubefederate-consumer" (the former federation's)
member delete    ClusterRole "kubefederate-member:manager" (the former federation's)
member delete    Role "kubefederate-member/kubefederate-manager" (the former federation's)
member delete    Secret "kubefederate-member/kubefederate-manager-binding" (the former federation's)
member create    ServiceAccount "kubefederate-member/kubefederate-manager"
member create    ClusterRole "kubefederate-member:manager"
member create    Role "kubefederate-member/kubefederate-manager"
member create    Secret "kubefederate-member/kubefederate-manager-binding"
member unchanged ValidatingAdmissionPolicyBinding "member-tokens.kubefederate.io"
member unchanged ValidatingAdmissionPolicy "member-tokens.kubefederate.io"
member update    ConfigMap "kubefederate-member/membership" (nothing of the former federation is left)
member create    ClusterRoleBinding "kubefederate-member:manager"
member create    RoleBinding "kubefederate-member/kubefederate-manager"
member request   ServiceAccount "kubefederate-member/kubefederate-manager" (a token for 90d, bound to Secret "kubefederate-member/kubefederate-manager-binding")
host   store     Secret "kubefederate-credentials/east"
member try       (the stored credential at https://east.example.com)
host   update    MemberCluster "east" (who joined it, and when)
host   create    Event "default/east"`

// TestPlanMove holds the steps of a move, whatever the membership record says of this host, and what the move notes.
func TestPlanMove(t *testing.T) {
	t.Parallel()
	const begin = `
host   delete    MemberCluster "east" (leaves federation "prod")
host   create    MemberCluster "east"
member unchanged Namespace "kubefederate-member"
`
	const update = begin + `member update    ConfigMap "kubefederate-member/membership" (was in federation "prod")` + movedPlan
	for _, tt := range []struct {
		name              string
		facts             func(*joinFacts)
		plan, notes, want string
	}{
		{"a member", nil, update, "", ""},
		{"whose membership record was deleted", func(f *joinFacts) { f.Member.Membership = nil },
			begin + `member create    ConfigMap "kubefederate-member/membership"` + movedPlan, "", ""},
		{"that another host has taken", func(f *joinFacts) {
			k := f.Member.Membership
			k.HostID, k.Member, k.Federation = otherID, "their-east", "lab"
		}, "-", "", `member: ConfigMap "kubefederate-member/membership": this cluster is member "their-east" of federation "lab" of another host (cluster ID ` + otherID + `, this one has ` + hostID + `): ` +
			`unjoin it there first: kubectl federate unjoin their-east --member-context ctx-east --context OTHER-HOST; ` +
			`or if that host is gone for good, take it over: kubectl federate join east --federation prod --member-context ctx-east --take-over`},
		{"another cluster", func(f *joinFacts) { f.Leaving.Spec.ClusterID = otherID }, "-", "",
			`member: MemberCluster "east": has cluster ID ` + otherID + `, but the context leads to cluster ` + memberID + `: name the member's own context with --member-context`},
		{"with finalizers", func(f *joinFacts) { f.Leaving.Finalizers = []string{"example.com/a", "example.com/b"} }, "-", "",
			`host: MemberCluster "east": has finalizers, so that its deletion would not end at once: example.com/a, example.com/b: remove them first`},
		{"that discovery joined, and that asks for its federation itself", func(f *joinFacts) {
			f.Leaving.Spec.Discovered = &v1alpha1.Discovered{Kind: "Cluster", Name: "east"}
			f.Member.JoinRequest = member.JoinRequest{Federation: "prod", Namespace: v1alpha1.IdentityNamespace}
		}, update, `host: MemberCluster "east": was joined by discovery, which neither changes it nor lets it leave after the move: spec.discovered goes
			member: Namespace "kube-system": carries the label kubefederate.io/federation=prod: change it after the move: kubectl federate label --member-context ctx-east --federation test --overwrite`, ""},
		{"to a federation that accepts by hand", func(f *joinFacts) {
			f.Leaving.Spec.Accepted = true
			f.Host.Federation.Spec.Acceptance = v1alpha1.AcceptManual
		}, update, `host: Federation "test": accepts members by hand, so this one stays Pending: accept it, which takes the verb approve: kubectl federate approve east`, ""},
		{"without the rights", func(f *joinFacts) {
			f.HostMissing = missingOf(cluster.Host, host.FederationRef("prod").Rights(v1alpha1.VerbLeave), host.FederationRef("prod").Rights(v1alpha1.VerbLeave))
		}, "-", "", `host: you are not allowed to leave federations.kubefederate.io "prod": ask an administrator of the host for the role joiner of the federation`},
		{"without the rights to return", func(f *joinFacts) {
			f.UndoMissing = missingOf(cluster.Host, host.FederationRef("prod").Rights(v1alpha1.VerbJoin), host.FederationRef("prod").Rights(v1alpha1.VerbJoin))
		}, update, `if the move fails halfway, not all of it can be rolled back, since you are not allowed to: host: join federations.kubefederate.io "prod"`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := movingFacts(tt.facts)
			plan, against := planJoin(f, moveOptions(nil))
			compare(t, "against", texts(against), tt.want)
			if tt.plan == "-" {
				return
			}
			compare(t, "plan", plan.Text(), tt.plan)
			compare(t, "notes", texts(plan.notes), tt.notes)
			made, before := plan.creates, f.Leaving
			if made.Federation() != "test" || made.Labels["example.com/team"] != "web" || made.Spec.Server != before.Spec.Server ||
				!made.Spec.Suspended || *made.Spec.Suspension != *before.Spec.Suspension {
				t.Errorf("the MemberCluster is not kept: %+v", made)
			}
			if made.Spec.Accepted || made.Spec.Discovered != nil || made.UID != "" {
				t.Errorf("the MemberCluster has what only the former federation gave: %+v", made)
			}
		})
	}
}

// TestPlanReturn holds that the way back makes the MemberCluster as it was, and undoes on the member only what the move did there.
func TestPlanReturn(t *testing.T) {
	t.Parallel()
	f := movingFacts(nil)
	was := f.Leaving.DeepCopy()
	was.Spec.Accepted = true
	o := moveOptions(func(o *JoinOptions) { o.Federation, o.moving = "prod", moving{moves: true, from: "test", returns: was} })
	f.Host.Federation.Name = "prod"
	f.Host.Federation.Spec.Access = &v1alpha1.Access{ClusterRole: "view"}

	f.Leaving.Labels = map[string]string{v1alpha1.LabelFederation: "test"} // what the move made
	plan, against := planJoin(f, o)
	compare(t, "against", texts(against), "")
	compare(t, "the membership record was not reached", plan.Text(), `
host   delete    MemberCluster "east" (leaves federation "test")
host   create    MemberCluster "east"
member unchanged Namespace "kubefederate-member"
member update    ConfigMap "kubefederate-member/membership" (left by an earlier membership of this name)
member unchanged ServiceAccount "kubefederate-member/kubefederate-manager"
member unchanged ServiceAccount "kubefederate-member/kubefederate-consumer"
member unchanged ClusterRole "kubefederate-member:manager"
member unchanged Role "kubefederate-member/kubefederate-manager"
member unchanged Secret "kubefederate-member/kubefederate-manager-binding"
member unchanged ValidatingAdmissionPolicyBinding "member-tokens.kubefederate.io"
member unchanged ValidatingAdmissionPolicy "member-tokens.kubefederate.io"
member unchanged ClusterRoleBinding "kubefederate-member:manager"
member unchanged RoleBinding "kubefederate-member/kubefederate-manager"
member unchanged ClusterRoleBinding "kubefederate-member:consumer"
member request   ServiceAccount "kubefederate-member/kubefederate-manager" (a token for 90d, bound to Secret "kubefederate-member/kubefederate-manager-binding")
host   store     Secret "kubefederate-credentials/east"
member try       (the stored credential at https://east.example.com)
host   update    MemberCluster "east" (who joined it, and when)
host   create    Event "default/east"`)
	if made := plan.creates; made.Federation() != "prod" || made.Labels["example.com/team"] != "web" || !made.Spec.Accepted || !made.Spec.Suspended {
		t.Errorf("the MemberCluster is not what it was: %+v", made)
	}

	f.Member.Membership.Federation = "test"
	plan, _ = planJoin(f, o)
	if plan.takenFrom != hostID {
		t.Errorf("what was made for the other federation stays:\n%s", plan.Text())
	}
}

// TestMoveCommands holds the commands that a move proposes: the one that goes on, and the one that makes the member what it was.
func TestMoveCommands(t *testing.T) {
	t.Parallel()
	f := movingFacts(nil)
	f.Leaving.Spec.Accepted = true
	o := moveOptions(func(o *JoinOptions) {
		o.Labels, o.keptLifetime, o.ResetEndpoint = map[string]string{"example.com/stage": "test"}, 24*time.Hour, true
	})
	join, _ := planJoin(f, o)
	p := &MovePlan{JoinPlan: join, back: f.Leaving}
	compare(t, "on", o.again(), `kubectl federate move east --to test --member-context ctx-east --labels example.com/stage=test --reset-endpoint`)
	compare(t, "back", command.Host{}.Line(p.rejoin()), `kubectl federate join east --federation prod --member-context ctx-east --labels example.com/team=web --token-lifetime 1d`)
	f.Leaving.Spec.Suspension.Until = new(metav1.NewTime(time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)))
	compare(t, "decided", strings.Join(p.decided(), "\n"), `host: MemberCluster "east" was suspended; after the join, suspend it again: kubectl federate suspend east --reason upgrade --until 2099-01-01T00:00:00Z
host: MemberCluster "east" was approved; after the join, approve it again: kubectl federate approve east`)
	f.Leaving.Spec.Suspended, f.Leaving.Spec.Accepted = false, false
	compare(t, "nothing decided", strings.Join(p.decided(), "\n"), "")
	p.facts.Caller.Server = "https://bastion.example.com"
	compare(t, "back to another endpoint", command.Host{}.Line(p.rejoin()), `kubectl federate join east --federation prod --member-context ctx-east --labels example.com/team=web `+
		`--member-server https://east.example.com --member-proxy-url '' --member-tls-server-name '' --token-lifetime 1d`)
}
