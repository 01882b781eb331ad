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
}

// with is the call with one more flag.
func (c *kubectlCall) with(flag string) *kubectlCall {
	changed := *c
	changed.args = slices.Insert(slices.Clone(c.args), len(beforeDash(c.args)), flag)
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
	interactiveCommands = []string{"alpha", "apply edit-last-applied", "attach", "completion", "config", "edit", "kuberc", "plugin", "port-forward", "proxy"}
)

// judgeKubectl judges arguments of kubectl.
func judgeKubectl(args []string) (*kubectlCall, error) {
	flagged := beforeDash(args)
	name, word := commandOf(flagged)
	switch {
	case name == "":
		return nil, output.Usagef("no command of kubectl is among %q; begin with it, as in: -- get pods", args)
	case word == "federate":
		return nil, output.Usagef("kubectl federate works on the host, and not on a member")
	case slices.Contains(interactiveCommands, name), slices.Contains(interactiveCommands, word):
		return nil, output.Usagef("kubectl %s is not run on many members: it needs a person, or changes a kubeconfig", name)
	}
	call := &kubectlCall{args: args, reads: slices.Contains(readingCommands, name) || slices.Contains(readingCommands, word)}
	for _, arg := range flagged {
		flag, value, _ := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
		long := strings.HasPrefix(arg, "--")
		switch {
		case long && slices.Contains(elsewhereFlags, flag) && !isSubject(word, flag), !long && strings.HasPrefix(arg, "-s"):
			return nil, output.Usagef("%s is not for members: it would lead elsewhere than to the member, or be another user there", short(arg))
		case long && slices.Contains([]string{"stdin", "tty", "attach", "interactive", "edit"}, flag) && value != "false", hasTerminal(word, arg):
			return nil, output.Usagef("%s needs a person, and is not run on many members", short(arg))
		case flag == "dry-run" && long && value != "none":
			call.reads = true
		case arg == "-", long && value == "-", arg == "-f-", strings.HasSuffix(arg, "/dev/stdin"):
			call.stdin = true
		case long && slices.Contains([]string{"follow", "watch", "watch-only"}, flag) && value != "false", arg == "-w", word == "logs" && arg == "-f":
			call.follows = true
		}
	}
	return call, nil
}

// beforeDash are the arguments before --: what follows is for what runs in a pod.
func beforeDash(args []string) []string {
	if i := slices.Index(args, "--"); i >= 0 {
		return args[:i]
	}
	return args
}

// commandOf is the command of kubectl, with the word that follows it, and without; empty where flags come first that may have a value or
// not.
func commandOf(args []string) (name, word string) {
	var words []string
	for i := 0; i < len(args) && len(words) < 2; i++ {
		switch arg := args[i]; {
		case !strings.HasPrefix(arg, "-"):
			words = append(words, arg)
		case slices.Contains(valueFlags, arg):
			i++
		case len(words) == 0 && !strings.Contains(arg, "=") && !strings.HasPrefix(arg, "-n") && !strings.HasPrefix(arg, "-v"):
			return "", ""
		}
	}
	if len(words) == 0 {
		return "", ""
	}
	return strings.Join(words, " "), words[0]
}

// isSubject says whether --user names the subject of a binding.
func isSubject(word, flag string) bool { return flag == "user" && (word == "create" || word == "set") }

// hasTerminal says whether a flag asks for standard input or a terminal: -i, -t and -it, which have other meanings elsewhere.
func hasTerminal(word, arg string) bool {
	return slices.Contains([]string{"exec", "run", "debug", "delete"}, word) && len(arg) > 1 && arg[0] == '-' && strings.Trim(arg[1:], "itq") == ""
}

// short is a flag without its value, which may be a secret.
func short(arg string) string {
	flag, _, _ := strings.Cut(arg, "=")
	if !strings.HasPrefix(flag, "--") {
		flag = flag[:2]
	}
	return flag
}
