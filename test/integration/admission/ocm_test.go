//go:build unix

package admission

import (
	"bytes"
	"os/exec"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/test/cases"
)

// TestFaultsOfOCM has a subtest for each fault of the webhook that Open Cluster Management puts before its clusters and
// sets, by the name of the fault: what a person who does the same here sees of kubectl, whole. What is written comes from
// the cases of the rules where they have it.
func TestFaultsOfOCM(t *testing.T) {
	h := enforcing(t)
	h.create(t, fed("ocm"))
	accepted := member("ocm-1", "ocm")
	accepted.Spec.Accepted = true
	h.create(t, accepted)
	// Mallory has every right that RBAC gives on members, and no verb on a federation.
	h.user(t, "mallory-ocm", role("mallory-ocm", "", rbacv1.PolicyRule{
		APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"memberclusters"}, Verbs: []string{"*"},
	}))
	create := []string{"create", "--dry-run=server", "-f", "-"}
	const as = "--as=mallory-ocm"
	patch := []string{"patch", as, "--dry-run=server", "membercluster", "ocm-1", "--type=merge", "--patch"}
	const forbidden = `Error from server (Forbidden): memberclusters.kubefederate.io "ocm-1" is forbidden: ` +
		`ValidatingAdmissionPolicy 'membership.kubefederate.io' with binding 'membership.kubefederate.io' denied request: user "mallory-ocm" `

	for _, test := range []struct {
		name string
		// written is the object on stdin, or the name of a case.
		written metav1.Object
		ofCase  string
		args    []string
		want    string
	}{
		{
			name: "the name check is skipped when no URL is given", args: create,
			written: func() metav1.Object {
				m := member("a.b", "ocm")
				m.Spec.ClusterID, m.Spec.Server = "id-ocm-2", ""
				return m
			}(),
			want: `The MemberCluster "a.b" is invalid: 
* spec.server: Invalid value: "": spec.server in body should be at least 1 chars long
* <nil>: Invalid value: a member's name must be a DNS-1123 label: at most 63 lower-case letters, digits and '-', starting and ending with a letter or digit
`,
		},
		{
			name: "a label may name a set that does not exist", ofCase: "production-east", args: create,
			want: `The MemberCluster "production-east-m" is invalid: metadata.labels[kubefederate.io/federation]: Not found: "prodcution-east": no federation has this name; did you mean "production-east"?
`,
		},
		{
			name: "a set with members deletes", args: []string{"delete", "--dry-run=server", "federation", "peopled"},
			want: `Error from server (Forbidden): admission webhook "federations.kubefederate.io" denied the request: federation "peopled" has 2 members: peopled-a, peopled-b; unjoin them first: kubectl federate unjoin peopled-a peopled-b
`,
		},
		{
			name: "https alone passes as URL", ofCase: "https-alone", args: create,
			want: `The MemberCluster "https-alone-m" is invalid: spec.server: Invalid value: it must have a host
`,
		},
		{
			name: "garbage passes as caBundle", ofCase: "garbage", args: create,
			want: `The MemberCluster "garbage-m" is invalid: spec.caBundle: Invalid value: it holds no PEM certificate
`,
		},
		{
			name: "who may update can deny", args: slices.Concat(patch, []string{`{"spec":{"accepted":false}}`}),
			want: forbidden + `may not change spec.accepted of members of federation "ocm": it takes the verb approve on federations/ocm
`,
		},
		{
			name: "who may update can suspend", args: slices.Concat(patch, []string{`{"spec":{"suspended":true}}`}),
			want: forbidden + `may not change labels or spec of members of federation "ocm": it takes the verb join on federations/ocm
`,
		},
		{
			name: "who may update can delete", args: []string{"delete", as, "--dry-run=server", "membercluster", "ocm-1"},
			want: strings.ReplaceAll(forbidden, membershipPolicy, leavingPolicy) + `may not let clusters leave federation "ocm": it takes the verb leave on federations/ocm
`,
		},
		{
			name: "a set's own spec is not checked", ofCase: "bad-patterns", args: create,
			want: `The Federation "bad-patterns" is invalid: 
* spec.labels[0].pattern: Invalid value: "ok[a-z": at character 3: missing closing ]: "[a-z"
* spec.labels[1].pattern: Invalid value: "a)|(b": at character 1: unexpected ): "a)|(b"
* spec.labels[2].pattern: Invalid value: "x{2,1}": at character 2: invalid repeat count: "{2,1}"
* spec.labels[3].pattern: Invalid value: "a(?=b)": at character 2: invalid or unsupported Perl syntax: "(?="
* spec.labels[4].pattern: Invalid value: "[a-z]+": it matches none of the values, so no member can keep this rule
`,
		},
		// The broken federation of this case came to the host before the webhook.
		{
			name: "one bad selector fails for every cluster: its own members are reported", ofCase: "broken-pattern", args: create,
			want: `The MemberCluster "broken-pattern-m" is invalid: metadata.labels[example.com/team]: Invalid value: "x": it cannot be judged: the pattern "[a-z" of federation "broken-pattern" does not compile
`,
		},
		{
			name: "one bad selector fails for every cluster: all others go on", ofCase: "labeled", args: create,
			want: "membercluster.kubefederate.io/labeled-m created (server dry run)\n",
		},
		{
			name: "no warnings", ofCase: "same-server", args: create,
			want: `Warning: spec.server: member "same-server-a" has the same endpoint
membercluster.kubefederate.io/same-server-m created (server dry run)
`,
		},
		{
			name: "no DELETE rules", args: []string{"delete", "--dry-run=server", "federation", "deserted", "crowded"},
			want: `federation.kubefederate.io "deserted" deleted (server dry run)
Error from server (Forbidden): admission webhook "federations.kubefederate.io" denied the request: federation "crowded" has 7 members: crowded-a, crowded-b, crowded-c, crowded-d, crowded-e and 2 more; unjoin them first: kubectl federate unjoin NAME...
`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			written := test.written
			if test.ofCase != "" {
				written = caseNamed(t, test.ofCase)
			}
			cmd := exec.CommandContext(t.Context(), fleet(t).Kubectl(), append([]string{"--kubeconfig=" + h.Kubeconfig}, test.args...)...)
			if written != nil {
				cmd.Stdin = bytes.NewReader(cases.Manifest(written))
			}
			out, _ := cmd.CombinedOutput()
			if string(out) != test.want {
				t.Errorf("got:\n%s\nwant:\n%s", out, test.want)
			}
		})
	}
	t.Run("its own missing right reads as the user's", func(t *testing.T) { ourOwnRightsAreMissing(t, h) })
}

// caseNamed is what a case of the rules writes.
func caseNamed(t *testing.T, name string) metav1.Object {
	t.Helper()
	all := cases.All()
	i := slices.IndexFunc(all, func(k cases.Case) bool { return k.Name == name })
	if i < 0 {
		t.Fatalf("there is no case %s", name)
	}
	return all[i].Written()
}

// ourOwnRightsAreMissing holds that the message blames us, and that no request is refused or admitted for it.
func ourOwnRightsAreMissing(t *testing.T, h installed) {
	t.Helper()
	h.create(t, fed("blind"), member("blind-1", "blind"))
	must(t, h.admin.Delete(t.Context(), &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "kubefederate-system:manager"}}))
	defer func() {
		must(t, h.manager.Install(t.Context()))
		must(t, h.manager.Wait(t.Context()))
	}()

	second := member("blind-2", "blind")
	second.Spec.ClusterID = "id-blind-1"
	answers(t, `500 admission webhook "memberclusters.kubefederate.io" denied the request: Internal error occurred: the kubefederate manager could not judge member "blind-2": read member "blind-1": memberclusters.kubefederate.io "blind-1" is forbidden: User "system:serviceaccount:kubefederate-system:kubefederate-manager" cannot get resource "memberclusters" in API group "kubefederate.io" at the cluster scope`,
		func() error { return h.admin.Create(t.Context(), second.DeepCopy(), client.DryRunAll) })
	// What needs no live read goes on.
	answers(t, "", func() error { return h.admin.Create(t.Context(), member("blind-3", "blind"), client.DryRunAll) })
}
