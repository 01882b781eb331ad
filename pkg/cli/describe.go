package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/cli/targets"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/host"
)

const describeHelp = `Show everything that the host knows of members, or of a federation.

Of a member: its phase, since when and why, and the command to run next; who joined it; its endpoint, credential,
labels, conditions, Events, and what was seen of it. Violations are the rules of the federation that the member breaks
now, except limits, which count all members.

Of a federation: its rules, which members are unhealthy, and which break rules.`

const describeExample = `  # One member
  kubectl federate describe us-east

  # All members of a region
  kubectl federate describe -l topology.kubernetes.io/region=us-east-1

  # A federation
  kubectl federate describe federation prod`

// describeFlags are what was typed.
type describeFlags struct {
	*factory
	federation string
	selector   string
	showEvents bool
}

func newDescribe(d *factory) *cobra.Command {
	f := &describeFlags{factory: d}
	cmd := &cobra.Command{
		Use:               "describe ([members] NAME... | -l SELECTOR | federations [NAME...] | --federation FEDERATION)",
		GroupID:           groupMembers,
		Short:             "Show everything that the host knows of members, or of a federation",
		Long:              describeHelp,
		Example:           describeExample,
		ValidArgsFunction: d.completeShown,
		RunE:              runs(f.toOptions),
	}
	d.addFederation(cmd, &f.federation, "Describe this federation")
	cmd.Flags().StringVarP(&f.selector, "selector", "l", "", "Describe the members whose labels match this selector")
	cmd.Flags().BoolVar(&f.showEvents, "show-events", true, "Show the Events of each, as far as the host keeps them")
	return cmd
}

// describeOptions are ready to run.
type describeOptions struct {
	describeFlags
	kind  targets.Kind
	names []string
}

func (f *describeFlags) toOptions(_ *cobra.Command, args []string) (*describeOptions, error) {
	kind, names, err := targets.Arguments(args)
	return &describeOptions{*f, kind, names}, err
}

func (o *describeOptions) validate() error {
	if o.kind == targets.Federation {
		if o.federation != "" || o.selector != "" && len(o.names) > 0 {
			return output.Usagef("give names of federations, or --selector, and no --federation with them")
		}
		return nil
	}
	if (len(o.names) > 0) == (o.selector != "" || o.federation != "") || o.selector != "" && o.federation != "" {
		return output.Usagef("give names of members, or exactly one of --selector and --federation")
	}
	return nil
}

func (o *describeOptions) run(ctx context.Context) error {
	h, err := o.members()
	if err != nil {
		return err
	}
	if o.kind == targets.Federation {
		return o.describeFederations(ctx, h)
	}
	if o.federation != "" {
		return o.describeFederation(ctx, h, v1alpha1.FederationName(o.federation))
	}
	members, err := o.known(ctx, h, func() ([]v1alpha1.MemberCluster, error) {
		return h.Select(ctx, o.names, host.MemberQuery{Selector: o.selector})
	})
	var missing error
	if targets.IsMissing(err) {
		missing, err = err, nil
	}
	if err != nil {
		return output.WhileReading(ctx, err)
	}
	if len(members) == 0 && missing == nil {
		o.reportNoMembers()
		return nil
	}
	uids := make([]types.UID, len(members))
	for i := range members {
		uids[i] = members[i].UID
	}
	events, err := o.readEvents(ctx, h.Cluster, cluster.MemberClusters, uids)
	if err != nil {
		return output.WhileReading(ctx, err)
	}
	known := map[v1alpha1.FederationName]rulebook{}
	now, unnamed := time.Now(), false
	for i := range members {
		name := members[i].Federation()
		book, read := known[name]
		if !read {
			if book, err = readRules(ctx, h.Cluster, name); err != nil {
				return err
			}
			known[name] = book
		}
		text := memberText(o.commands(), &members[i], book, events, now)
		if i > 0 {
			text = "\n\n" + text
		}
		if err := output.Text(o.Out, text); err != nil {
			return err
		}
		unnamed = unnamed || leavesContext(text)
	}
	if unnamed {
		output.Line(o.ErrOut, o.commands().To(contextNote+"; to find it", command.Check{AllContexts: true}))
	}
	return missing
}

// describeFederations describes the named federations, or all that the selector matches.
func (o *describeOptions) describeFederations(ctx context.Context, h targets.Members) error {
	federations, err := h.SelectFederations(ctx, o.names, o.selector)
	if err != nil && !targets.IsMissing(err) {
		return err
	}
	if len(federations) == 0 && err == nil {
		o.reportNoFederations()
	}
	for i := range federations {
		if i > 0 {
			output.Line(o.Out, "\n")
		}
		if err := o.describeFederation(ctx, h, v1alpha1.FederationName(federations[i].Name)); err != nil {
			return err
		}
	}
	return err
}

func (o *describeOptions) describeFederation(ctx context.Context, h targets.Members, name v1alpha1.FederationName) error {
	// Members first: they are refused with the nearest name when there is no federation of this one.
	members, err := o.known(ctx, h, func() ([]v1alpha1.MemberCluster, error) {
		members, _, err := h.List(ctx, host.MemberQuery{Federation: name})
		return members, err
	})
	if err != nil {
		return err
	}
	federation, err := h.Federation(ctx, name)
	if err != nil {
		return err
	}
	events, err := o.readEvents(ctx, h.Cluster, cluster.Federations, []types.UID{federation.UID})
	if err != nil {
		return err
	}
	return output.Text(o.Out, federationText(o.commands(), federation, pointers(members), events, time.Now()))
}

// rulebook is a federation, or why its rules cannot be evaluated.
type rulebook struct {
	federation *v1alpha1.Federation
	missing    string
}

// readRules reads a federation. A caller who may not is shown members without violations.
func readRules(ctx context.Context, h *host.Cluster, name v1alpha1.FederationName) (rulebook, error) {
	if name == "" {
		return rulebook{missing: "the member has no federation"}, nil
	}
	federation, err := h.Federation(ctx, name)
	switch {
	case apierrors.IsForbidden(err):
		return rulebook{missing: fmt.Sprintf("you are not allowed to get federation %q", name)}, nil
	case apierrors.IsNotFound(err):
		return rulebook{missing: fmt.Sprintf("federation %q not found", name)}, nil
	case err != nil:
		return rulebook{}, err
	}
	return rulebook{federation: federation}, nil
}
