package cli

import (
	"cmp"
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
)

const moveHelp = `Move members to another federation of the same host.

The member leaves its federation and joins the other one, with its labels, its endpoint, its suspension and the
lifetime of its credential; --labels changes some of them with the move. Both federations are asked before
anything is changed: whether the member may leave, by the rights on the former one, and whether it may join, by
the rights, the rules and the limits of the other. What was created on the cluster for the former federation is
created anew, so that no credential of it remains valid. Until the new credential is tried the membership record
stays on the cluster, so that no other host can join it.

A move that fails returns the member to the former federation, with a new credential; where that is not possible,
the message has the command that does it. A federation that accepts members by hand has to accept the member; one
that accepted it before does not count. Annotations and owners of the MemberCluster are not kept, and a member that
discovery joined is one that a person joined.

On the member you need the rights that a join takes; on the host, the verb leave on the former federation and join
on the other one. The context of a member is found among all contexts of the kubeconfig, unless --member-context
names it: one that reaches the stored endpoint, or proves by a token that it leads to the member. Where nothing
can prove it, --trust-context prints both endpoints and asks.

Of several members a table at the end shows the result for each; the exit code is 0 when all are moved, 3 when
some are, 2 when all were refused.`

const moveExample = `  # Move us-east to federation test
  kubectl federate move us-east --to test

  # See the plan; nothing is changed
  kubectl federate move us-east --to test --dry-run=server

  # With a label that the other federation asks for
  kubectl federate move us-east --to test --labels example.com/stage=test

  # Move every member of staging
  kubectl federate move --federation staging --to test`

// moveFlags are what was typed.
type moveFlags struct {
	reachFlags
	to       string
	labels   []string
	endpoint endpointFlags
	lifetime time.Duration
}

func newMove(d *factory) *cobra.Command {
	f := &moveFlags{reachFlags: reachFlags{operationFlags: newOperationFlags(d)}}
	cmd := &cobra.Command{
		Use:     "move (NAME... | -l SELECTOR | --federation FEDERATION | --all) --to FEDERATION",
		GroupID: groupMembers,
		Short:   "Move members to another federation",
		Long:    moveHelp,
		Example: moveExample,
		RunE:    runs(f.toOptions),
	}
	f.addTo(cmd, joinTimeout, "All members of this federation")
	flags := cmd.Flags()
	flags.StringVar(&f.to, "to", "", "The federation to move to")
	_ = cmd.RegisterFlagCompletionFunc("to", d.completeFederations)
	flags.StringSliceVar(&f.labels, "labels", nil, "Labels that the member gets with the move, as KEY=VALUE,…; it keeps its others")
	f.endpoint.addTo(flags)
	addLifetime(flags, &f.lifetime)
	flags.Lookup("token-lifetime").DefValue = "that of the member"
	return cmd
}

// moveOptions are ready to run.
type moveOptions struct {
	moveFlags
	// move is what all members have in common, and the endpoint of one that moves alone.
	move federate.JoinOptions
}

func (f *moveFlags) toOptions(cmd *cobra.Command, args []string) (o *moveOptions, err error) {
	o = &moveOptions{moveFlags: *f, move: federate.JoinOptions{Federation: v1alpha1.FederationName(f.to), DryRun: f.dryRun}}
	if o.names, err = targets.Names(args); err != nil {
		return nil, err
	}
	if o.move.Labels, err = parseLabels(f.labels); err != nil {
		return nil, err
	}
	if o.move.TokenLifetime, err = parseLifetime(cmd, f.lifetime); err != nil {
		return nil, err
	}
	return o, f.endpoint.set(&o.move, cmd.Flags())
}

func (o *moveOptions) validate() error {
	_, labeled := o.move.Labels[v1alpha1.LabelFederation]
	switch {
	case o.to == "":
		return output.Usagef("--to is required: it names the federation to move to")
	case labeled:
		return output.Usagef("invalid --labels: label %s is set by --to", v1alpha1.LabelFederation)
	case !o.single() && o.endpoint != endpointFlags{}:
		return output.Usagef("--reset-endpoint and the endpoint flags --member-… are for one member: move it by its name")
	}
	return cmp.Or(validateName("federation", o.to), o.reachFlags.validate())
}

func (o *moveOptions) run(ctx context.Context) error {
	return o.reach(ctx, &batch{Operation: "move", doing: "moving", done: "moved"}, true, o.plan, func(m *v1alpha1.MemberCluster) string {
		return fmt.Sprintf("no context of the kubeconfig leads to the cluster with ID %s; name another file with --member-kubeconfig", m.Spec.ClusterID)
	})
}

// plan plans the move of one member.
func (o *moveOptions) plan(h *host.Cluster, name v1alpha1.MemberName, at command.Cluster, connect connector, known federate.Way) planner {
	return func(ctx context.Context, step func(federate.Step)) (federate.Operation, error) {
		m, err := connect()
		if err != nil {
			return nil, err
		}
		move := o.move
		move.Name, move.Cluster, move.Way, move.Progress = name, at, known, step
		return federate.PlanMove(ctx, h, m, move)
	}
}
