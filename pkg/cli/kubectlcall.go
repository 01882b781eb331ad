package cli

import (
	"slices"
	"strings"

	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
)

// kubectlCall are the arguments of a kubectl that runs against members, and what they do.
type kubectlCall struct {
	args []string
	// reads says that it changes nothing, stdin that it reads standard input, and follows that it prints until it is ended.
	reads, stdin, follows bool
	// dryRuns says that kubectl itself knows what a dry run of it is, and dryRun that its own flag is given.
	dryRuns, dryRun bool
}

// with is the call with one more flag, behind its first word: what stands at the end may be the value of another flag.
func (c *kubectlCall) with(flag string) *kubectlCall {
	changed := *c
	_, word := commandOf(c.args)
	changed.args = slices.Insert(slices.Clone(c.args), slices.Index(c.args, word)+1, flag)
	return &changed
}

// elsewhereFlags lead to another cluster, or as another user, than the one that is meant.
var elsewhereFlags = []string{
	"as", "as-group", "as-uid", "as-user-extra", "certificate-authority", "client-certificate", "client-key", "cluster", "context",
	"insecure-skip-tls-verify", "kubeconfig", "kuberc", "password", "server", "tls-server-name", "token", "user", "username",
}

// valueFlags are those of every command whose value is the next word.
var valueFlags = []string{"-n", "--namespace", "-v", "--v", "--vmodule", "--request-timeout", "--cache-dir", "--profile", "--profile-output", "--log-flush-frequency"}

// readers and interactive are the commands of kubectl that change nothing, and that need a person or a kubeconfig of their own. A
// command of two words is not what its first word is.
var (
	readingCommands = []string{
		"api-resources", "api-versions", "apply view-last-applied", "auth can-i", "auth whoami", "cluster-info", "describe", "diff", "events", "explain",
		"get", "help", "kustomize", "logs", "options", "rollout history", "rollout status", "top", "version", "wait",
	}
	interactiveCommands = []string{"alpha", "attach", "completion", "config", "edit", "kuberc", "plugin", "port-forward", "proxy"}
)

// dryRunCommands take --dry-run. A plugin, which may ignore it, is none of them; it may be a word behind create.
var dryRunCommands = []string{
	"annotate", "apply", "auth reconcile", "autoscale", "cordon", "create", "create clusterrole", "create clusterrolebinding", "create cm", "create configmap",
	"create cronjob", "create deployment", "create ingress", "create job", "create namespace", "create ns", "create poddisruptionbudget", "create priorityclass",
	"create quota", "create role", "create rolebinding", "create secret", "create service", "create serviceaccount", "delete", "drain", "expose", "label", "patch",
	"replace", "rollout undo", "run", "scale", "set", "taint", "uncordon",
}

// judgeKubectl judges arguments of kubectl.
func judgeKubectl(args []string) (*kubectlCall, error) {
	flagged, err := beforeDash(args)
	if err != nil {
		return nil, err
	}
	name, word := commandOf(flagged)
	switch {
	case name == "":
		return nil, output.Usagef("no command of kubectl is among %q; begin with it, as in: -- get pods", args)
	case word == "federate":
		return nil, output.Usagef("kubectl federate works on the host, and not on a member")
	case slices.Contains(interactiveCommands, word), word == "apply" && slices.Contains(flagged, "edit-last-applied"):
		return nil, output.Usagef("kubectl %s is not run on many members: it needs a person, or changes a kubeconfig", name)
	}
	call := &kubectlCall{args: args, dryRuns: slices.Contains(dryRunCommands, name) || word != "create" && slices.Contains(dryRunCommands, word)}
	dryRun := ""
	for _, arg := range flagged {
		flag, value, _ := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
		flag = strings.ReplaceAll(flag, "_", "-") // as kubectl takes it
		long := strings.HasPrefix(arg, "--")
		switch {
		case long && slices.Contains(elsewhereFlags, flag) && !isSubject(word, flag), strings.Contains(switches(word, arg), "s"):
			return nil, output.Usagef("%s is not for members: it would lead elsewhere than to the member, or be another user there", short(arg))
		case long && slices.Contains([]string{"stdin", "tty", "attach", "interactive", "edit"}, flag) && value != "false", hasTerminal(word, arg):
			return nil, output.Usagef("%s needs a person, and is not run on many members", short(arg))
		case flag == "dry-run" && long:
			dryRun, call.dryRun = value, true // kubectl takes the last
		case arg == "-", long && value == "-", arg == "-f-", strings.HasSuffix(arg, "/dev/stdin"):
			call.stdin = true
		case long && slices.Contains([]string{"follow", "watch", "watch-only"}, flag) && value != "false", arg == "-w", word == "logs" && arg == "-f":
			call.follows = true
		}
	}
	call.reads = slices.Contains(readingCommands, name) || slices.Contains(readingCommands, word) || call.dryRuns && (dryRun == "server" || dryRun == "client")
	return call, nil
}

// beforeDash are the arguments before --: what follows is for what runs in a pod. A -- that may be the value of a flag is refused, since
// flags may follow it, and so are flags behind one where nothing runs in a pod.
func beforeDash(args []string) ([]string, error) {
	for i := 0; i < len(args); i++ {
		switch {
		case args[i] == "--":
			if last := args[max(i-1, 0)]; i > 0 && len(last) > 1 && last[0] == '-' && !strings.Contains(last, "=") && !slices.Contains(switchFlags, last) {
				return nil, output.Usagef("-- behind %s may be its value: write that as %s=VALUE, or name something else before --", short(last), short(last))
			}
			if !slices.ContainsFunc(args[:i], func(arg string) bool { return slices.Contains(podCommands, arg) }) {
				return args, nil
			}
			return args[:i], nil
		case slices.Contains(valueFlags, args[i]) && i+1 < len(args):
			i++
			if args[i] == "--" {
				return nil, output.Usagef("-- is no value of %s", args[i-1])
			}
		}
	}
	return args, nil
}

// podCommands run what follows -- in a pod, or make a pod that does.
var podCommands = []string{"create", "debug", "exec", "run"}

// switchFlags are flags without a value that stand before --.
var switchFlags = []string{"--rm", "--quiet", "-q", "--privileged", "--command", "--expose"}

// switches are the letters of a word of short flags, up to the first that has a value: "Aw" of -Awnshop.
func switches(word, arg string) string {
	if len(arg) < 2 || arg[0] != '-' || arg[1] == '-' {
		return ""
	}
	valued := "nvloLfkc"
	switch word {
	case "logs":
		valued = "nvloLkc" // -f follows
	case "patch":
		valued += "p"
	case "set":
		valued += "e"
	}
	letters := arg[1:]
	if i := strings.IndexAny(letters, valued+"="); i >= 0 {
		letters = letters[:i]
	}
	return letters
}

// commandOf is the command of kubectl, with the word that directly follows it, and without; empty where flags come first that may have a
// value or not.
func commandOf(args []string) (name, word string) {
	for i := 0; i < len(args); i++ {
		switch arg := args[i]; {
		case !strings.HasPrefix(arg, "-"):
			if i+1 < len(args) && !strings.HasPrefix(args[i+1], "-") {
				return arg + " " + args[i+1], arg
			}
			return arg, arg
		case slices.Contains(valueFlags, arg):
			i++
		case !strings.Contains(arg, "=") && !strings.HasPrefix(arg, "-n") && !strings.HasPrefix(arg, "-v"):
			return "", ""
		}
	}
	return "", ""
}

// isSubject says whether --user names the subject of a binding.
func isSubject(word, flag string) bool { return flag == "user" && (word == "create" || word == "set") }

// hasTerminal says whether a flag asks for standard input or a terminal: -i, -t and -it, which have other meanings elsewhere.
func hasTerminal(word, arg string) bool {
	return slices.Contains([]string{"exec", "run", "debug", "delete"}, word) && strings.ContainsAny(switches(word, arg), "it")
}

// short is a flag without its value, which may be a secret.
func short(arg string) string {
	flag, _, _ := strings.Cut(arg, "=")
	if !strings.HasPrefix(flag, "--") {
		flag = flag[:2]
	}
	return flag
}
