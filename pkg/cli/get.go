package cli

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/cli/targets"
)

const getHelp = `Show members by federation, and their state.

PHASE is the state that the manager reports, and CAUSE why a member is not ready and since when; -o wide adds the
whole message, and when a member that is ready was seen to be so last. While the manager does not run, phases that
probes find are Unknown, also with -o json; kubectl get memberclusters goes on to show its last word. Version,
region, zones and nodes are what the manager saw last, or else what was seen at the join, or else what labels say.
CREDENTIAL is how long the host's credential is still valid.

Violating members break a rule of their federation by their labels, endpoint or facts, whether the rule is enforced
or only warns.

With --watch, a member is shown again when something that is shown of it changes. One that left, or that the
selector no longer matches, is shown once more, as Gone.`

const getExample = `  # All members
  kubectl federate get

  # The members of prod in one region, with endpoints, IDs and whole messages
  kubectl federate get --federation prod -l topology.kubernetes.io/region=us-east-1 -o wide

  # Sort by urgency, or by credential expiry
  kubectl federate get --sort-by phase
  kubectl federate get --sort-by credential

  # By any field
  kubectl federate get --sort-by .status.facts.capacity.cpu

  # What to fix before a federation enforces its rules
  kubectl federate get --federation prod --violating

  # What changes, as it changes
  kubectl federate get --watch

  # One member, whole
  kubectl federate get us-east -o yaml`

// getFlags are what was typed.
type getFlags struct {
	*factory
	selection  targets.SelectFlags
	violating  bool
	showLabels bool
	noHeaders  bool
	sortBy     string
	watch      watchFlags
	output     output.Flags
}

func newGet(d *factory) *cobra.Command {
	f := &getFlags{factory: d, output: output.NewFlags("wide")}
	cmd := &cobra.Command{
		Use:               "get [NAME...]",
		GroupID:           groupMembers,
		Short:             "Show members by federation, and their state",
		Long:              getHelp,
		Example:           getExample,
		ValidArgsFunction: d.completeMembers,
		RunE:              runs(f.toOptions),
	}
	d.addFederation(cmd, &f.selection.Federation, "Only members of this federation")
	flags := cmd.Flags()
	flags.StringVarP(&f.selection.Selector, "selector", "l", "", "Only members whose labels match this selector")
	flags.BoolVar(&f.violating, "violating", false, "Only members that break a rule of their federation")
	flags.BoolVar(&f.showLabels, "show-labels", false, "Add a column with all labels")
	flags.BoolVar(&f.noHeaders, "no-headers", false, "Print no header above a table")
	flags.StringVar(&f.sortBy, "sort-by", "", "Order by a column (phase puts what is wrong first) or by a JSONPath, as .metadata.creationTimestamp")
	f.watch.addTo(cmd, "After listing, print what changes, as it changes")
	f.output.AddTo(cmd)
	complete(cmd, "sort-by", sortNames()...)
	return cmd
}

// getOptions are ready to run.
type getOptions struct {
	getFlags
	names   []string
	by      order
	columns []column
}

func (f *getFlags) toOptions(_ *cobra.Command, args []string) (*getOptions, error) {
	by, err := parseOrder(f.sortBy)
	shown := columnsOf(f.output.Value == "wide", f.showLabels)
	if f.violating {
		shown[slices.IndexFunc(shown, func(c column) bool { return c.header == causeHeader })] = violationColumn
	}
	return &getOptions{*f, args, by, shown}, err
}

func (o *getOptions) validate() error {
	if len(o.names) > 0 && o.selection.Given() {
		return output.Usagef("give names of members, or use --selector and --federation, but not both")
	}
	return cmp.Or(o.output.Validate(), o.watch.validate())
}

func (o *getOptions) run(ctx context.Context) error {
	h, err := o.members()
	if err != nil {
		return err
	}
	if o.watch.on {
		return o.follow(ctx, h)
	}
	members, err := o.known(ctx, h, func() ([]v1alpha1.MemberCluster, error) {
		return h.Select(ctx, o.names, o.selection.Query())
	})
	if err != nil {
		return output.WhileReading(ctx, err)
	}
	if o.violating {
		members = slices.DeleteFunc(members, func(m v1alpha1.MemberCluster) bool { return violating(&m) == nil })
	}
	if o.sortBy != "" || len(o.names) == 0 {
		sorted := pointers(members)
		if err := o.by.sort(sorted); err != nil {
			return err
		}
		members = values(sorted)
	}
	if !o.output.Table() {
		return o.output.Members(o.Out, members)
	}
	if len(members) == 0 {
		o.reportNoMembers()
		return nil
	}
	rows := o.header()
	now := time.Now()
	for i := range members {
		rows = append(rows, cells(&members[i], o.columns, now))
	}
	return output.Rows(o.Out, rows)
}

// reportNoMembers is what a table of no members prints.
func (d *factory) reportNoMembers() { output.Line(d.ErrOut, "No members found") }

// columnsOf are the columns of a table.
func columnsOf(wide, labels bool) []column {
	shown := slices.Clone(columns)
	if wide {
		shown = append(shown, wideColumns...)
		shown = append(shown, longCauseColumn)
	} else {
		shown = append(shown, causeColumn)
	}
	if labels {
		shown = append(shown, labelsColumn)
	}
	return shown
}

func (o *getOptions) header() [][]string {
	if o.noHeaders {
		return nil
	}
	header := make([]string, len(o.columns))
	for i, c := range o.columns {
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
