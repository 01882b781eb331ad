package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

type unjoinFlags struct {
	member    memberFlags
	members   selectFlags
	many      manyFlags
	dropLabel bool
	force     bool
	timeout   time.Duration
	dryRun    dryRunFlag
	output    outputFlags
}

// unjoinTimeout is how long the unjoin of one cluster may take when nothing else is said.
const unjoinTimeout = time.Minute

func newUnjoin(d *factory) *cobra.Command {
	f := &unjoinFlags{output: newOutputFlags()}
	cmd := &cobra.Command{
		Use:     "unjoin (NAME --member-context CONTEXT | NAME NAME... | -l SELECTOR | --all)",
		GroupID: groupMembers,
		Short:   "Let clusters leave their federation",
		Long: `Let clusters leave their federation.

It revokes what the host may do on the member, takes everything of ours off it, and then removes the
member's record from the host. What was on the member before, and what others put into our namespace,
stays. It returns when the last grant is gone.

A cluster whose label kubefederate.io/federation stays is not joined again by discover; --drop-label
removes the label too. --force gives up a member that cannot be reached any more.

Several names, -l and --all let many members leave at once. Their contexts are found by cluster ID: every
context of the kubeconfig is looked at, so that no cluster is taken for another. A member that no context
reaches stays, and holds up nobody. One table tells at the end what became of each; the exit code is 0
when all left, 3 when some did, 2 when all were refused.`,
		Example: `  # Let us-east leave
  kubectl federate unjoin us-east --member-context us-east

  # Remove its federation label as well
  kubectl federate unjoin us-west --member-context us-west --drop-label

  # The cluster is gone for good
  kubectl federate unjoin us-east --force

  # All members of a region, and all of a federation
  kubectl federate unjoin -l topology.kubernetes.io/region=us-west-2
  kubectl federate unjoin --all --federation prod`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 || f.members.many() {
				return f.runMany(cmd.Context(), d, args)
			}
			if err := exactlyOne("the member's name")(cmd, args); err != nil {
				return err
			}
			return f.run(cmd.Context(), d, v1alpha1.MemberName(args[0]))
		},
	}
	f.member.add(cmd.Flags())
	f.member.complete(cmd)
	f.members.add(cmd, d, "With --all or --selector, only members of this federation")
	f.many.add(cmd, "connect-timeout")
	flags := cmd.Flags()
	flags.BoolVar(&f.dropLabel, "drop-label", false, "Also remove the label with which the cluster asks for to be in the federation")
	flags.BoolVar(&f.force, "force", false, "Remove the host's record without reaching the member")
	flags.DurationVar(&f.timeout, "timeout", unjoinTimeout, "How long the unjoin of a cluster may take")
	f.dryRun.add(cmd)
	f.output.add(cmd)
	return cmd
}

const finishing = "the member still finishes deleting namespace " + v1alpha1.MemberNamespace + "; no grant is left in it"

func (f *unjoinFlags) checkForce() error {
	switch {
	case f.force && f.dropLabel:
		return usagef("--drop-label needs the member, which --force does not reach")
	case f.force && f.member.given():
		return usagef("--force gives the member up without reaching it: leave out --member-context and --member-kubeconfig")
	}
	return nil
}

func (f *unjoinFlags) run(ctx context.Context, d *factory, name v1alpha1.MemberName) error {
	dryRun, err := f.dryRun.parse()
	if err != nil {
		return err
	}
	if err := f.checkForce(); err != nil {
		return err
	}
	if !f.force && f.member.context == "" {
		return usagef("the member cluster is never guessed: name it with --member-context; if it is gone for good, --force removes the host's record alone")
	}
	if err := f.output.check(); err != nil {
		return err
	}
	h, err := d.host()
	if err != nil {
		return err
	}
	var m *member.Cluster
	if !f.force {
		if m, err = f.member.connect(d); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()

	progress := newProgress(d, fmt.Sprintf("reading the host and member %q", name))
	defer progress.end()
	step := func(s federate.Step) { progress.update(s.String()) }
	plan, err := federate.PlanUnjoin(ctx, h, m, federate.UnjoinOptions{
		Name: name, DropLabel: f.dropLabel, Force: f.force, DryRun: dryRun,
		MemberContext: f.member.context,
	})
	if err != nil {
		progress.end()
		return whileReading(ctx, err)
	}
	progress.notes(plan.Notes)
	if dryRun != federate.DryRunNone {
		progress.end()
		return printPlan(d, f.output, plan)
	}
	result, err := plan.Apply(ctx, step)
	progress.end()
	if err != nil {
		return whileReading(ctx, err)
	}
	progress.notes(result.Notes, plan.Notes...)
	if result.Finishing {
		progress.line(finishing)
	}
	if *f.output.OutputFormat == "name" || *f.output.OutputFormat == "" {
		word := " unjoined"
		if result.Already {
			word = " already unjoined"
		}
		if *f.output.OutputFormat == "name" {
			word = ""
		}
		_, err := fmt.Fprintf(d.Out, "membercluster.kubefederate.io/%s%s\n", name, word)
		return err
	}
	return printObjects(d, f.output, plan.Objects())
}
