package cli

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/services"
)

func (o *servicesOptions) print(all []federated) error {
	now := time.Now()
	switch {
	case o.output.Data():
		return o.output.Print(o.Out, servicesList(all))
	case o.output.Value == output.Name:
		for _, f := range all {
			for i := range f.Services {
				output.Line(o.Out, f.Services[i].Name.String())
			}
		}
		return nil
	case o.output.Value == "" && o.query.Name != "":
		return o.printSheets(all, now)
	}
	if err := o.printTables(all, now); err != nil {
		return err
	}
	o.reportNotes(all)
	return nil
}

// printTables prints one row for each service, and with -o wide the networks of the members below.
func (o *servicesOptions) printTables(all []federated, now time.Time) error {
	wide := o.output.Value == "wide"
	header := []string{"NAME", "TYPE", "PORTS", "MEMBERS", "CONFLICT"}
	if wide {
		header = append(header, "OLDEST", "AGE", "IMPORTED BY", "WITHOUT NAMESPACE")
	}
	leading := o.leading(all)
	rows := [][]string{append(leading.header(), header...)}
	for _, f := range all {
		for i := range f.Services {
			s := &f.Services[i]
			rows = append(rows, append(leading.cells(f.federation, s.Namespace), serviceRow(s, wide, now)...))
		}
	}
	if len(rows) > 1 {
		if columns, terminal := output.Width(o.Out); terminal && !wide {
			rows = output.Fit(rows, columns, []string{"TYPE", "PORTS"})
		}
		if o.noHeaders {
			rows = rows[1:]
		}
		if err := output.Rows(o.Out, rows); err != nil {
			return err
		}
	}
	if !wide {
		return nil
	}
	for _, f := range all {
		if err := output.Text(o.Out, "\n"+networkText(f)); err != nil {
			return err
		}
	}
	return nil
}

// leadingColumns are those that a table has where they differ.
type leadingColumns struct{ federations, namespaces bool }

func (o *servicesOptions) leading(all []federated) leadingColumns {
	return leadingColumns{len(all) > 1, o.allNamespaces}
}

func (l leadingColumns) header() []string { return l.cells("FEDERATION", "NAMESPACE") }

func (l leadingColumns) cells(federation v1alpha1.FederationName, namespace string) (cells []string) {
	if l.federations {
		cells = append(cells, string(federation))
	}
	if l.namespaces {
		cells = append(cells, namespace)
	}
	return cells
}

// What a cell of the table for people holds. -o wide and the sheet have all.
const (
	portsWidth   = 14
	membersWidth = 24
)

func serviceRow(s *services.Service, wide bool, now time.Time) []string {
	ports := make([]string, len(s.Ports))
	for i, p := range s.Ports {
		ports[i] = p.Number()
	}
	members := make([]string, len(s.Exports))
	for i := range s.Exports {
		members[i] = s.Exports[i].Member
	}
	slices.Sort(members)
	conflicts := slices.Concat(s.Reasons(), invalidReasons(s))
	if wide {
		imported := make([]string, len(s.Imports))
		for i := range s.Imports {
			imported[i] = s.Imports[i].Member
		}
		created := ""
		if s.Valid > 0 {
			created = exportAge(&s.Exports[0], now)
		}
		return []string{
			s.Name.Name, output.OrNone(s.Type()), output.OrNone(strings.Join(ports, ",")), strings.Join(members, ","), output.OrNone(strings.Join(conflicts, ",")),
			output.OrNone(s.Oldest()), output.OrNone(created), output.OrNone(strings.Join(imported, ",")), output.OrNone(strings.Join(s.WithoutNamespace, ",")),
		}
	}
	return []string{
		s.Name.Name, output.OrNone(s.Type()), output.OrNone(beginning(ports, narrow(portsWidth))),
		beginning(members, narrow(membersWidth)),
		output.OrNone(beginning(conflicts, func(shown []string) bool { return len(shown) <= 1 })),
	}
}

// narrow says whether texts take no more than a width.
func narrow(width int) func([]string) bool {
	return func(shown []string) bool { return len(strings.Join(shown, ",")) <= width }
}

// beginning is the first of all, at least one and no more than fit, and how many more there are.
func beginning(all []string, fit func(shown []string) bool) string {
	n := len(all)
	for n > 1 && !fit(all[:n]) {
		n--
	}
	text := strings.Join(all[:n], ",")
	if more := len(all) - n; more > 0 {
		text += fmt.Sprintf(",+%d", more)
	}
	return text
}

// invalidReasons are those for which exports of a service export nothing, each once.
func invalidReasons(s *services.Service) (reasons []string) {
	for i := range s.Exports[s.Valid:] {
		if reason := s.Exports[s.Valid+i].Invalid(); !slices.Contains(reasons, reason) {
			reasons = append(reasons, reason)
		}
	}
	return reasons
}

// exportAge is how old an export is, as its API server says.
func exportAge(e *services.Export, now time.Time) string {
	switch {
	case e.Created.IsZero():
		return "unknown"
	case e.Future(now):
		return "in the future"
	}
	return duration.HumanDuration(max(0, now.Sub(e.Created)))
}

// printSheets prints all of the services of one name.
func (o *servicesOptions) printSheets(all []federated, now time.Time) error {
	printed := 0
	for _, f := range all {
		for i := range f.Services {
			text := serviceText(f, &f.Services[i], now)
			if printed++; printed > 1 {
				text = "\n\n" + text
			}
			if err := output.Text(o.Out, text); err != nil {
				return err
			}
		}
	}
	return nil
}

// maxSheetRows bounds each table of a sheet; -o json has all.
const maxSheetRows = 100

// serviceText is everything about one service.
func serviceText(f federated, s *services.Service, now time.Time) string {
	sheet := &output.Sheet{}
	sheet.Line("Name", s.Name.Name)
	sheet.Line("Namespace", s.Namespace)
	sheet.Line("Federation", string(f.federation))
	sheet.Line("Type", s.Type())
	var ports []string
	for _, p := range s.Ports {
		ports = append(ports, p.Port.String())
	}
	sheet.Line("Ports", strings.Join(ports, ", "))
	if s.Dropped != "" {
		sheet.Line("Left out", s.Dropped)
	}
	sheet.Line("Oldest", s.Oldest())
	exports := [][]string{{"MEMBER", "AGE", "TYPE", "PORTS", "CONDITIONS"}}
	for i := range s.Exports {
		e := &s.Exports[i]
		kind, ports := "", ""
		if e.Service != nil {
			kind, ports = e.Service.Type, portList(e.Service)
		}
		exports = append(exports, []string{e.Member, exportAge(e, now), output.OrNone(kind), output.OrNone(ports), exportState(e)})
	}
	table(sheet, "Exports", exports)
	conflicts, reasons := [][]string{{"MEMBER", "REASON", "DIFFERENCE"}}, []string(nil)
	for _, c := range s.Conflicts {
		conflicts = append(conflicts, []string{c.Member, c.Reason, c.How})
		if says := c.Reason + ": " + c.Says(); !slices.Contains(reasons, says) {
			reasons = append(reasons, says)
		}
	}
	table(sheet, "Conflicts", conflicts)
	for _, reason := range invalidReasons(s) {
		reasons = append(reasons, reason+": "+services.Validity[reason])
	}
	if len(s.Conflicts) > 0 {
		reasons = append(reasons, services.Precedence)
	}
	if len(reasons) > 0 {
		sheet.List("KEP-1645", reasons)
	}
	imports := [][]string{{"MEMBER", "TYPE", "PORTS", "FROM", "DIFFERENCE"}}
	for i := range s.Imports {
		im := &s.Imports[i]
		imports = append(imports, []string{im.Member, output.OrNone(im.Type), output.OrNone(portList(&im.Definition)), output.OrNone(strings.Join(im.Clusters, ",")), output.OrNone(s.Differs(im))})
	}
	table(sheet, "Imports", imports)
	sheet.Line("No namespace", strings.Join(s.WithoutNamespace, ", "))
	return sheet.String() + networkText(f)
}

// table writes the first rows of a table.
func table(sheet *output.Sheet, name string, rows [][]string) {
	more := len(rows) - 1 - maxSheetRows
	sheet.Table(name, rows[:min(len(rows), maxSheetRows+1)])
	if more > 0 {
		sheet.Line("More", fmt.Sprintf("%d; -o json has all", more))
	}
}

func portList(d *services.Definition) string {
	ports := make([]string, 0, len(d.Ports))
	for _, p := range d.Ports {
		ports = append(ports, p.Number())
	}
	text := beginning(ports, func(shown []string) bool { return len(shown) <= 5 })
	if d.Dropped != "" {
		text = strings.TrimPrefix(text+" (without "+d.Dropped+")", " ")
	}
	return text
}

// exportState is why an export exports nothing, or what its implementation says of it.
func exportState(e *services.Export) string {
	if reason := e.Invalid(); reason != "" {
		return strings.TrimSuffix(reason+": "+e.Fault, ": ")
	}
	var states []string
	for _, c := range e.Conditions {
		state := c.Type + "=" + c.Status
		if c.Status == "True" {
			state = c.Type
		}
		if c.Status != "True" && c.Reason != "" || c.Type == "Conflict" {
			state += " (" + c.Reason + ")"
		}
		if c.Type != "Conflict" || c.Status != "False" {
			states = append(states, state)
		}
	}
	return output.OrNone(strings.Join(states, ", "))
}

// networkText is what is known of the members of a federation and their networks.
func networkText(f federated) string {
	sheet := &output.Sheet{}
	members, notes := [][]string{{"MEMBER", "SERVES", "CLUSTERSET.LOCAL", "PODS", "SERVICES"}}, f.notes()
	for i := range f.members {
		m := &f.members[i]
		row := []string{m.Name, output.OrNone(m.API), string(services.DomainUnknown), "unknown", "unknown"}
		if n := m.Network; n != nil {
			row = []string{m.Name, output.OrNone(m.API), string(n.Domain), rangeList(n.Pods), rangeList(n.Services)}
		}
		members = append(members, row)
	}
	table(sheet, "Members", members)
	overlaps := [][]string{{"RANGE", "USED BY"}}
	for _, o := range f.Overlaps {
		uses := make([]string, len(o.Uses))
		for i, u := range o.Uses {
			uses[i] = u.For + " of " + u.Member
		}
		slices.Sort(uses)
		overlaps = append(overlaps, []string{o.Range.String(), strings.Join(slices.Compact(uses), ", ")})
	}
	table(sheet, "Overlaps", overlaps)
	if len(notes) > maxSheetRows {
		notes = append(notes[:maxSheetRows:maxSheetRows], fmt.Sprintf("and %d more; -o json has all", len(notes)-maxSheetRows))
	}
	if len(notes) > 0 {
		sheet.List("Not known", notes)
	}
	return sheet.String()
}

func rangeList(ranges []services.Range) string {
	if len(ranges) == 0 {
		return "unknown"
	}
	all := make([]string, len(ranges))
	for i, r := range ranges {
		all[i] = r.String()
	}
	return beginning(all, func(shown []string) bool { return len(shown) <= 3 })
}

// notes are what is not known of members, or was left out.
func (f federated) notes() (notes []string) {
	for i := range f.members {
		for _, note := range f.members[i].Notes {
			notes = append(notes, f.members[i].Name+": "+note)
		}
	}
	return notes
}

// maxNotes is how many notes follow a table.
const maxNotes = 10

// reportNotes prints what is not known of members, or was left out.
func (o *servicesOptions) reportNotes(all []federated) {
	if o.output.Value == "wide" {
		return // they are in the output
	}
	var notes []string
	for _, f := range all {
		notes = append(notes, f.notes()...)
	}
	for _, note := range notes[:min(len(notes), maxNotes)] {
		output.Line(o.ErrOut, note)
	}
	if more := len(notes) - maxNotes; more > 0 {
		output.Linef(o.ErrOut, "and %d more; -o json has all", more)
	}
}
