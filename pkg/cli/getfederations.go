package cli

import (
	"cmp"
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
)

// getFederationsOptions show federations. They are ready to run.
type getFederationsOptions struct {
	getFlags
	names []string
}

func (o *getFederationsOptions) validate() error {
	switch {
	case o.selection.Federation != "" || o.violating || o.sortBy != "" || o.watch.on:
		return output.Usagef("--federation, --violating, --sort-by and --watch are for members: leave them out with federations")
	case len(o.names) > 0 && o.selection.Selector != "":
		return output.Usagef("give names of federations, or use --selector, but not both")
	}
	return o.output.Validate()
}

func (o *getFederationsOptions) run(ctx context.Context) error {
	h, err := o.members()
	if err != nil {
		return err
	}
	federations, err := h.SelectFederations(ctx, o.names, o.selection.Selector)
	missing, err := o.missing(err)
	if err != nil {
		return output.WhileReading(ctx, err)
	}
	return cmp.Or(o.print(federations), missing)
}

func (o *getFederationsOptions) print(federations []v1alpha1.Federation) error {
	switch {
	case len(federations) == 0 && len(o.names) > 0:
		return nil
	case !o.output.Table():
		return o.output.Federations(o.Out, federations, len(o.names) == 1)
	case len(federations) == 0:
		o.reportNoFederations()
		return nil
	}
	header := []string{"NAME", "MEMBERS", "READY", "PENDING", "VIOLATING", "ACCEPTANCE", "ENFORCEMENT", "AGE"}
	if o.output.Value == wideFormat {
		header = append(header, "DESCRIPTION")
	}
	for _, key := range o.labelColumns {
		header = append(header, labelColumn(key).header)
	}
	if o.showLabels {
		header = append(header, labelsColumn.header)
	}
	var rows [][]string
	if !o.noHeaders {
		rows = append(rows, header)
	}
	now := time.Now()
	for i := range federations {
		rows = append(rows, o.row(&federations[i], now))
	}
	return output.Rows(o.Out, rows)
}

func (o *getFederationsOptions) row(f *v1alpha1.Federation, now time.Time) []string {
	count := func(n int32) string { return strconv.Itoa(int(n)) }
	row := []string{
		f.Name, count(f.Status.Members), count(f.Status.Ready), count(f.Status.Pending), count(f.Status.Violating),
		string(cmp.Or(f.Spec.Acceptance, v1alpha1.AcceptAutomatic)), string(cmp.Or(f.Spec.Enforcement, v1alpha1.EnforceDeny)), age(f.CreationTimestamp, now),
	}
	if o.output.Value == wideFormat {
		row = append(row, output.OrNone(f.Spec.Description))
	}
	for _, key := range o.labelColumns {
		row = append(row, output.OrNone(f.Labels[key]))
	}
	if o.showLabels {
		row = append(row, output.OrNone(strings.Join(sortedLabels(f.Labels), ",")))
	}
	return row
}

// reportNoFederations is what a table of no federations prints.
func (d *factory) reportNoFederations() { output.Line(d.ErrOut, "No federations found") }
