package cli

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/cli/targets"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/host/install"
)

const deinitHelp = `Remove kubectl federate from the host cluster: the webhook, policies, manager, roles, what grant made, and the
kinds Federation and MemberCluster with all federations, which a dry run names.

It refuses while there are members: without them on the host, what kubectl federate created on their clusters
could not be removed. With --abandon-members they are deleted as well; each cluster then still has the namespace
kubefederate-member and its grants, until kubectl federate unjoin --member-context removes them.`

const deinitExample = `  # Remove everything from a host without members
  kubectl federate deinit

  # See what would be removed
  kubectl federate deinit --dry-run=server`

// deinitFlags are what was typed.
type deinitFlags struct {
	*factory
	abandon bool
	timeout time.Duration
	dryRun  cluster.DryRun
}

func newDeinit(d *factory) *cobra.Command {
	f := &deinitFlags{factory: d}
	cmd := &cobra.Command{
		Use:     "deinit",
		GroupID: groupHost,
		Short:   "Remove kubectl federate from the host cluster",
		Long:    deinitHelp,
		Example: deinitExample,
		Args:    noArguments,
		RunE:    runs(f.toOptions),
	}
	cmd.Flags().BoolVar(&f.abandon, "abandon-members", false, "Also delete the records of members that did not leave")
	targets.AddTimeout(cmd, &f.timeout, 3*time.Minute)
	addDryRun(cmd, &f.dryRun)
	return cmd
}

// deinitOptions are ready to run.
type deinitOptions struct{ deinitFlags }

func (f *deinitFlags) toOptions(*cobra.Command, []string) (*deinitOptions, error) {
	return &deinitOptions{*f}, nil
}

func (o *deinitOptions) validate() error { return targets.ValidateTimeout("timeout", o.timeout) }

func (o *deinitOptions) run(ctx context.Context) error {
	objects, err := manifests.Objects(manifests.Options{Discovery: true})
	if err != nil {
		return err
	}
	ctx, cancel := targets.WithTimeout(ctx, o.timeout)
	defer cancel()
	h, err := o.host()
	if err != nil {
		return err
	}
	if !o.abandon {
		if err := o.refuseMembers(ctx, h); err != nil {
			return err
		}
	}
	federations, err := o.federations(ctx, h)
	if err != nil {
		return err
	}
	removed := 0
	report := func(object *unstructured.Unstructured, outcome install.Outcome) {
		removed++
		if install.Describe(object) == federationsDefinition {
			for i := range federations { // they go with their kind
				output.Linef(o.Out, "federation.kubefederate.io/%s %s%s", federations[i].Name, outcome, dryRunSuffix(o.dryRun))
			}
		}
		output.Linef(o.Out, "%s %s%s", install.Describe(object), outcome, dryRunSuffix(o.dryRun))
	}
	if err := o.revokeGrants(ctx, h, report); err != nil {
		return err
	}
	if o.dryRun == cluster.DryRunClient {
		present, err := install.Present(ctx, h, objects)
		if err != nil {
			return err
		}
		for _, object := range present {
			report(object, install.Deleted)
		}
	} else if err := install.Delete(ctx, h, objects, o.dryRun, report); err != nil {
		return err
	}
	if removed == 0 {
		output.Line(o.ErrOut, "kubectl federate is not installed on the host")
	}
	return nil
}

// federationsDefinition is the kind Federation, as it is reported.
const federationsDefinition = "customresourcedefinition.apiextensions.k8s.io/federations.kubefederate.io"

// federations are those that are deleted with their kind. Where they may not be listed there are none, and a warning says so.
func (o *deinitOptions) federations(ctx context.Context, h *host.Cluster) ([]v1alpha1.Federation, error) {
	federations, err := h.Federations(ctx)
	switch {
	case errors.Is(err, host.ErrNotInitialised):
		return nil, nil
	case apierrors.IsForbidden(err):
		output.Linef(o.ErrOut, "Warning: which federations are deleted is not known: %s", output.Reason(err))
		return nil, nil
	}
	return federations, err
}

// revokeGrants removes what grant made: the rights would be there again for the next manager.
func (o *deinitOptions) revokeGrants(ctx context.Context, h *host.Cluster, report install.Report) error {
	grants, err := install.ReadGrants(ctx, h)
	switch {
	case apierrors.IsForbidden(err):
		output.Linef(o.ErrOut, "Warning: what grant made was not looked for, and stays: %s", output.Reason(err))
		return nil
	case err != nil:
		return err
	}
	for _, n := range grants.Namespaces {
		labels := map[string]string{n.Label: string(n.Federation)}
		if n.Label == v1alpha1.LabelInventory {
			maps.Copy(labels, manifests.ClusterSetLabels(n.Federation))
		}
		if o.dryRun != cluster.DryRunClient {
			if _, err := install.Unlabel(ctx, h, n.Name, labels, o.dryRun); err != nil {
				return err
			}
		}
		report(cluster.Namespaces.New("", n.Name), install.Unlabeled)
	}
	if o.dryRun == cluster.DryRunClient {
		for _, object := range slices.Backward(grants.Objects) {
			report(object, install.Deleted)
		}
		return nil
	}
	return install.Delete(ctx, h, grants.Objects, o.dryRun, report)
}

func (o *deinitOptions) refuseMembers(ctx context.Context, h *host.Cluster) error {
	members, err := h.Members(ctx, host.MemberQuery{})
	switch {
	case err != nil && !errors.Is(err, host.ErrNotInitialised):
		return err
	case len(members) == 0:
		return nil
	}
	return &federate.Refusal{Operation: "remove kubectl federate from the host", Findings: []federate.Finding{{
		Side:   cluster.Host,
		Cause:  output.Count(len(members), "member is", "members are") + " still joined",
		Remedy: o.commands().To("abandon them with --abandon-members, or unjoin each", command.Unjoin{}),
	}}}
}
