package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/cli/targets"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

const unjoinHelp = `Remove clusters from their federation.

It revokes what the host may do on the member, removes everything that kubectl federate created there, and then
deletes the member on the host. What was on the member before, and what others put into the namespace
kubefederate-member, stays. It returns when the last grant is gone, and when the manager reports that the member
refuses the host's credential, for which it waits ten seconds: while the credential still works, what was cleaned is
another cluster, and the member stays on the host.

The context of a member is found among all contexts of the kubeconfig, unless --member-context names it: one that
reaches the stored endpoint, or proves by a token that it leads to the member. Where nothing can prove it,
--trust-context prints both endpoints and asks. A member that no context leads to stays, and does not delay the
others. --force deletes a member on the host when its cluster can no longer be reached.

A cluster that keeps its label kubefederate.io/federation still asks to join; --drop-label removes the label too.

Of several members a table at the end shows the result for each; the exit code is 0 when all left, 3 when some
did, 2 when all were refused.`

const unjoinExample = `  # Remove us-east from its federation
  kubectl federate unjoin us-east --member-context us-east

  # Remove its federation label as well
  kubectl federate unjoin us-west --member-context us-west --drop-label

  # The cluster is gone for good
  kubectl federate unjoin us-east --force

  # All members of a region, and all of a federation
  kubectl federate unjoin -l topology.kubernetes.io/region=us-west-2
  kubectl federate unjoin --all --federation prod`

// unjoinFlags are what was typed.
type unjoinFlags struct {
	reachFlags
	dropLabel bool
	force     bool
}

func newUnjoin(d *factory) *cobra.Command {
	f := &unjoinFlags{reachFlags: reachFlags{operationFlags: newOperationFlags(d)}}
	cmd := &cobra.Command{
		Use:     "unjoin (NAME... | -l SELECTOR | --all)",
		GroupID: groupMembers,
		Short:   "Remove clusters from their federation",
		Long:    unjoinHelp,
		Example: unjoinExample,
		RunE:    runs(f.toOptions),
	}
	f.addTo(cmd, time.Minute, "With --all or --selector, only members of this federation")
	flags := cmd.Flags()
	flags.BoolVar(&f.dropLabel, "drop-label", false, "Also remove the label with which the cluster asks to join the federation")
	flags.BoolVar(&f.force, "force", false, "Remove the host's record without reaching the member")
	return cmd
}

// unjoinOptions are ready to run.
type unjoinOptions struct{ unjoinFlags }

func (f *unjoinFlags) toOptions(_ *cobra.Command, args []string) (*unjoinOptions, error) {
	o := &unjoinOptions{*f}
	var err error
	o.names, err = targets.Names(args)
	return o, err
}

func (o *unjoinOptions) validate() error {
	switch {
	case o.force && o.dropLabel:
		return output.Usagef("--drop-label needs the member, which --force does not reach")
	case o.force && o.member.Given():
		return output.Usagef("--force removes the host's record without reaching the member: leave out --member-context and --member-kubeconfig")
	case o.force && o.trust.given:
		return output.Usagef("--force does not reach the member: leave out --trust-context")
	case !o.selection.All && o.selection.Selector == "" && o.selection.Federation != "":
		return output.Usagef("--federation=%s alone would unjoin all its members: confirm with --all", o.selection.Federation)
	}
	return o.reachFlags.validate()
}

func (o *unjoinOptions) run(ctx context.Context) error {
	return o.reach(ctx, &batch{Operation: "unjoin", doing: "unjoining", done: "unjoined"}, !o.force, o.plan, func(m *v1alpha1.MemberCluster) string {
		return o.commands().To(
			fmt.Sprintf("no context of the kubeconfig leads to the cluster with ID %s; name another file with --member-kubeconfig, or, if it is gone for good, "+
				"remove only the host's record", m.Spec.ClusterID),
			command.Unjoin{Member: v1alpha1.MemberName(m.Name), Force: true})
	})
}

// plan plans the unjoin of one member.
func (o *unjoinOptions) plan(h *host.Cluster, name v1alpha1.MemberName, at command.Cluster, connect connector, known federate.Way) planner {
	return func(ctx context.Context, _ func(federate.Step)) (federate.Operation, error) {
		var m *member.Cluster
		if !o.force {
			var err error
			if m, err = connect(); err != nil {
				return nil, err
			}
		}
		return federate.PlanUnjoin(ctx, h, m, federate.UnjoinOptions{Name: name, DropLabel: o.dropLabel, Force: o.force, DryRun: o.dryRun, Way: known, Cluster: at})
	}
}
