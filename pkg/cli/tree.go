package cli

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/cli/targets"
	"github.com/kubefederate/kubectl-federate/pkg/host"
)

const treeHelp = `Show members by federation, region and zone.

A member is shown once, below all its regions and all its zones, with its phase and the cause. Regions
and zones are those of its nodes, or else of its labels. On a terminal the phase has a color, unless
NO_COLOR is set.

-o mermaid prints a flowchart for documents: GitHub, GitLab and many others draw what is in a code
block of that name (https://mermaid.js.org).`

const treeExample = `  # All federations
  kubectl federate tree

  # One team's clusters in one federation
  kubectl federate tree --federation prod -l example.com/team=web

  # A picture for a document
  kubectl federate tree --federation prod -o mermaid > prod.mmd`

// mermaidFormat is the format for documents.
const mermaidFormat = "mermaid"

// treeFlags are what was typed.
type treeFlags struct {
	*factory
	selection targets.SelectFlags
	output    output.Format
}

func newTree(d *factory) *cobra.Command {
	f := &treeFlags{factory: d, output: output.Format{Formats: []string{mermaidFormat}}}
	cmd := &cobra.Command{
		Use:     "tree",
		GroupID: groupMembers,
		Short:   "Show members by federation, region and zone",
		Long:    treeHelp,
		Example: treeExample,
		Args:    noArguments,
		RunE:    runs(f.toOptions),
	}
	d.addFederation(cmd, &f.selection.Federation, "Only this federation")
	cmd.Flags().StringVarP(&f.selection.Selector, "selector", "l", "", "Only members whose labels match this selector")
	f.output.AddTo(cmd)
	return cmd
}

// treeOptions are ready to run.
type treeOptions struct {
	treeFlags
	query host.MemberQuery
}

func (f *treeFlags) toOptions(*cobra.Command, []string) (*treeOptions, error) {
	return &treeOptions{*f, f.selection.Query()}, nil
}

func (o *treeOptions) validate() error { return o.output.Validate() }

func (o *treeOptions) run(ctx context.Context) error {
	h, err := o.members()
	if err != nil {
		return err
	}
	members, err := o.known(ctx, h, func() ([]v1alpha1.MemberCluster, error) {
		members, _, err := h.List(ctx, o.query)
		return members, err
	})
	if err != nil {
		return err
	}
	names, err := o.names(ctx, h)
	if err != nil {
		return err
	}
	tree := grow(names, pointers(members), time.Now())
	if len(tree) == 0 {
		o.reportNoMembers()
		return nil
	}
	if o.output.Value == "" {
		return output.PrintTree(o.Out, tree)
	}
	return output.Text(o.Out, output.Mermaid(tree))
}

// names are the federations to show even when they have no members: none when members are selected by label, and none
// for a caller who may not list federations.
func (o *treeOptions) names(ctx context.Context, h targets.Members) ([]v1alpha1.FederationName, error) {
	switch {
	case o.query.Selector != "":
		return nil, nil
	case o.query.Federation != "":
		return []v1alpha1.FederationName{o.query.Federation}, nil
	}
	names, err := h.FederationNames(ctx)
	if apierrors.IsForbidden(err) {
		return nil, nil
	}
	return names, err
}

// grow makes branches of federations, regions and zones. A member of several regions or zones is once below all of them
// together. Names are federations that are shown even when they have no members.
func grow(names []v1alpha1.FederationName, members []*v1alpha1.MemberCluster, now time.Time) []output.Branch {
	members = slices.SortedFunc(slices.Values(members), targets.ByFederation)
	federations := split(members, func(m *v1alpha1.MemberCluster) string { return output.OrNone(string(m.Federation())) })
	for _, name := range names {
		if !slices.ContainsFunc(federations, func(g group) bool { return g.name == string(name) }) {
			federations = append(federations, group{name: string(name)})
		}
	}
	slices.SortFunc(federations, func(a, b group) int { return cmp.Compare(a.name, b.name) })
	var tree []output.Branch
	for _, f := range federations {
		federation := output.Branch{Name: f.name, Count: tally(f.members), Counts: phaseCounts(f.members)}
		if len(f.members) == 0 {
			federation.Counts = []string{federation.Count}
		}
		for _, r := range split(f.members, func(m *v1alpha1.MemberCluster) string { return strings.Join(regionsOf(m), ", ") }) {
			region := output.Branch{Name: cmp.Or(r.name, "unknown region")}
			for _, z := range split(r.members, func(m *v1alpha1.MemberCluster) string { return strings.Join(zonesOf(m), ", ") }) {
				zone := output.Branch{Name: cmp.Or(z.name, "unknown zone")}
				for _, m := range z.members {
					zone.Leaves = append(zone.Leaves, leaf(m, now))
				}
				region.Branches = append(region.Branches, zone)
			}
			federation.Branches = append(federation.Branches, region)
		}
		tree = append(tree, federation)
	}
	return tree
}

// leaf is a member in the tree.
func leaf(m *v1alpha1.MemberCluster, now time.Time) output.Leaf {
	why := causeOf(m)
	l := output.Leaf{Name: m.Name, State: string(phaseOf(m)), Level: output.Waiting, Reason: why.Reason, Age: why.age(now)}
	switch phaseOf(m) {
	case v1alpha1.PhaseReady:
		l.Level = output.Good
	case v1alpha1.PhaseOffline, v1alpha1.PhaseNotReady:
		l.Level = output.Bad
	}
	return l
}

// group is the members of one federation, region or zone.
type group struct {
	name    string
	members []*v1alpha1.MemberCluster
}

// split groups members, in their order, by place; the unknown place "" is the last group.
func split(members []*v1alpha1.MemberCluster, place func(m *v1alpha1.MemberCluster) string) []group {
	var groups []group
	at := map[string]int{}
	for _, m := range members {
		name := place(m)
		i, known := at[name]
		if !known {
			i = len(groups)
			at[name] = i
			groups = append(groups, group{name: name})
		}
		groups[i].members = append(groups[i].members, m)
	}
	slices.SortFunc(groups, func(a, b group) int { return compareKnown(a.name, b.name) })
	return groups
}
