package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
)

// trustFlags let a person answer for a context that cannot prove to lead to its member.
type trustFlags struct{ given, yes bool }

func (f *trustFlags) addTo(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.given, "trust-context", false,
		"Use --member-context although nothing proves that it leads to the member; both endpoints are printed, and you are asked")
	cmd.Flags().BoolVarP(&f.yes, "yes", "y", false, "Do not ask")
}

// validate refuses the flags where no single context is named.
func (o *operationFlags) validateTrust() error {
	switch {
	case o.trust.given && o.member.Context == "":
		return output.Usagef("--trust-context is for one member, whose context you name with --member-context")
	case o.trust.yes && !o.trust.given:
		return output.Usagef("--yes answers what --trust-context asks: there is nothing else to confirm")
	}
	return nil
}

// confirm asks whether the context of an operation leads to the member.
func (o *operationFlags) confirm(ctx context.Context, u *federate.Unproven) error {
	output.Linef(o.ErrOut, "nothing proves that context %q leads to member %q: %s", o.member.Context, u.Member, u.Reason)
	rows := [][]string{{"", "SERVER", "CA"}, {"stored", u.Stored.Server, u.Stored.CA()}, {"context", u.Caller.Server, u.Caller.CA()}}
	if err := output.Rows(o.ErrOut, rows); err != nil {
		return err
	}
	if o.trust.yes || o.dryRun != cluster.DryRunNone {
		return nil
	}
	return o.ask(ctx, fmt.Sprintf("Is it the cluster of member %q?", u.Member))
}
