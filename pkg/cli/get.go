package cli

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/host"
)

type getFlags struct {
	federation federationFlag
	selector   string
	showLabels bool
	noHeaders  bool
	sortBy     string
	watch      watchFlags
	output     outputFlags
}

func newGet(d *factory) *cobra.Command {
	f := &getFlags{output: newOutputFlags("wide")}
	cmd := &cobra.Command{
		Use:     "get [NAME...]",
		GroupID: groupMembers,
		Short:   "Show members by federation, and how they are",
		Long: `Show members by federation, and how they are.

STATUS is what the manager says of a member, and CAUSE why it is not as it should be, and since when;
-o wide adds the whole message. Version, region, zones and nodes are what the manager saw last, or else
what the joiner saw, or else what labels say. CREDENTIAL is how long the host's credential still lives.

With --watch, members are shown again as soon as something that is shown of them changes, until it is
interrupted. One that left, or that the selector does not match any more, is shown once more, as Gone.`,
		Example: `  # All members
  kubectl federate get

  # The members of prod in one region, with endpoints, IDs and whole messages
  kubectl federate get --federation prod -l topology.kubernetes.io/region=us-east-1 -o wide

  # What needs somebody first, and whose credential ends first
  kubectl federate get --sort-by status
  kubectl federate get --sort-by credential

  # By any field
  kubectl federate get --sort-by .status.facts.capacity.cpu

  # What changes, as it changes
  kubectl federate get --watch

  # One member, whole
  kubectl federate get us-east -o yaml`,
		ValidArgsFunction: completeMembers(d),
		RunE:              func(cmd *cobra.Command, args []string) error { return f.run(cmd.Context(), d, args) },
	}
	f.federation.add(cmd, d, "Only members of this federation")
	flags := cmd.Flags()
	flags.StringVarP(&f.selector, "selector", "l", "", "Only members whose labels match this selector")
	flags.BoolVar(&f.showLabels, "show-labels", false, "Add a column with all labels")
	flags.BoolVar(&f.noHeaders, "no-headers", false, "Print no header above a table")
	flags.StringVar(&f.sortBy, "sort-by", "", "Order by a column (status puts what is wrong first) or by a JSONPath, as .metadata.creationTimestamp")
	f.watch.add(cmd, "After listing, print what changes, as it changes")
	f.output.add(cmd)
	_ = cmd.RegisterFlagCompletionFunc("sort-by", cobra.FixedCompletions(sortNames(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (f *getFlags) run(ctx context.Context, d *factory, names []string) error {
	if err := f.output.check(); err != nil {
		return err
	}
	by, err := parseOrder(f.sortBy)
	if err != nil {
		return err
	}
	if err := f.watch.check(); err != nil {
		return err
	}
	if len(names) > 0 && (f.selector != "" || f.federation.name != "") {
		return usagef("members are named, or chosen by --selector and --federation, not both")
	}
	h, err := d.host()
	if err != nil {
		return err
	}
	query := host.MemberQuery{Federation: f.federation.value(), Selector: f.selector}
	if f.watch.on {
		return f.follow(ctx, d, h, names, query, by)
	}
	members, err := selectMembers(ctx, h, names, query)
	if err != nil {
		return err
	}
	if len(names) == 0 || f.sortBy != "" {
		sorted := pointers(members)
		if err := by.sort(sorted); err != nil {
			return err
		}
		members = values(sorted)
	}
	if _, ok := f.output.format(); !ok {
		return printMembers(d, f.output, members)
	}
	if len(members) == 0 {
		fmt.Fprintln(d.ErrOut, "No members found")
		return nil
	}
	shown := f.columns()
	rows := f.header(shown)
	now := time.Now()
	for i := range members {
		rows = append(rows, cells(&members[i], shown, now))
	}
	return table(d.Out, rows)
}

// columns are the columns of the table that was asked for.
func (f *getFlags) columns() []column {
	shown := slices.Clone(columns)
	if own, _ := f.output.format(); own == "wide" {
		shown = append(shown, wideColumns...)
		shown = append(shown, longCauseColumn)
	} else {
		shown = append(shown, causeColumn)
	}
	if f.showLabels {
		shown = append(shown, labelsColumn)
	}
	return shown
}

func (f *getFlags) header(shown []column) [][]string {
	if f.noHeaders {
		return nil
	}
	header := make([]string, len(shown))
	for i, c := range shown {
		header[i] = c.header
	}
	return [][]string{header}
}

func cells(m *v1alpha1.MemberCluster, shown []column, now time.Time) []string {
	row := make([]string, len(shown))
	for i, c := range shown {
		row[i] = c.cell(m, now)
	}
	return row
}

func pointers(members []v1alpha1.MemberCluster) []*v1alpha1.MemberCluster {
	all := make([]*v1alpha1.MemberCluster, len(members))
	for i := range members {
		all[i] = &members[i]
	}
	return all
}

func values(members []*v1alpha1.MemberCluster) []v1alpha1.MemberCluster {
	all := make([]v1alpha1.MemberCluster, len(members))
	for i, m := range members {
		all[i] = *m
	}
	return all
}

// printMembers prints members in a standard format: one as itself, several as a list.
func printMembers(d *factory, output outputFlags, members []v1alpha1.MemberCluster) error {
	kind := v1alpha1.GroupVersion.WithKind("MemberCluster")
	for i := range members {
		members[i].SetGroupVersionKind(kind)
	}
	if len(members) == 1 {
		return output.print(d.Out, &members[0])
	}
	if *output.OutputFormat == "name" {
		for i := range members {
			if err := output.print(d.Out, &members[i]); err != nil {
				return err
			}
		}
		return nil
	}
	return output.print(d.Out, withKind(&v1alpha1.MemberClusterList{Items: members}, v1alpha1.GroupVersion.WithKind("MemberClusterList")))
}

// printPlan prints what a dry run would do: its steps, or with -o the objects that it would write.
func printPlan(d *factory, output outputFlags, plan interface {
	Text() string
	Objects() []*unstructured.Unstructured
}) error {
	if *output.OutputFormat != "" {
		return printObjects(d, output, plan.Objects())
	}
	_, err := fmt.Fprint(d.Out, plan.Text())
	return err
}

// printObjects prints objects one after another: YAML documents, or for JSON one List.
func printObjects(d *factory, output outputFlags, objects []*unstructured.Unstructured) error {
	if *output.OutputFormat == "json" {
		list := &unstructured.UnstructuredList{}
		list.SetAPIVersion("v1")
		list.SetKind("List")
		for _, o := range objects {
			list.Items = append(list.Items, *o)
		}
		return output.print(d.Out, list)
	}
	// One printer for all: it puts the separator between YAML documents.
	printer, err := output.printer()
	if err != nil {
		return err
	}
	for _, o := range objects {
		if err := printer.PrintObj(runtime.Object(o), d.Out); err != nil {
			return err
		}
	}
	return nil
}
