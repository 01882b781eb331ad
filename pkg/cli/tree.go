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
NO_COLOR is set. --depth leaves out what is below federations (1), regions (2) or zones (3).

-o mermaid prints a flowchart for documents: GitHub, GitLab and many others draw what is in a code
block of that name (https://mermaid.js.org).

-o html prints one page for a browser, for mail and notes of an incident: how many members there are,
what is wrong, why and since when, the command that mends it, and all members by federation. The page
has no scripts and loads nothing. What is on it is as secret as what get shows.`

const treeExample = `  # All federations
  kubectl federate tree

  # How many members each region has, and how they are
  kubectl federate tree --depth 2

  # One team's clusters in one federation
  kubectl federate tree --federation prod -l example.com/team=web

  # A picture for a document
  kubectl federate tree --federation prod -o mermaid > prod.mmd

  # A page for a browser
  kubectl federate tree -o html > fleet.html`

// mermaidFormat is the format for documents.
const mermaidFormat = "mermaid"

// treeFlags are what was typed.
type treeFlags struct {
	*factory
	selection targets.SelectFlags
	depth     int
	output    output.Format
}

func newTree(d *factory) *cobra.Command {
	f := &treeFlags{factory: d, output: output.Format{Formats: []string{mermaidFormat, htmlFormat}}}
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
	cmd.Flags().IntVar(&f.depth, "depth", maxDepth, "How deep the tree is: 1 shows federations, 2 regions, 3 zones, 4 members")
	f.output.AddTo(cmd)
	return cmd
}

// maxDepth is the depth of a whole tree.
const maxDepth = 4

// treeOptions are ready to run.
type treeOptions struct {
	treeFlags
	query host.MemberQuery
}

func (f *treeFlags) toOptions(*cobra.Command, []string) (*treeOptions, error) {
	return &treeOptions{*f, f.selection.Query()}, nil
}

func (o *treeOptions) validate() error {
	if o.depth < 1 || o.depth > maxDepth {
		return output.Usagef("invalid --depth %d: must be 1 to %d", o.depth, maxDepth)
	}
	return o.output.Validate()
}

func (o *treeOptions) run(ctx context.Context) error {
	h, err := o.members()
	if err != nil {
		return err
	}
	members, probes, err := o.withProbes(ctx, h, func() ([]v1alpha1.MemberCluster, error) {
		members, _, err := h.List(ctx, o.query)
		return members, err
	})
	if err != nil {
		return err
	}
	members = allAsKnown(members, probes)
	if o.output.Value == htmlFormat {
		return o.printPage(ctx, h, members, probesText(h.Commands, probes))
	}
	names, err := o.names(ctx, h)
	if err != nil {
		return err
	}
	tree := prune(grow(names, pointers(members), time.Now()), o.depth)
	if len(tree) == 0 {
		o.reportNoMembers()
		return nil
	}
	if o.output.Value == "" {
		return output.PrintTree(o.Out, tree)
	}
	if edges := output.MermaidEdges(tree); edges > output.MaxMermaidEdges {
		return output.Usagef("the flowchart would have %d lines, and renderers draw at most %d: choose members by --federation or --selector, or leave out the lowest level by --depth=%d",
			edges, output.MaxMermaidEdges, max(o.depth-1, 1))
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
	var tree []output.Branch
	for _, f := range federationsOf(names, members) {
		federation := branch(f.name, f.members)
		for _, r := range split(f.members, func(m *v1alpha1.MemberCluster) string { return strings.Join(regionsOf(m), ", ") }) {
			region := branch(cmp.Or(r.name, "unknown region"), r.members)
			for _, z := range split(r.members, func(m *v1alpha1.MemberCluster) string { return strings.Join(zonesOf(m), ", ") }) {
				zone := branch(cmp.Or(z.name, "unknown zone"), z.members)
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

// federationsOf are federations with their members, by name. Names are federations that are there even when they have no members.
func federationsOf(names []v1alpha1.FederationName, members []*v1alpha1.MemberCluster) []group {
	members = slices.SortedFunc(slices.Values(members), targets.ByFederation)
	federations := split(members, func(m *v1alpha1.MemberCluster) string { return output.OrNone(string(m.Federation())) })
	for _, name := range names {
		if !slices.ContainsFunc(federations, func(g group) bool { return g.name == string(name) }) {
			federations = append(federations, group{name: string(name)})
		}
	}
	slices.SortFunc(federations, func(a, b group) int { return cmp.Compare(a.name, b.name) })
	return federations
}

// branch is one without what is below it.
func branch(name string, members []*v1alpha1.MemberCluster) output.Branch {
	b := output.Branch{Name: name, Count: tally(members), Counts: phaseCounts(members)}
	if len(members) == 0 {
		b.Counts = []string{b.Count}
	}
	return b
}

// prune leaves out what is deeper than depth: 1 is federations, 2 regions, 3 zones, 4 members.
func prune(branches []output.Branch, depth int) []output.Branch {
	for i := range branches {
		b := &branches[i]
		switch {
		case depth > 1:
			b.Branches = prune(b.Branches, depth-1)
		default:
			b.Branches, b.Leaves = nil, nil
		}
	}
	return branches
}

// leaf is a member in the tree.
func leaf(m *v1alpha1.MemberCluster, now time.Time) output.Leaf {
	why := causeOf(m)
	return output.Leaf{Name: m.Name, State: string(phaseOf(m)), Level: levelOf(phaseOf(m)), Reason: why.title(), Age: why.age(now)}
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
