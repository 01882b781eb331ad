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
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// complete offers words for a flag.
func complete(cmd *cobra.Command, flag string, words ...string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
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

// dryRunValue is --dry-run as a flag.
type dryRunValue cluster.DryRun

func (v *dryRunValue) String() string { return dryRunNames[*v] }

func (v *dryRunValue) Type() string { return "string" }

func (v *dryRunValue) Set(typed string) error {
	i := slices.Index(dryRunNames, typed)
	if i < 0 {
		return errors.New("must be none, client or server")
	}
	*v = dryRunValue(i)
	return nil
}

// addDryRun adds --dry-run.
func addDryRun(cmd *cobra.Command, value *cluster.DryRun) {
	cmd.Flags().Var((*dryRunValue)(value), "dry-run",
		`"none", "client" or "server". Client prints the plan from what is read; server also lets the API servers judge it. Neither changes anything`)
	complete(cmd, "dry-run", dryRunNames...)
}

// dryRunSuffix follows what a dry run prints, as kubectl's own commands do.
func dryRunSuffix(dryRun cluster.DryRun) string {
	return [...]string{cluster.DryRunNone: "", cluster.DryRunClient: " (dry run)", cluster.DryRunServer: " (server dry run)"}[dryRun]
}

// addLifetime adds --token-lifetime.
func addLifetime(flags *pflag.FlagSet, lifetime *time.Duration) {
	flags.DurationVar(lifetime, "token-lifetime", federate.DefaultTokenLifetime,
		"How long the credential is asked to be valid, from 10m to 8760h (a year); the member's API server may shorten it, which is then reported")
}

// parseLifetime is --token-lifetime where it was typed, and else 0, which stands for the default.
func parseLifetime(cmd *cobra.Command, lifetime time.Duration) (time.Duration, error) {
	switch {
	case !cmd.Flags().Changed("token-lifetime"):
		return 0, nil
	case lifetime < member.MinTokenLifetime:
		return 0, output.Usagef("invalid --token-lifetime %s: API servers issue no token that is valid for less than 10m", lifetime)
	case lifetime > member.MaxTokenLifetime:
		return 0, output.Usagef("invalid --token-lifetime %s: must be at most 8760h (a year); rotate the credential before it expires", lifetime)
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
	cmd.Flags().DurationVar(&f.length, "watch-for", 0, "How long a watch lasts (default: until it is interrupted)")
}

func (f *watchFlags) validate() error {
	switch {
	case f.length < 0:
		return output.Usagef("invalid --watch-for %s: must not be negative; 0 is no limit", f.length)
	case f.length > 0 && !f.on:
		return output.Usagef("--watch-for %s needs --watch", f.length)
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
