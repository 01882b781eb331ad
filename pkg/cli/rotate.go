package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli/targets"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/host"
)

const rotateHelp = `Give the host a new credential for members, and revoke the old one.

The new credential is issued by the member, tried, and stored on the host. Then the old one is revoked. The
command returns when the member refuses it, after some ten seconds: for that long API servers cache that a token
is valid. If it fails before the new one is stored, the old one stays valid. To finish a rotation that was
interrupted, run it again.

On the member you need the right to create and delete Secrets and to issue tokens in namespace
kubefederate-member, which the host's own credential does not have; on the host, the verb join on the federation.
The context of a member is found among all contexts of the kubeconfig, unless --member-context names it: one that
reaches the stored endpoint, or proves by a token that it leads to the member. Where nothing can prove it,
--trust-context prints both endpoints and asks. A member that no context leads to does not delay the others.

Of several members a table at the end shows the result for each; the exit code is 0 when all are rotated, 3 when
some are, 2 when all were refused.`

const rotateExample = `  # Replace the credential of us-east
  kubectl federate rotate us-east --member-context us-east

  # Of every member of prod, each by the context that leads to it
  kubectl federate rotate --federation prod

  # A credential that is valid for a week; see the plan first
  kubectl federate rotate us-east --member-context us-east --token-lifetime 168h --dry-run=server`

// rotateFlags are what was typed.
type rotateFlags struct {
	reachFlags
	lifetime time.Duration
}

func newRotate(d *factory) *cobra.Command {
	f := &rotateFlags{reachFlags: reachFlags{operationFlags: newOperationFlags(d)}}
	cmd := &cobra.Command{
		Use:     "rotate (NAME... | -l SELECTOR | --federation FEDERATION | --all)",
		GroupID: groupMembers,
		Short:   "Give the host a new credential for members, and revoke the old one",
		Long:    rotateHelp,
		Example: rotateExample,
		RunE:    runs(f.toOptions),
	}
	f.addTo(cmd, 2*time.Minute, "All members of this federation")
	addLifetime(cmd.Flags(), &f.lifetime)
	return cmd
}

// rotateOptions are ready to run.
type rotateOptions struct{ rotateFlags }

func (f *rotateFlags) toOptions(cmd *cobra.Command, args []string) (o *rotateOptions, err error) {
	o = &rotateOptions{*f}
	if o.names, err = targets.Names(args); err != nil {
		return nil, err
	}
	o.lifetime, err = parseLifetime(cmd, f.lifetime)
	return o, err
}

func (o *rotateOptions) run(ctx context.Context) error {
	return o.reach(ctx, &batch{Operation: "rotate", doing: "rotating", done: "rotated"}, true, o.plan, func(m *v1alpha1.MemberCluster) string {
		return fmt.Sprintf("no context of the kubeconfig leads to the cluster with ID %s; name another file with --member-kubeconfig", m.Spec.ClusterID)
	})
}

// plan plans the rotation of one member's credential.
func (o *rotateOptions) plan(h *host.Cluster, name v1alpha1.MemberName, at command.Cluster, connect connector, known federate.Way) planner {
	return func(ctx context.Context, step func(federate.Step)) (federate.Operation, error) {
		m, err := connect()
		if err != nil {
			return nil, err
		}
		return federate.PlanRotate(ctx, h, m, federate.RotateOptions{Name: name, TokenLifetime: o.lifetime, DryRun: o.dryRun, Way: known, Cluster: at, Progress: step})
	}
}
