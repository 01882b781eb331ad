package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/cli/targets"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

// memberChanges changes many members on the host and prints a line for each, as kubectl does. It continues when one is
// refused.
type memberChanges struct {
	*factory
	batch targets.Batch
	// silent leaves stdout to what is printed afterwards.
	silent bool
	dryRun cluster.DryRun
	// done is what the changes do: "labeled".
	done string
	// change leaves in a member what the server returned, and says what was done to it.
	change func(ctx context.Context, m *v1alpha1.MemberCluster) (did string, err error)
}

// run returns the members that were changed, in their order. They are worked on in parallel, and printed in order.
func (c *memberChanges) run(ctx context.Context, members []v1alpha1.MemberCluster) ([]v1alpha1.MemberCluster, error) {
	var progress *output.Progress
	if c.silent {
		progress = c.messages.Progress("changing " + output.Count(len(members), "member", "members"))
		defer progress.End()
	}
	did := make([]string, len(members))
	ended := 0
	errs := c.batch.Run(ctx, len(members), func(ctx context.Context, i int) (err error) {
		if len(members) > 1 {
			ctx = output.About(ctx, members[i].Name)
		}
		did[i], err = c.change(ctx, &members[i])
		return err
	}, targets.InOrder(func(i int, err error) {
		ended++
		switch {
		case errors.Is(ctx.Err(), context.Canceled) && err != nil:
			// That its request got no answer is not the host's fault; the summary counts it.
		case err != nil && len(members) > 1:
			output.Error(c.ErrOut, err)
		case err == nil && !c.silent:
			fmt.Fprintf(c.Out, "membercluster.kubefederate.io/%s %s%s\n", members[i].Name, did[i], dryRunSuffix(c.dryRun))
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
	return changed, summary(ctx, errs, c.done)
}
