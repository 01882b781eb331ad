package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/cli/targets"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

// hostTimeout is how long a change of one member on the host may take by default.
const hostTimeout = 30 * time.Second

// changeFlags are those that label, approve, suspend and resume have in common, which change members on the host.
type changeFlags struct {
	*factory
	names     []string
	selection targets.SelectFlags
	batch     targets.Batch
	dryRun    cluster.DryRun
	output    output.Flags
}

func newChangeFlags(d *factory) changeFlags {
	return changeFlags{factory: d, output: output.NewFlags()}
}

// addTo adds the flags; usage is that of --federation.
func (o *changeFlags) addTo(cmd *cobra.Command, usage string) {
	o.addSelection(cmd, &o.selection, usage)
	o.batch.AddTo(cmd, hostTimeout)
	addDryRun(cmd, &o.dryRun)
	o.output.AddTo(cmd)
}

func (o *changeFlags) validate() error {
	return cmp.Or(o.output.Validate(), o.selection.Validate(o.names), o.batch.Validate())
}

// memberChange leaves in a member what the server returned, and says what was done to it.
type memberChange func(ctx context.Context, m *v1alpha1.MemberCluster) (did string, err error)

// changeMembers changes members and prints a line for each, as kubectl does; silent leaves stdout to what is printed
// afterwards. They are worked on in parallel, and printed in order; it continues when one is refused. It returns those
// that were changed, in their order. What the changes do follows verb: "labeled".
func (o *changeFlags) changeMembers(ctx context.Context, members []v1alpha1.MemberCluster, silent bool, verb string, change memberChange) ([]v1alpha1.MemberCluster, error) {
	var progress *output.Progress
	if silent {
		progress = o.messages.Progress("changing " + output.Count(len(members), "member", "members"))
		defer progress.End()
	}
	did := make([]string, len(members))
	ended := 0
	errs := o.batch.Run(ctx, len(members), func(ctx context.Context, i int) (err error) {
		if len(members) > 1 {
			ctx = output.About(ctx, members[i].Name)
		}
		did[i], err = change(ctx, &members[i])
		return err
	}, targets.InOrder(func(i int, err error) {
		ended++
		switch {
		case errors.Is(ctx.Err(), context.Canceled) && err != nil:
			// That its request got no answer is not the host's fault; the summary counts it.
		case err != nil && len(members) > 1:
			o.messages.Print(func() { output.Error(o.ErrOut, err) })
		case err == nil && !silent:
			output.Linef(o.Out, "membercluster.kubefederate.io/%s %s%s", members[i].Name, did[i], dryRunSuffix(o.dryRun))
		case err == nil:
			progress.Update(fmt.Sprintf("%d of %d members done", ended, len(members)))
		}
	}))
	if len(members) == 1 && errs[0] != nil && !errors.Is(ctx.Err(), context.Canceled) {
		return nil, errs[0]
	}
	var changed []v1alpha1.MemberCluster
	for i := range members {
		if errs[i] == nil {
			changed = append(changed, members[i])
		}
	}
	return changed, summary(ctx, errs, verb, o.dryRun)
}
