package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/validate/content"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/cli/targets"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

const findHelp = `Find objects on members, and print them in one table.

It shows what "kubectl get" shows of each member, with the member's name before it; columns that some members lack
are empty there. TYPE is a kind as kubectl takes it, also a short name or TYPE.GROUP. A member that does not serve
the kind has none; it is an error where no member serves it.

A member that does not answer within --timeout, or refuses, is one line on stderr; the exit code is 3 then, and the
others are shown without waiting for it. With -o json or yaml what is found is one List, and each object has its
member in the annotation kubefederate.io/member; -o name prints lines of MEMBER TYPE/NAME.

` + userHelp

const findExample = `  # Where does the Deployment web run?
  kubectl federate find deployment web -n shop

  # All pods of a label, of the members of prod
  kubectl federate find pods -A -l app=web --federation prod

  # Nodes in one region, with more columns
  kubectl federate find nodes --member-selector topology.kubernetes.io/region=us-east-1 -o wide

  # Of two members, for a program
  kubectl federate find configmaps -n kube-system --members us-east,us-west -o json`

// findFlags are what was typed.
type findFlags struct {
	acrossFlags
	federation, memberSelector string
	selector                   string
	output                     output.Flags
}

func newFind(d *factory) *cobra.Command {
	f := &findFlags{acrossFlags: acrossFlags{useFlags: newUseFlags(d)}, output: output.NewFlags("wide")}
	cmd := &cobra.Command{
		Use:     "find TYPE [NAME...]",
		GroupID: groupMembers,
		Short:   "Find objects on members",
		Long:    findHelp,
		Example: findExample,
		RunE:    runs(f.toOptions),
		ValidArgsFunction: func(_ *cobra.Command, typed []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(typed) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return cluster.BuiltinKinds(), cobra.ShellCompDirectiveNoFileComp
		},
	}
	d.addFederation(cmd, &f.federation, "Only members of this federation")
	flags := cmd.Flags()
	flags.StringVar(&f.memberSelector, "member-selector", "", "Only members whose labels match this selector")
	flags.StringVarP(&f.selector, "selector", "l", "", "Only objects whose labels match this selector")
	f.addTo(cmd)
	f.output.AddTo(cmd)
	return cmd
}

// findOptions are ready to run.
type findOptions struct {
	findFlags
	kind  string
	names []string
}

func (f *findFlags) toOptions(cmd *cobra.Command, args []string) (*findOptions, error) {
	if len(args) == 0 {
		return nil, output.UsageError{Err: errors.New("the kind of the objects is required, as in: find pods"), Command: cmd.CommandPath()}
	}
	kind, name, both := strings.Cut(args[0], "/")
	names := args[1:]
	if both {
		if len(names) > 0 {
			return nil, output.Usagef("give TYPE/NAME, or TYPE and names, but not both")
		}
		names = []string{name}
	}
	o := &findOptions{*f, kind, names}
	var err error
	o.memberNames, err = targets.Names(f.memberNames)
	return o, err
}

func (o *findOptions) validate() error {
	switch {
	case strings.Contains(o.kind, ","):
		return output.Usagef("one kind at a time has a table; got %q", o.kind)
	case o.kind == "":
		return output.Usagef("the kind of the objects is empty")
	case len(o.names) > 0 && o.selector != "":
		return output.Usagef("give names of objects or --selector, but not both")
	case len(o.memberNames) > 0 && (o.memberSelector != "" || o.federation != ""):
		return output.Usagef("give --members, or use --member-selector and --federation, but not both")
	}
	if _, err := labels.Parse(o.selector); err != nil {
		return output.Usagef("invalid --selector %q: %w", o.selector, err)
	}
	if slices.Contains(o.names, "") {
		return output.Usagef("the name of an object is empty")
	}
	return cmp.Or(o.acrossFlags.validate(), o.output.Validate())
}

// searched is what one member has.
type searched struct {
	member *v1alpha1.MemberCluster
	who    *memberUser
	kind   cluster.Kind
	table  *cluster.Table
	// objects are whole, in place of a table.
	objects []unstructured.Unstructured
	// lacking is why the member has none of the kind.
	lacking *cluster.UnknownKind
	err     error
}

func (f *searched) count() int {
	if f.table == nil {
		return len(f.objects)
	}
	return len(f.table.Rows)
}

func (o *findOptions) run(ctx context.Context) error {
	h, err := o.members()
	if err != nil {
		return err
	}
	query := host.MemberQuery{Federation: v1alpha1.FederationName(o.federation), Selector: o.memberSelector}
	members, err := h.Select(ctx, o.memberNames, query)
	if err != nil {
		return output.WhileReading(ctx, err)
	}
	if len(members) == 0 {
		o.reportNoMembers()
		return nil
	}
	users, err := o.memberUsers(ctx, h, members)
	if err != nil {
		return err
	}
	all := make([]*searched, len(members))
	p := newFindPrinter(o, len(members))
	errs := o.batch.Run(ctx, len(members), func(ctx context.Context, i int) error {
		all[i] = &searched{member: &members[i]}
		all[i].err = o.search(ctx, users, i, all[i])
		return all[i].err
	}, func(i int, err error) {
		if all[i] == nil { // it was not begun
			all[i] = &searched{member: &members[i], err: err}
		}
		p.add(i, all[i])
	})
	if err := p.end(); err != nil {
		return err
	}
	return o.verdict(ctx, all, errs)
}

// verdict is how the command ends.
func (o *findOptions) verdict(ctx context.Context, all []*searched, errs []error) error {
	if failed := useSummary(ctx, errs, "could not search"); failed != nil {
		return failed
	}
	total, lacking := 0, 0
	for _, f := range all {
		total += f.count()
		if f.lacking != nil {
			lacking++
		}
	}
	switch {
	case lacking == len(all):
		return fmt.Errorf("no member serves the kind %q", o.kind)
	case total == 0 && len(o.names) > 0:
		return fmt.Errorf("%s %s not found on %s", o.kind, quotedList(o.names), output.Count(len(all), "member", "members"))
	case len(o.names) > 1 && len(missingNames(o.names, all)) > 0:
		return fmt.Errorf("%s %s not found on %s", o.kind, quotedList(missingNames(o.names, all)), output.Count(len(all), "member", "members"))
	case total == 0 && o.output.Table():
		where := ""
		if i := slices.IndexFunc(all, func(f *searched) bool { return f.lacking == nil }); !o.allNamespaces && all[i].kind.Namespaced {
			where = fmt.Sprintf(" in namespace %s", cmp.Or(o.namespace, metav1.NamespaceDefault))
		}
		output.Linef(o.ErrOut, "No resources found%s", where)
	}
	return nil
}

// missingNames are the names that no member has.
func missingNames(names []string, all []*searched) []string {
	found := map[string]bool{}
	for _, f := range all {
		for i := range f.objects {
			found[f.objects[i].GetName()] = true
		}
		if f.table != nil {
			for _, row := range f.table.Rows {
				found[row.Name] = true
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return found[name] })
}

func quotedList(names []string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = cluster.Quoted(name)
	}
	return strings.Join(quoted, ", ")
}

// search reads what one member has.
func (o *findOptions) search(ctx context.Context, users *memberUsers, i int, f *searched) (err error) {
	if f.who, err = users.of(ctx, i); err != nil {
		return err
	}
	ctx = output.About(ctx, f.member.Name)
	c, err := o.connect(ctx, f.member, f.who, f.who.config)
	if err != nil {
		return err
	}
	defer c.CloseIdle()
	f.kind, err = c.FindKind(ctx, o.kind)
	if unknown, ok := errors.AsType[*cluster.UnknownKind](err); ok {
		f.lacking = unknown
		return nil
	}
	if err != nil {
		return err
	}
	selections := []cluster.ListOptions{{Labels: o.selector}}
	if len(o.names) > 0 {
		selections = nil
		for _, name := range o.names {
			selections = append(selections, cluster.ListOptions{Fields: fields.OneTermEqualSelector("metadata.name", name).String()})
		}
	}
	for _, selection := range selections {
		if f.kind.Namespaced && !o.allNamespaces {
			selection.Namespace = cmp.Or(o.namespace, metav1.NamespaceDefault)
		}
		if err := f.read(ctx, c, selection, o.whole()); err != nil {
			return err
		}
	}
	return nil
}

// whole says whether whole objects are printed.
func (o *findOptions) whole() bool { return !o.output.Table() && o.output.Value != output.Name }

// read reads objects of a member.
func (f *searched) read(ctx context.Context, c *member.Cluster, selection cluster.ListOptions, whole bool) error {
	var err error
	if whole {
		var objects []unstructured.Unstructured
		objects, err = c.List(ctx, f.kind.Resource, selection)
		f.objects = append(f.objects, objects...)
	} else {
		var table *cluster.Table
		if table, err = cluster.ReadTable(ctx, c.Conn, f.kind.Resource, selection); err == nil {
			err = checkNames(f.kind, table)
		}
		if err == nil && f.table != nil {
			table.Rows = append(f.table.Rows, table.Rows...)
		}
		if err == nil {
			f.table = table
		}
	}
	if cluster.IsNotServed(err) {
		f.lacking, err = &cluster.UnknownKind{Side: cluster.Member, Name: f.kind.Kind}, nil
	}
	return err
}

// checkNames refuses what no API server has as a kind or a name: programs read them of -o name.
func checkNames(kind cluster.Kind, table *cluster.Table) error {
	if kind.Group != "" && len(validation.IsDNS1123Subdomain(kind.Group)) > 0 || len(validation.IsDNS1035Label(strings.ToLower(kind.Kind))) > 0 {
		return fmt.Errorf("it serves %s, which is no kind", cluster.Quoted(schemaName(kind)))
	}
	for _, row := range table.Rows {
		if row.Name == "" || len(content.IsPathSegmentName(row.Name)) > 0 || strings.ContainsFunc(row.Name, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }) {
			return fmt.Errorf("it has an object called %s, which is no name", cluster.Quoted(row.Name))
		}
	}
	return nil
}

// findPrinter prints what members have. A table has them in their order; what members have that answer much later than the others
// follows when it comes, so that one that is dead delays nothing.
type findPrinter struct {
	o *findOptions

	mu       sync.Mutex
	all      []*searched // nil where nothing came yet
	waiting  int
	begun    time.Time
	settled  *time.Timer
	progress *output.Progress
	table    *output.Table
	// columns are those of the table, once a part of it is printed.
	columns     []string
	namespaces  bool
	printed     []bool
	printFailed error
}

func newFindPrinter(o *findOptions, members int) *findPrinter {
	p := &findPrinter{
		o: o, all: make([]*searched, members), printed: make([]bool, members), waiting: members, begun: time.Now(),
		table: output.NewTable(o.Out), progress: o.messages.Progress("searching " + output.Count(members, "member", "members")),
	}
	p.settled = time.AfterFunc(time.Hour, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.print()
	})
	p.settled.Stop()
	return p
}

// Rows are printed when no member has answered for a while: a part of the time that has passed, since members that answer do so in times
// that are alike.
const (
	settledPart  = 16
	settledLeast = 50 * time.Millisecond
)

// add takes what one member has.
func (p *findPrinter) add(i int, f *searched) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting--
	p.all[i] = f
	p.progress.Update(fmt.Sprintf("%d of %d members answered", len(p.all)-p.waiting, len(p.all)))
	if f.err != nil {
		p.progress.Line(output.Reason(about(f.member, f.err)))
		return
	}
	if p.o.hostFlags.Verbosity > 0 && f.who != nil {
		p.progress.Line(fmt.Sprintf("%s: reached as %s", f.member.Name, f.who))
	}
	if f.lacking != nil && p.o.hostFlags.Verbosity > 0 {
		p.progress.Line(about(f.member, f.lacking).Error())
	}
	switch {
	case p.o.whole():
	case p.columns != nil: // the others are printed already
		p.print()
	default:
		p.settled.Reset(max(settledLeast, time.Since(p.begun)/settledPart))
	}
}

// end prints what is not printed yet.
func (p *findPrinter) end() error {
	p.settled.Stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.print()
	p.progress.End()
	return p.printFailed
}

// print prints what has come and is not printed yet. It is called with the lock held.
func (p *findPrinter) print() {
	if p.o.whole() {
		if p.waiting == 0 {
			p.progress.End()
			p.printFailed = p.o.printObjects(p.all)
		}
		return
	}
	var now []*searched
	for i, f := range p.all {
		if f != nil && !p.printed[i] {
			p.printed[i] = true
			if f.err == nil && f.count() > 0 {
				now = append(now, f)
			}
		}
	}
	if len(now) == 0 {
		return
	}
	p.progress.End()
	var rows [][]string
	if p.o.output.Value == output.Name {
		p.columns = []string{}
		for _, f := range now {
			for _, row := range f.table.Rows {
				output.Linef(p.o.Out, "%s %s/%s", f.member.Name, strings.ToLower(schemaName(f.kind)), row.Name)
			}
		}
	} else {
		if p.columns == nil {
			p.columns = mergeColumns(now, p.o.output.Value == "wide")
			p.namespaces = p.o.allNamespaces && now[0].kind.Namespaced
			rows = p.header()
		}
		for _, f := range now {
			rows = append(rows, p.rows(f)...)
		}
		p.printFailed = cmp.Or(p.printFailed, p.table.Print(rows))
	}
	if p.waiting > 0 {
		p.progress = p.o.messages.Progress("waiting for " + output.Count(p.waiting, "member", "members"))
	}
}

// schemaName is a kind as -o name has it: "deployment.apps".
func schemaName(k cluster.Kind) string {
	name := cmp.Or(k.Kind, k.Resource.Resource)
	if k.Group != "" {
		name += "." + k.Group
	}
	return name
}

// mergeColumns are the columns of all tables, by name, in the order in which they come.
func mergeColumns(all []*searched, wide bool) []string {
	columns := []string{}
	for _, f := range all {
		for _, c := range f.table.Columns {
			if (wide || !c.Wide) && !slices.Contains(columns, c.Name) && len(columns) < maxFindColumns {
				columns = append(columns, c.Name)
			}
		}
	}
	return columns
}

// maxFindColumns bounds the columns of a table: each member may send others.
const maxFindColumns = 50

func (p *findPrinter) header() [][]string {
	if p.o.noHeaders {
		return nil
	}
	header := []string{"MEMBER"}
	if p.namespaces {
		header = append(header, "NAMESPACE")
	}
	for _, c := range p.columns {
		header = append(header, strings.ToUpper(cluster.Shortened(c)))
	}
	return [][]string{header}
}

// rows are the rows of one member.
func (p *findPrinter) rows(f *searched) [][]string {
	at := make([]int, len(p.columns))
	for i, name := range p.columns {
		at[i] = slices.IndexFunc(f.table.Columns, func(c cluster.TableColumn) bool { return c.Name == name })
	}
	rows := make([][]string, len(f.table.Rows))
	for i, object := range f.table.Rows {
		row := []string{f.member.Name}
		if p.namespaces {
			row = append(row, output.OrNone(object.Namespace))
		}
		for _, from := range at {
			cell := output.None
			if from >= 0 {
				cell = cluster.Shortened(object.Cells[from])
			}
			row = append(row, cell)
		}
		rows[i] = row
	}
	return rows
}

// printObjects prints whole objects as one List.
func (o *findOptions) printObjects(all []*searched) error {
	list := &unstructured.UnstructuredList{Object: map[string]any{"apiVersion": "v1", "kind": "List", "metadata": map[string]any{"resourceVersion": ""}}}
	for _, f := range all {
		if f == nil {
			continue
		}
		for i := range f.objects {
			object := &f.objects[i]
			annotations := object.GetAnnotations()
			if annotations == nil {
				annotations = map[string]string{}
			}
			annotations[v1alpha1.LabelMember] = f.member.Name
			object.SetAnnotations(annotations)
			list.Items = append(list.Items, *object)
		}
	}
	return o.output.Object(o.Out, list)
}
