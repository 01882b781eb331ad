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
	"github.com/kubefederate/kubectl-federate/pkg/command"
)

const getHelp = `Show members by federation, and their state, or federations.

PHASE is the state that the manager reports, and CAUSE why a member is not ready and since when. -o wide adds the
whole message, zones, nodes, endpoints and IDs, and when a member that is ready was seen to be so last. On a
terminal that is too narrow for the table, AGE, CREDENTIAL, REGION and VERSION are left out, in this order.

While the manager does not run, phases that probes find are Unknown, also with -o json; kubectl get memberclusters
goes on to show its last word. Version, region, zones and nodes are what the manager saw last, or else what was seen
at the join, or else what labels say. CREDENTIAL is how long the host's credential is still valid.

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
  kubectl federate get us-east -o yaml

  # Labels and fields of your own choice
  kubectl federate get -L topology.kubernetes.io/zone
  kubectl federate get -o custom-columns=NAME:.metadata.name,SERVER:.spec.server

  # The federations
  kubectl federate get federations`

// getFlags are what was typed.
type getFlags struct {
	*factory
	selection      targets.SelectFlags
	violating      bool
	showLabels     bool
	labelColumns   []string
	noHeaders      bool
	ignoreNotFound bool
	sortBy         string
	watch          watchFlags
	output         output.Flags
}

func newGet(d *factory) *cobra.Command {
	f := &getFlags{factory: d, output: output.NewFlags(wideFormat)}
	cmd := &cobra.Command{
		Use:               "get [members | federations] [NAME...]",
		GroupID:           groupMembers,
		Short:             "Show members by federation, and their state, or federations",
		Long:              getHelp,
		Example:           getExample,
		ValidArgsFunction: d.completeShown,
		RunE:              runs(f.toOptions),
	}
	d.addFederation(cmd, &f.selection.Federation, "Only members of this federation")
	flags := cmd.Flags()
	flags.StringVarP(&f.selection.Selector, "selector", "l", "", "Only members, or federations, whose labels match this selector")
	flags.BoolVar(&f.violating, "violating", false, "Only members that break a rule of their federation")
	flags.BoolVar(&f.showLabels, "show-labels", false, "Add a column with all labels")
	flags.StringSliceVarP(&f.labelColumns, "label-columns", "L", nil, "Add a column for each of these labels, with commas between")
	flags.BoolVar(&f.noHeaders, "no-headers", false, "Print no header above a table")
	flags.BoolVar(&f.ignoreNotFound, "ignore-not-found", false, "Leave out names that the host does not have, without an error")
	flags.StringVar(&f.sortBy, "sort-by", "", "Order by a column (phase puts what is wrong first) or by a JSONPath, as .metadata.creationTimestamp")
	f.watch.addTo(cmd, "After listing, print what changes, as it changes")
	f.output.AddTo(cmd)
	complete(cmd, "sort-by", sortNames()...)
	return cmd
}

// wideFormat is the format of a table with all columns.
const wideFormat = "wide"

// getOptions are ready to run.
type getOptions struct {
	getFlags
	names   []string
	by      order
	columns []column
}

// toOptions are getFederationsOptions where federations are named, and else getOptions.
func (f *getFlags) toOptions(_ *cobra.Command, args []string) (options, error) {
	kind, names, err := targets.Arguments(args)
	if err != nil {
		return nil, err
	}
	if kind == targets.Federation {
		return &getFederationsOptions{*f, names}, nil
	}
	by, err := parseOrder(f.sortBy)
	shown := columnsOf(f.output.Value == wideFormat, f.showLabels, f.labelColumns)
	if f.violating {
		shown[slices.IndexFunc(shown, func(c column) bool { return c.header == causeHeader })] = violationColumn
	}
	return &getOptions{*f, names, by, shown}, err
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
	missing, err := o.missing(err)
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
	err = cmp.Or(o.print(members), missing)
	if err == nil && len(members) == 0 && len(o.names) == 0 && !o.selection.Given() && o.output.Table() && !o.violating {
		output.Line(o.ErrOut, o.firstStep(ctx, h))
	}
	return err
}

// firstStep is what to do on a host without members.
func (o *getOptions) firstStep(ctx context.Context, h targets.Members) string {
	switch names, err := h.FederationNames(ctx); {
	case err == nil && len(names) == 0:
		return h.Commands.To("to create a federation, run", command.CreateFederation{})
	case err == nil && len(names) == 1:
		return h.Commands.To("to join a cluster, run", command.Join{Federation: names[0]})
	}
	return h.Commands.To("to join a cluster, run", command.Join{})
}

// missing takes an error of names that the host does not have apart from others: what was found is shown all the same.
func (f *getFlags) missing(err error) (missing, failed error) {
	switch {
	case !targets.IsMissing(err):
		return nil, err
	case f.ignoreNotFound:
		return nil, nil
	}
	return err, nil
}

func (o *getOptions) print(members []v1alpha1.MemberCluster) error {
	switch {
	case !o.output.Table():
		if len(members) == 0 && len(o.names) > 0 {
			return nil
		}
		return o.output.Members(o.Out, members, len(o.names) == 1)
	case len(members) == 0 && len(o.names) > 0:
		return nil
	case len(members) == 0:
		o.reportNoMembers()
		return nil
	}
	if !slices.ContainsFunc(members, func(m v1alpha1.MemberCluster) bool { return causeOf(&m).Reason != "" }) {
		o.columns = slices.DeleteFunc(slices.Clone(o.columns), func(c column) bool { return c.header == causeHeader })
	}
	o.fitTerminal(members)
	return o.table().Print(append(o.header(), o.rows(members)...))
}

func (o *getOptions) rows(members []v1alpha1.MemberCluster) (rows [][]string) {
	now := time.Now()
	for i := range members {
		rows = append(rows, cells(&members[i], o.columns, now))
	}
	return rows
}

// fitTerminal leaves out what a terminal is too narrow for, in the usual table.
func (o *getOptions) fitTerminal(members []v1alpha1.MemberCluster) {
	width, terminal := output.Width(o.Out)
	if !terminal || o.output.Value == wideFormat || o.showLabels || len(o.labelColumns) > 0 {
		return
	}
	header := make([]string, len(o.columns))
	for i, c := range o.columns {
		header[i] = c.header
	}
	fitting := output.Fit(append([][]string{header}, o.rows(members)...), width, dispensable)
	o.columns = slices.DeleteFunc(slices.Clone(o.columns), func(c column) bool { return !slices.Contains(fitting[0], c.header) })
}

// table prints members, with phases in color where a terminal shows it.
func (o *getOptions) table() *output.Table {
	phase := slices.IndexFunc(o.columns, func(c column) bool { return c.header == phaseHeader })
	return output.NewTable(o.Out).Paint(phase, func(cell string) (output.Level, bool) {
		return levelOf(v1alpha1.Phase(cell)), slices.Contains(phases, v1alpha1.Phase(cell))
	})
}

// reportNoMembers is what a table of no members prints.
func (d *factory) reportNoMembers() { output.Line(d.ErrOut, "No members found") }

// columnsOf are the columns of a table.
func columnsOf(wide, all bool, labels []string) []column {
	shown := slices.Clone(columns)
	if wide {
		shown = slices.Concat(shown, wideColumns, []column{longCauseColumn})
	} else {
		shown = append(shown, causeColumn)
	}
	for _, key := range labels {
		shown = append(shown, labelColumn(key))
	}
	if all {
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
