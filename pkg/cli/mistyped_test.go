package cli

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"k8s.io/cli-runtime/pkg/genericiooptions"
)

// mistype runs a command line that asks no cluster, and returns its exit code and what it prints.
func mistype(t *testing.T, line string) (code int, out, errOut string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = Run(t.Context(), slices.Concat([]string{"kubectl-federate"}, strings.Fields(line)), genericiooptions.IOStreams{
		In: strings.NewReader(""), Out: &stdout, ErrOut: &stderr,
	})
	return code, stdout.String(), stderr.String()
}

// TestMistyped is what a person reads of a value or a word that is not one of those that a command takes.
func TestMistyped(t *testing.T) {
	t.Parallel()
	const create, see = "create federation prod --dry-run=client ", "\nsee 'kubectl federate create federation --help'"
	const seeRoot = "\nsee 'kubectl federate --help'"
	for _, tt := range []struct{ line, want string }{
		{create + "--acceptance manual", `invalid --acceptance "manual": must be Automatic or Manual`},
		{"create federation prod --acceptance manual", `invalid --acceptance "manual": must be Automatic or Manual`},
		{create + "--enforcement deny", `invalid --enforcement "deny": must be Deny or Warn`},
		{create + "--max abc", `invalid --max "abc": must be a whole number` + see},
		{create + "--max 1.5", `invalid --max "1.5": must be a whole number` + see},
		{create + "--max 99999999999", `invalid --max "99999999999": the number is too large` + see},
		{create + "--yes=perhaps", `invalid --yes "perhaps": must be true or false` + see},
		{"join a --federation prod --member-context a --timeout 5", `invalid --timeout "5": must be a time such as 30s, 1h30m or 90d` + "\nsee 'kubectl federate join --help'"},
		{"join a --federation prod --member-context a --timeout -90m", `invalid --timeout -1h30m: must not be negative; 0 is no limit`},
		{"join a --federation prod --member-context a --token-lifetime 366d", `invalid --token-lifetime 366d: must be at most 365d; rotate the credential before it expires`},
		{"get --watch --watch-for -1d", `invalid --watch-for -1d: must not be negative; 0 is no limit`},
		{"approve a --dry-run server", `the value of --dry-run follows =, as in --dry-run=server` + "\nsee 'kubectl federate approve --help'"},
		{"init --dry-run client", `the value of --dry-run follows =, as in --dry-run=client` + "\nsee 'kubectl federate init --help'"},
		{"list", `unknown command "list" for "kubectl federate"; did you mean "get"?` + seeRoot},
		{"ls -l a=b --foo", `unknown command "ls" for "kubectl federate"; did you mean "get"?` + seeRoot},
		{"status", `unknown command "status" for "kubectl federate"; did you mean "get" or "check"?` + seeRoot},
		{"Install", `unknown command "Install" for "kubectl federate"; did you mean "init"?` + seeRoot},
		{"upgrade --image x", `unknown command "upgrade" for "kubectl federate"; did you mean "init"?` + seeRoot},
		{"leave us-east", `unknown command "leave" for "kubectl federate"; did you mean "unjoin"?` + seeRoot},
		{"accept us-east", `unknown command "accept" for "kubectl federate"; did you mean "approve"?` + seeRoot},
		{"help accept", `unknown command "accept" for "kubectl federate"; did you mean "approve"?` + seeRoot},
		{"delete us-east --context prod", `unknown command "delete" for "kubectl federate"; to let a member leave, run: kubectl federate unjoin us-east --context prod` + seeRoot},
		{"delete mc/us-east", `unknown command "delete" for "kubectl federate"; to let a member leave, run: kubectl federate unjoin us-east` + seeRoot},
		{"rm", `unknown command "rm" for "kubectl federate"; to let a member leave, run: kubectl federate unjoin NAME` + seeRoot},
		{"delete federation prod", `unknown command "delete" for "kubectl federate"; to delete a federation without members, run: kubectl delete federations.kubefederate.io prod` + seeRoot},
		{"edit federation", `unknown command "edit" for "kubectl federate"; to change a federation, run: kubectl edit federations.kubefederate.io NAME` + seeRoot},
		{"edit us-east", `unknown command "edit" for "kubectl federate"; to change a member, run: kubectl edit memberclusters.kubefederate.io us-east; ` +
			`to change a federation, run: kubectl edit federations.kubefederate.io NAME` + seeRoot},
		{"frobnicate", `unknown command "frobnicate" for "kubectl federate"` + seeRoot},
		{"join a --federaton prod", "unknown flag: --federaton; did you mean --federation?\nsee 'kubectl federate join --help'"},
		{"get --contxt prod", "unknown flag: --contxt; did you mean --context?\nsee 'kubectl federate get --help'"},
		{"get --zzz", "unknown flag: --zzz\nsee 'kubectl federate get --help'"},
		{"get -z", "unknown shorthand flag: 'z' in -z\nsee 'kubectl federate get --help'"},
		{"completion tcsh", "invalid shell \"tcsh\": must be bash, fish, powershell, zsh\nsee 'kubectl federate completion --help'"},
		{"help foo", `unknown command "foo" for "kubectl federate"` + "\nsee 'kubectl federate --help'"},
		{"help jion", `unknown command "jion" for "kubectl federate"; did you mean "join"?` + "\nsee 'kubectl federate --help'"},
		{"help create federaton", `unknown command "federaton" for "kubectl federate create"; did you mean "federation"?` + "\nsee 'kubectl federate create --help'"},
	} {
		if code, out, got := mistype(t, tt.line); code != 1 || out != "" || got != "error: "+tt.want+"\n" {
			t.Errorf("%s: exit code %d:\n%s%s\nwant:\n%s", tt.line, code, out, got, tt.want)
		}
	}
	for line, want := range map[string]string{
		"help": "Label and join clusters to a named federation.", "help join": "Join clusters to a federation.",
		"help create federation": "Create a federation, its usual rules, and who may join clusters to it.", "help create": "Create a federation on the host",
	} {
		if code, out, errOut := mistype(t, line); code != 0 || errOut != "" || !strings.HasPrefix(out, want+"\n") {
			t.Errorf("%s: exit code %d: %s%s", line, code, out, errOut)
		}
	}
	if _, out, _ := mistype(t, "__complete help create fed"); out != "federation\tCreate a federation, its usual rules, and who may join clusters to it\n:4\n" {
		t.Errorf("the completion of help: %q", out)
	}
}

// TestNearClusterRole holds what is said of a ClusterRole that is named almost as one that every cluster has.
func TestNearClusterRole(t *testing.T) {
	t.Parallel()
	for role, near := range map[string]string{"viev": "view", "eidt": "edit", "cluster-admn": "cluster-admin", "view": "", "": "", "fleet-readers": ""} {
		want := ""
		if near != "" {
			want = "Warning: --access-cluster-role \"" + role + "\": a member without a ClusterRole of this name gives no access; did you mean \"" + near + "\"?\n"
		}
		if code, _, got := mistype(t, "create federation prod --dry-run=client --access-cluster-role="+role); code != 0 || got != want {
			t.Errorf("%q: exit code %d, %q, want %q", role, code, got, want)
		}
	}
}

// TestClientDryRunJudges holds that a client dry run of create federation refuses and warns of what lint does of its manifest.
func TestClientDryRunJudges(t *testing.T) {
	t.Parallel()
	for flags, want := range map[string]string{
		"--max 10":                                                             "",
		"--kubernetes-versions 1.x":                                            `spec.kubernetesVersions: Invalid value: "1.x": at character 1: "1.x" is not a version; write it as in >=1.33 or <1.37.2`,
		"--label-pattern team=(":                                               `spec.labels[0].pattern: Invalid value: "(": at character 1: missing closing ): "("`,
		"--rule one=cluster.nme==\"a\"":                                        `spec.rules[0].expression: Invalid value: "cluster.nme==\"a\"": 1:8: undefined field 'nme'`,
		"--health-interval 1s":                                                 `spec.health.interval: Invalid value: "1s": must be a duration from 5s to 1h, such as 30s or 1m30s`,
		"--max 10 --inventory-namespace fl":                                    "",
		"--discovery-source ClusterAPI=a --discovery-endpoint *":               "",
		"--discovery-source ClusterAPI --discovery-endpoint *":                 "spec.discovery.sources[0].namespaces: Required value: name them: who may write in one can ask for membership",
		"--discovery-source Secret=kubefederate-system --discovery-endpoint *": `spec.discovery.sources[0].namespaces[0]: Forbidden: namespace "kubefederate-system" holds keys of this host`,
	} {
		code, out, got := mistype(t, "create federation prod --dry-run=client "+flags)
		switch {
		case want == "" && (code != 0 || out != "federation.kubefederate.io/prod created (dry run)\n" || got != ""),
			want != "" && (code != 2 || out != "" || strings.TrimSpace(got) != "The Federation \"prod\" is invalid:\n* "+want):
			t.Errorf("%s: exit code %d\n%s%s", flags, code, out, got)
		}
	}
}
