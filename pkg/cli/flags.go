package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/cli/targets"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/member"
	"github.com/kubefederate/kubectl-federate/pkg/text"
)

// complete offers words for a flag.
func complete(cmd *cobra.Command, flag string, words ...string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}

// completeList offers words for a flag that takes several, with commas between.
func completeList(cmd *cobra.Command, flag string, words ...string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, func(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		return targets.CompleteList(words, typed), cobra.ShellCompDirectiveNoFileComp
	})
}

// words are values as they are typed.
func words[T ~string](values []T) []string {
	typed := make([]string, len(values))
	for i, v := range values {
		typed[i] = string(v)
	}
	return typed
}

// exactlyOne takes one argument. What says which when there is none, or more than one.
func exactlyOne(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 {
			return nil
		}
		return output.UsageError{Err: fmt.Errorf("exactly one argument is required, %s; got %d", what, len(args)), Command: cmd.CommandPath()}
	}
}

// noArguments refuses every argument: cobra's own check calls one an unknown command, where there are none.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return output.UsageError{Err: fmt.Errorf("%s takes no arguments; got %q", cmd.CommandPath(), args[0]), Command: cmd.CommandPath()}
}

// validateName refuses what cannot name a federation or a member.
func validateName(what, name string) error {
	if len(validation.IsDNS1123Label(name)) == 0 {
		return nil
	}
	return output.Usagef("invalid name of a %s %q: must be at most 63 lower-case letters, digits and '-', and start and end with a letter or digit", what, name)
}

// dryRunNames are the words for the values of cluster.DryRun.
var dryRunNames = []string{cluster.DryRunNone: "none", cluster.DryRunClient: "client", cluster.DryRunServer: "server"}

// noDryRunValue is the value of --dry-run that was typed without one, as in kubectl.
const noDryRunValue = "unchanged"

// dryRunValue is --dry-run as a flag.
type dryRunValue struct {
	value *cluster.DryRun
	// bare says that it was typed without a value.
	bare bool
}

func (v *dryRunValue) String() string {
	if v.value == nil {
		return dryRunNames[cluster.DryRunNone]
	}
	return dryRunNames[*v.value]
}

func (v *dryRunValue) Type() string { return "string" }

func (v *dryRunValue) Set(typed string) error {
	if v.bare = typed == noDryRunValue; v.bare {
		typed = dryRunNames[cluster.DryRunClient]
	}
	i := slices.Index(dryRunNames, typed)
	if i < 0 {
		return errors.New("must be none, client or server")
	}
	*v.value = cluster.DryRun(i)
	return nil
}

// arguments warns of --dry-run without a value, and refuses a value behind a blank, which pflag takes for an argument.
func (v *dryRunValue) arguments(next cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		for _, name := range dryRunNames {
			if v.bare && slices.Contains(args, name) {
				return output.UsageError{Err: fmt.Errorf("the value of --dry-run follows =, as in --dry-run=%s", name), Command: cmd.CommandPath()}
			}
		}
		if v.bare {
			output.Line(cmd.ErrOrStderr(), "Warning: --dry-run without a value is --dry-run=client, which is to be written out")
		}
		if next == nil {
			return nil
		}
		return next(cmd, args)
	}
}

// addDryRun adds --dry-run. The check of the arguments of cmd is there already.
func addDryRun(cmd *cobra.Command, value *cluster.DryRun) {
	v := &dryRunValue{value: value}
	cmd.Args = v.arguments(cmd.Args)
	cmd.Flags().Var(v, "dry-run",
		`"none", "client" or "server". Client prints the plan from what is read; server also lets the API servers judge it. Neither changes anything`)
	cmd.Flags().Lookup("dry-run").NoOptDefVal = noDryRunValue
	complete(cmd, "dry-run", dryRunNames...)
}

// dryRunSuffix follows what a dry run prints, as kubectl's own commands do.
func dryRunSuffix(dryRun cluster.DryRun) string {
	return [...]string{cluster.DryRunNone: "", cluster.DryRunClient: " (dry run)", cluster.DryRunServer: " (server dry run)"}[dryRun]
}

// addLifetime adds --token-lifetime.
func addLifetime(flags *pflag.FlagSet, lifetime *time.Duration) {
	targets.DurationVar(flags, lifetime, "token-lifetime", federate.DefaultTokenLifetime,
		"How long the credential is asked to be valid, from 10m to 365d; the member's API server may shorten it, which is then reported")
}

// parseLifetime is --token-lifetime where it was typed, and else 0, which stands for the default.
func parseLifetime(cmd *cobra.Command, lifetime time.Duration) (time.Duration, error) {
	switch {
	case !cmd.Flags().Changed("token-lifetime"):
		return 0, nil
	case lifetime < member.MinTokenLifetime:
		return 0, output.Usagef("invalid --token-lifetime %s: API servers issue no token that is valid for less than 10m", text.Duration(lifetime))
	case lifetime > member.MaxTokenLifetime:
		return 0, output.Usagef("invalid --token-lifetime %s: must be at most 365d; rotate the credential before it expires", text.Duration(lifetime))
	}
	return lifetime, nil
}

// watchFlags are --watch and --watch-for.
type watchFlags struct {
	on     bool
	length time.Duration
}

// addTo adds the flags; usage is that of --watch.
func (f *watchFlags) addTo(cmd *cobra.Command, usage string) {
	cmd.Flags().BoolVarP(&f.on, "watch", "w", false, usage)
	targets.DurationVar(cmd.Flags(), &f.length, "watch-for", 0, "How long a watch lasts (default: until it is interrupted)")
}

func (f *watchFlags) validate() error {
	switch {
	case f.length < 0:
		return output.Usagef("invalid --watch-for %s: must not be negative; 0 is no limit", text.Duration(f.length))
	case f.length > 0 && !f.on:
		return output.Usagef("--watch-for %s needs --watch", text.Duration(f.length))
	}
	return nil
}

// bound is ctx with the time limit of the watch.
func (f *watchFlags) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if f.length > 0 {
		return context.WithTimeout(ctx, f.length)
	}
	return ctx, func() {}
}
