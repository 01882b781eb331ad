package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/host/install"
	"github.com/kubefederate/kubectl-federate/pkg/version"
)

type deinitFlags struct {
	abandon bool
	timeout time.Duration
	dryRun  dryRunFlag
}

func newDeinit(d *factory) *cobra.Command {
	f := &deinitFlags{}
	cmd := &cobra.Command{
		Use:     "deinit",
		GroupID: groupHost,
		Short:   "Remove kubectl federate from the host cluster",
		Long: `Remove kubectl federate from the host cluster: the webhook, policies, manager, roles, and the kinds
Federation and MemberCluster with all federations.

It refuses while members exist, since what they hold of us could not be removed afterwards without the
host's record. With --abandon-members their records go as well; each member then still carries our
namespace and grants, until kubectl federate unjoin --member-context removes them.`,
		Example: `  # Remove everything from a host without members
  kubectl federate deinit

  # See what would be removed
  kubectl federate deinit --dry-run=server`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context(), d) },
	}
	cmd.Flags().BoolVar(&f.abandon, "abandon-members", false, "Also delete the records of members that did not leave")
	cmd.Flags().DurationVar(&f.timeout, "timeout", 3*time.Minute, "How long to wait until everything is gone")
	f.dryRun.add(cmd)
	return cmd
}

func (f *deinitFlags) run(ctx context.Context, d *factory) error {
	dryRun, err := f.dryRun.parse()
	if err != nil {
		return err
	}
	objects, err := manifests.Objects(manifests.Options{Version: version.Version, Image: manifests.Image(version.Version), Replicas: 1})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	h, err := d.host()
	if err != nil {
		return err
	}
	if !f.abandon {
		members, err := h.Members(ctx, host.MemberQuery{})
		if err != nil && !errors.Is(err, host.ErrNotInitialised) {
			return err
		}
		if len(members) > 0 {
			return &federate.Refusal{Operation: "remove kubectl federate from the host", Findings: []federate.Finding{{
				Side:   federate.SideHost,
				Cause:  fmt.Sprintf("%s still joined", countOf(len(members), "member is", "members are")),
				Remedy: fmt.Sprintf("let them leave (%s unjoin NAME --member-context CONTEXT), or give up what they carry of us with --abandon-members", d.name),
			}}}
		}
	}
	removed := 0
	report := func(o *unstructured.Unstructured, outcome install.Outcome) {
		removed++
		fmt.Fprintf(d.Out, "%s %s%s\n", describe(o), outcome, dryRunSuffix(dryRun))
	}
	if dryRun == federate.DryRunClient {
		present, err := install.Present(ctx, h, objects)
		if err != nil {
			return err
		}
		for _, o := range present {
			report(o, install.Deleted)
		}
	} else if err := install.Delete(ctx, h, objects, dryRun, report); err != nil {
		return err
	}
	if removed == 0 {
		fmt.Fprintln(d.ErrOut, "nothing of kubectl federate is installed on the host")
	}
	return nil
}
