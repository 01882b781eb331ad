package cli

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/cli-runtime/pkg/genericiooptions"
)

// TestRoles says what each subject is taken for, or why it is refused.
func TestRoles(t *testing.T) {
	t.Parallel()
	f := roleFlags{
		joiners:     []string{"user:alice", "group:system:masters", "serviceaccount:ci:joiner", "user:https://idp.example.com#a b"},
		integrators: []string{"serviceaccount:argocd:argo.cd"},
	}
	roles, err := f.parse()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]rbacv1.Subject{}
	for _, r := range roles {
		got[r.flag] = r.subjects
	}
	want := map[string][]rbacv1.Subject{
		"joiner": {
			{APIGroup: rbacv1.GroupName, Kind: "User", Name: "alice"},
			{APIGroup: rbacv1.GroupName, Kind: "Group", Name: "system:masters"},
			{Kind: "ServiceAccount", Namespace: "ci", Name: "joiner"},
			{APIGroup: rbacv1.GroupName, Kind: "User", Name: "https://idp.example.com#a b"},
		},
		"integrator": {{Kind: "ServiceAccount", Namespace: "argocd", Name: "argo.cd"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	const form = "must be user:NAME, group:NAME or serviceaccount:NAMESPACE:NAME"
	const patterns = "RBAC knows no patterns; everyone who is authenticated is group:system:authenticated"
	const hidden = "a name with characters that are not printed is not what it seems to be"
	for bad, why := range map[string]string{
		"alice": form, "user:": form, "serviceaccount:ci": form, "serviceaccount::x": form, "role:x": form, "serviceaccount:a:b:c": form,
		"serviceaccount:Ci:joiner": form, "": form,
		"*": form, "user:*": patterns, "group:*": patterns, "group:team-*": patterns, "serviceaccount:*:*": patterns,
		"user:al\nice": hidden, "user:al\x00ice": hidden, "group:\x1b[31mred": hidden, "group:a\u202eb": hidden, "user:\xff": hidden, "user:a\u0085": hidden,
		"user: alice": "the name begins or ends with a space", "group:sre ": "the name begins or ends with a space",
	} {
		f := roleFlags{approvers: []string{bad}}
		if _, err := f.parse(); err == nil || !strings.HasSuffix(err.Error(), ": "+why) || !strings.HasPrefix(err.Error(), "invalid --approver ") {
			t.Errorf("%q: got %v, want %s", bad, err, why)
		}
	}
}

// TestBroadSubjects holds what create federation says before it gives a role to everyone.
func TestBroadSubjects(t *testing.T) {
	t.Parallel()
	run := func(args ...string) (int, string) {
		var errOut bytes.Buffer
		code := Run(t.Context(), slices.Concat([]string{"kubectl-federate", "create", "federation", "prod", "--dry-run=client"}, args), genericiooptions.IOStreams{
			In: strings.NewReader(""), Out: &bytes.Buffer{}, ErrOut: &errOut,
		})
		return code, errOut.String()
	}
	args := []string{
		"--joiner=group:system:authenticated", "--joiner=group:system:unauthenticated", "--approver=user:system:anonymous",
		"--approver=group:system:masters", "--integrator=group:system:serviceaccounts", "--joiner=group:system:nodes", "--joiner=group:sre",
		"--joiner=group:system:serviceaccounts:ci",
	}
	const want = `error: cannot create federation "prod"; nothing was changed
* --joiner group:system:authenticated lets every user, every pod with a ServiceAccount and every node of the host join clusters to federation "prod": name a user, a group or a ServiceAccount, or confirm it with --yes
* --joiner group:system:unauthenticated lets everyone who reaches the host's API server, without any credential, join clusters to federation "prod": name a user, a group or a ServiceAccount, or confirm it with --yes
* --joiner group:system:nodes lets every node of the host join clusters to federation "prod": name a user, a group or a ServiceAccount, or confirm it with --yes
* --approver user:system:anonymous lets everyone who reaches the host's API server, without any credential, accept members of federation "prod": name a user, a group or a ServiceAccount, or confirm it with --yes
* --approver group:system:masters lets the administrators of the host, who need no role, accept members of federation "prod": name a user, a group or a ServiceAccount, or confirm it with --yes
* --integrator group:system:serviceaccounts lets every pod of the host with a ServiceAccount change annotations and finalizers of members of federation "prod": name a user, a group or a ServiceAccount, or confirm it with --yes
`
	if code, got := run(args...); code != 2 || got != want {
		t.Errorf("exit code %d:\n%s\nwant:\n%s", code, got, want)
	}
	if code, got := run(append(args, "--yes")...); code != 0 || got != "" {
		t.Errorf("with --yes: exit code %d:\n%s", code, got)
	}
	if code, _ := run("--joiner=group:*", "--yes"); code != 1 {
		t.Errorf("a pattern: exit code %d", code)
	}
}

// TestSubjectsOf bounds what a refusal says of a binding.
func TestSubjectsOf(t *testing.T) {
	t.Parallel()
	var subjects []any
	for range 7 {
		subjects = append(subjects, map[string]any{"kind": "Group", "name": "devs"})
	}
	for want, o := range map[string]map[string]any{
		"": {},
		", with Group devs, Group devs, Group devs, Group devs, Group devs and 2 more": {"subjects": subjects},
		", with Group devs": {"subjects": subjects[:1]},
	} {
		if got := subjectsOf(&unstructured.Unstructured{Object: o}); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
