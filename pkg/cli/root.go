// Package cli holds the commands of kubectl federate. All have one shape: flags are what was typed; toOptions makes
// options of them, which are validated and run. To run is to call pkg/federate, pkg/host or pkg/discover and to print the
// result. Standard kubectl flags mean the host cluster; a member cluster is always named by flags that start with
// --member.
package cli

import (
	"cmp"
	"context"
	"errors"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/klog/v2" //nolint:depguard // imported to silence it

	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/command"
)

// Run executes the command line args, whose first element is the name that the binary was called by,
// and returns the process's exit code. It is stopped by ctx, and when its output is read no more.
func Run(ctx context.Context, args []string, streams genericiooptions.IOStreams) int {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	streams.Out, streams.ErrOut = output.Piped(streams.Out, cancel), output.Piped(streams.ErrOut, cancel)
	name := strings.TrimSuffix(filepath.Base(args[0]), ".exe")
	rest := args[1:]
	if plugin, ok := strings.CutPrefix(name, "kubectl_complete-"); ok {
		// kubectl asks a plugin's completion of an executable of this name, with the words typed so far.
		name = "kubectl-" + plugin
		rest = append([]string{cobra.ShellCompRequestCmd}, rest...)
	}
	// client-go logs what it also returns as an error, which is printed once.
	klog.SetLogger(logr.Discard())
	root := newRoot(displayName(name), streams)
	root.SetArgs(rest)
	err := root.ExecuteContext(ctx)
	if err != nil {
		output.Error(streams.ErrOut, err)
	}
	return output.ExitCode(err)
}

// displayName is what a person types for the plugin called name: kubectl turns the dashes of a plugin's
// file name into words and its underscores into dashes.
func displayName(name string) string {
	words := strings.TrimPrefix(name, "kubectl-")
	if words == name {
		return command.Plugin
	}
	return "kubectl " + strings.ReplaceAll(strings.ReplaceAll(words, "-", " "), "_", "-")
}

func newRoot(name string, streams genericiooptions.IOStreams) *cobra.Command {
	d := newFactory(name, streams)
	root := &cobra.Command{
		Use:   "kubectl-federate",
		Short: "Label and join clusters to a named federation",
		Long: `Label and join clusters to a named federation.

A federation is a named set of Kubernetes clusters with rules for its members. It is kept on a host
cluster, where a webhook and policies enforce the rules for every client. The standard kubectl flags
(--context, --kubeconfig, --as, …) choose the host. There is no default for a member cluster: join and label
need --member-context; without it, move, unjoin and rotate look among the contexts for the member's cluster ID.

A --timeout or --connect-timeout of 0 is no limit. --timeout is how long the work on one cluster may take: on
the host for init and deinit, on each member for the others.

Exit codes: 0 done, or already so; 1 usage, network or internal error, or interrupted with everything rolled
back; 2 refused by a rule or a right; 3 partly done.`,
		Annotations:                map[string]string{cobra.CommandDisplayNameAnnotation: name},
		SilenceUsage:               true,
		SilenceErrors:              true,
		DisableAutoGenTag:          true,
		SuggestionsMinimumDistance: 2,
		CompletionOptions:          cobra.CompletionOptions{DisableDefaultCmd: true},
		Args:                       d.knownCommand,
		RunE:                       func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetUsageTemplate(usageTemplate(root.UsageTemplate()))
	root.SetHelpFunc(printHelp)
	root.SetIn(streams.In)
	root.SetOut(d.Out)
	root.SetErr(d.ErrOut)
	root.SetFlagErrorFunc(d.flagError)
	d.hostFlags.AddTo(root)
	d.flags = root.PersistentFlags()

	root.AddGroup(
		&cobra.Group{ID: groupHost, Title: "Host Commands:"},
		&cobra.Group{ID: groupMembers, Title: "Member Commands:"},
		&cobra.Group{ID: groupOther, Title: "Other Commands:"},
	)
	root.SetHelpCommandGroupID(groupOther)
	root.SetHelpCommand(newHelp(d))
	root.AddCommand(writers(d)...)
	root.AddCommand(readers(d)...)
	return root
}

// writers are the commands that change a cluster. Each has --dry-run.
func writers(d *factory) []*cobra.Command {
	return []*cobra.Command{
		newInit(d), newDeinit(d), newCreate(d), newGrant(d), newRevoke(d), newLabel(d), newDiscover(d), newJoin(d), newMove(d), newUnjoin(d),
		newApprove(d), newSuspend(d), newResume(d), newRotate(d), newEach(d),
	}
}

// readers are the commands that change nothing.
func readers(d *factory) []*cobra.Command {
	return []*cobra.Command{
		newCheck(d), newGet(d), newDescribe(d), newTree(d), newFind(d), newServices(d), newKubeconfig(d), newLint(d), newVersion(d),
		newCredential(d), newCompletion(d), newOptions(),
	}
}

const (
	groupHost    = "host"
	groupMembers = "members"
	groupOther   = "other"
)

// newHelp is the command help. Cobra's own takes a word that is no command for a success.
func newHelp(d *factory) *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND]",
		GroupID: groupOther,
		Short:   "Help about any command",
		RunE: func(cmd *cobra.Command, args []string) error {
			found, rest, err := cmd.Root().Find(args)
			if err == nil && len(rest) > 0 && found.HasSubCommands() || found == nil {
				err = d.knownCommand(cmp.Or(found, cmd.Root()), rest)
			}
			if err != nil {
				return err
			}
			found.InitDefaultHelpFlag()
			return found.Help()
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, typed string) (names []string, _ cobra.ShellCompDirective) {
			if found, _, err := cmd.Root().Find(args); err == nil {
				for _, sub := range found.Commands() {
					if sub.IsAvailableCommand() && strings.HasPrefix(sub.Name(), typed) {
						names = append(names, sub.Name()+"\t"+sub.Short)
					}
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
	}
}

// whyInvalid is what is wrong with the value of a flag, where that is the parser's error in words for people who wrote it.
func whyInvalid(invalid *pflag.InvalidValueError) error {
	kind := invalid.GetFlag().Value.Type()
	number, isNumber := errors.AsType[*strconv.NumError](invalid)
	switch {
	case isNumber && errors.Is(number.Err, strconv.ErrRange):
		return errors.New("the number is too large")
	case isNumber && kind == "bool":
		return errors.New("must be true or false")
	case isNumber:
		return errors.New("must be a whole number")
	case kind == "duration":
		return errors.New("must be a time such as 30s, 1h30m or 90d")
	}
	return invalid.Unwrap()
}

// usageTemplate is cobra's own without the flags that choose the host: each command would repeat all of them, and they push the commands
// off a screen.
func usageTemplate(cobras string) string {
	const listed = `The flags that choose the host (--context, --kubeconfig, --as, …) are listed by "{{.Root.CommandPath}} options".`
	return strings.NewReplacer(
		"Global Flags:\n{{.InheritedFlags.FlagUsages | trimTrailingWhitespaces}}", listed,
		"{{if .HasAvailableLocalFlags}}", "{{if not .HasParent}}\n\n"+listed+"{{else if .HasAvailableLocalFlags}}",
	).Replace(cobras)
}

// Examples are the examples of every command's help, by command. A command that runs and has none is included.
func Examples() map[string]string {
	examples := map[string]string{}
	var collect func(*cobra.Command)
	collect = func(cmd *cobra.Command) {
		if cmd.Example != "" || cmd.Runnable() && cmd.HasParent() {
			examples[cmd.CommandPath()] = cmd.Example
		}
		for _, sub := range cmd.Commands() {
			collect(sub)
		}
	}
	collect(newRoot(command.Plugin, genericiooptions.NewTestIOStreamsDiscard()))
	return examples
}
