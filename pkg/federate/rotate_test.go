package federate

import (
	"errors"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// rotating are the facts of a member that joined; a test case states only its fault.
func rotating(change func(*rotateFacts)) rotateFacts {
	f := facts(joined)
	r := rotateFacts{Host: f.Host, Member: f.Member, Now: f.Now}
	if change != nil {
		change(&r)
	}
	return r
}

// bound puts a binding Secret onto a member, made at a time by a run of rotate that stamped it then.
func (f *rotateFacts) bound(ref cluster.Ref, at time.Time) {
	o := member.BindingManifest(ref).Manifest
	o.SetCreationTimestamp(metav1.NewTime(at))
	o.SetAnnotations(map[string]string{v1alpha1.AnnotationAttempt: newAttempt(at).String()})
	f.Member.Objects[ref] = o
}

func TestPlanRotate(t *testing.T) {
	t.Parallel()
	refs := member.BindingRefs()
	const (
		first, second = `Secret "kubefederate-member/kubefederate-manager-binding"`, `Secret "kubefederate-member/kubefederate-manager-binding-2"`
		probe         = `
member try       (the endpoint https://east.example.com, with a token for 10m)
member replace   ServiceAccount "kubefederate-member/kubefederate-manager" (ends every token that it ever had)`
		token = `
member request   ServiceAccount "kubefederate-member/kubefederate-manager" (a token for 90d, bound to ` + second + `)
host   store     Secret "kubefederate-credentials/east"
member try       (the new credential at https://east.example.com)`
		cut = `
member delete    ` + first + ` (the old credential was bound to it)`
		end = `
member wait      (until old tokens are refused; API servers remember accepted ones for ten seconds)`
		anew = "member create    " + second + probe + token + cut + end
	)
	const cannot = "cannot rotate the credential of \"east\"; nothing was changed\n* "
	for _, tt := range []struct {
		name    string
		facts   func(*rotateFacts)
		options RotateOptions
		want    string
	}{
		{"a credential", nil, RotateOptions{}, anew},
		{"the second one, for a week", func(f *rotateFacts) {
			delete(f.Member.Objects, refs[0])
			f.bound(refs[1], f.Now.Add(-time.Hour))
		}, RotateOptions{TokenLifetime: 7 * 24 * time.Hour}, `
member create    ` + first + `
member update    ValidatingAdmissionPolicy "member-tokens.kubefederate.io" (tokens for 7d)` + probe + `
member request   ServiceAccount "kubefederate-member/kubefederate-manager" (a token for 7d, bound to ` + first + `)
host   store     Secret "kubefederate-credentials/east"
member try       (the new credential at https://east.example.com)
member delete    ` + second + ` (the old credential was bound to it)` + end},
		{"for a week, and the policy is not the caller's to change", func(f *rotateFacts) {
			f.MemberLacks = member.PolicyRefs()[1].Rights("patch")
		}, RotateOptions{TokenLifetime: 7 * 24 * time.Hour}, strings.Replace(anew, "90d", "7d", 1) +
			"\nnote: member: ValidatingAdmissionPolicy \"member-tokens.kubefederate.io\": is not yours to change: tokens that the manager requests live as long as it allows"},
		{"one that was revoked by hand", func(f *rotateFacts) { delete(f.Member.Objects, refs[0]) }, RotateOptions{}, "member create    " + second + probe + token + end},
		{"an account that was deleted, by hand or by a rotation that was killed", func(f *rotateFacts) { delete(f.Member.Objects, member.ManagerAccountRef()) }, RotateOptions{},
			"member create    " + second + `
member create    ServiceAccount "kubefederate-member/kubefederate-manager"` + token + cut},
		{"an account that the caller may not read", func(f *rotateFacts) {
			account := member.ManagerAccountRef()
			delete(f.Member.Objects, account)
			f.Member.Denied.Add(&cluster.Error{Side: cluster.Member, Verb: "get", Object: account, Fault: cluster.FaultForbidden, Err: errors.New("no")})
		}, RotateOptions{}, cannot + `member: you are not allowed to get serviceaccounts "kubefederate-manager" in namespace "kubefederate-member"`},
		{"two Secrets that an earlier rotation left: the newer one stays", func(f *rotateFacts) {
			f.bound(refs[1], f.Now.Add(-time.Hour))
			f.bound(refs[0], f.Now.Add(-2*time.Hour))
		}, RotateOptions{}, "member update    " + second + " (left over from an interrupted rotation, which this one completes)" + probe + token + cut + end},
		{"a consumer's account", func(f *rotateFacts) {
			f.Member.Objects[member.ConsumerRefs()[1]] = member.Grants{AccessRole: "view"}.Accounts()[1].Manifest
		}, RotateOptions{}, "member create    " + second + probe + token + cut + `
member replace   ServiceAccount "kubefederate-member/kubefederate-consumer" (ends every token that it ever had)` + end},
		{"neither account nor binding", func(f *rotateFacts) {
			delete(f.Member.Objects, member.ManagerAccountRef())
			delete(f.Member.Objects, member.Grants{}.Bindings()[0].Ref)
		}, RotateOptions{},
			cannot + `member: MemberCluster "east": its join is not finished, or was removed from the cluster: join it again: kubectl federate join east --federation prod --member-context c`},
		{"an account whose deletion would not end", func(f *rotateFacts) {
			f.Member.Objects[member.ManagerAccountRef()].SetFinalizers([]string{"example.com/keep"})
		}, RotateOptions{}, cannot + `member: ServiceAccount "kubefederate-member/kubefederate-manager": has finalizers, so that its deletion would not end: example.com/keep: remove them first`},
		{"no member", func(f *rotateFacts) { f.Host.Member = nil }, RotateOptions{},
			cannot + `host: MemberCluster "east": not found: list the members: kubectl federate get`},
		{"another cluster", func(f *rotateFacts) { f.Member.ID = "other" }, RotateOptions{},
			cannot + `member: MemberCluster "east": has cluster ID ` + string(memberID) + `, but the context leads to cluster other: name the member's own context with --member-context`},
		{"another host's", func(f *rotateFacts) { f.Member.Membership.HostID = "elsewhere" }, RotateOptions{},
			cannot + `member: ConfigMap "kubefederate-member/membership": this cluster is member "east" of federation "prod" of another host (cluster ID elsewhere, this one has aaaaaaaa-0000-4000-8000-000000000001): unjoin it there first: kubectl federate unjoin east --member-context c --context OTHER-HOST; or if that host is gone for good, take it over: kubectl federate join east --federation prod --member-context c --take-over`},
		{"never joined", func(f *rotateFacts) { f.Member.Membership = nil }, RotateOptions{},
			cannot + `member: MemberCluster "east": its join is not finished, or was removed from the cluster: join it again: kubectl federate join east --federation prod --member-context c`},
		{"a Secret of others", func(f *rotateFacts) {
			f.Member.Objects[refs[1]] = &unstructured.Unstructured{Object: map[string]any{}}
		}, RotateOptions{},
			cannot + `member: Secret "kubefederate-member/kubefederate-manager-binding-2": already exists and was not created by kubectl federate (it lacks the label app.kubernetes.io/managed-by=kubectl-federate): find out who uses it, then delete or rename it`},
		{"rights", func(f *rotateFacts) {
			f.HostMissing = []missing{{cluster.Host, cluster.Right{Verb: "update", Resource: cluster.Secrets, Namespace: "n", Name: "east"}}}
			f.MemberLacks = member.ManagerAccountRef().Rights("delete", "create")
		}, RotateOptions{}, cannot + `host: you are not allowed to update secrets "east" in namespace "n"
* member: you are not allowed to delete serviceaccounts "kubefederate-manager" in namespace "kubefederate-member"
* member: you are not allowed to create serviceaccounts in namespace "kubefederate-member"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := tt.options
			o.Name, o.Cluster.Context = "east", "c"
			p, against := planRotate(rotating(tt.facts), o)
			got := p.Text()
			for _, n := range p.notes {
				got += "note: " + n.String() + "\n"
			}
			if len(against) > 0 {
				got = (&Refusal{Operation: o.operation(), Findings: against}).Error()
			}
			if want := strings.TrimSpace(tt.want); strings.TrimSpace(got) != want {
				t.Errorf("plan:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

// TestRotationIsWaitedFor distinguishes a rotation that is at work from one that died and from one that ended.
func TestRotationIsWaitedFor(t *testing.T) {
	t.Parallel()
	refs := member.BindingRefs()
	for _, tt := range []struct {
		name  string
		facts func(*rotateFacts)
		want  string
	}{
		{"none", nil, ""},
		{"ended a moment ago", func(f *rotateFacts) {
			delete(f.Member.Objects, refs[0])
			f.bound(refs[1], f.Now)
		}, ""},
		{"at work", func(f *rotateFacts) {
			f.bound(refs[0], f.Now.Add(-time.Hour))
			f.bound(refs[1], f.Now.Add(-30*time.Second))
		}, `member wait      Secret "kubefederate-member/kubefederate-manager-binding-2" (another rotation has been at work since 2026-11-23T11:59:30Z)`},
		{"died", func(f *rotateFacts) {
			f.bound(refs[0], f.Now.Add(-time.Hour))
			f.bound(refs[1], f.Now.Add(-time.Minute))
		}, ""},
		{"said that it failed", func(f *rotateFacts) {
			f.bound(refs[0], f.Now.Add(-time.Hour))
			f.bound(refs[1], f.Now.Add(-time.Second))
			f.Member.Objects[refs[1]].SetAnnotations(nil)
		}, ""},
	} {
		f := rotating(func(f *rotateFacts) { f.Now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) })
		if tt.facts != nil {
			tt.facts(&f)
		}
		got := ""
		if wait := f.waitsFor(); wait != nil {
			got = wait.String()
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
