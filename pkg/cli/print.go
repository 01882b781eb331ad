package cli

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/printers"

	"github.com/kubefederate/kubectl-federate/pkg/federate"
)

// printable makes text from a server safe for a terminal: control characters but line breaks and tabs
// become visible.
func printable(text string) string {
	var b strings.Builder
	_ = printers.WriteEscaped(&b, text)
	return b.String()
}

// outputFlags are -o and --show-managed-fields. The formats are cli-runtime's; formats of our own are
// handled by the command.
type outputFlags struct {
	OutputFormat      *string
	own               []string
	showManagedFields *bool
}

func newOutputFlags(own ...string) outputFlags {
	return outputFlags{OutputFormat: new(string), own: own, showManagedFields: new(bool)}
}

func (f outputFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVarP(f.OutputFormat, "output", "o", "", "Output format: "+strings.Join(f.formats(), ", "))
	cmd.Flags().BoolVar(f.showManagedFields, "show-managed-fields", false, "Keep the managedFields in JSON and YAML")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(f.formats(), cobra.ShellCompDirectiveNoFileComp))
}

// formats are all formats, ours first.
func (f outputFlags) formats() []string {
	return append(slices.Clone(f.own), "json", "yaml", "name", "jsonpath=TEMPLATE", "go-template=TEMPLATE")
}

// format is the format of our own that was asked for; "" is a person's default.
func (f outputFlags) format() (own string, ok bool) {
	if *f.OutputFormat == "" || slices.Contains(f.own, *f.OutputFormat) {
		return *f.OutputFormat, true
	}
	return "", false
}

// printer prints objects in one of the standard formats.
func (f outputFlags) printer() (printers.ResourcePrinter, error) {
	format, template, _ := strings.Cut(*f.OutputFormat, "=")
	var printer printers.ResourcePrinter
	var err error
	switch {
	case format == "json" && template == "":
		printer = &printers.JSONPrinter{}
	case format == "yaml" && template == "":
		printer = &printers.YAMLPrinter{}
	case format == "name" && template == "":
		return &printers.NamePrinter{ShortOutput: true}, nil
	case format == "jsonpath" && template != "":
		printer, err = printers.NewJSONPathPrinter(template)
	case format == "go-template" && template != "":
		printer, err = printers.NewGoTemplatePrinter([]byte(template))
	default:
		return nil, usagef("-o %s is unknown: it is one of %s", *f.OutputFormat, strings.Join(f.formats(), ", "))
	}
	if err != nil {
		return nil, usagef("-o %s: %w", *f.OutputFormat, err)
	}
	if !*f.showManagedFields {
		printer = &printers.OmitManagedFieldsPrinter{Delegate: printer}
	}
	return printer, nil
}

// print prints an object in one of the standard formats.
func (f outputFlags) print(w io.Writer, object runtime.Object) error {
	printer, err := f.printer()
	if err != nil {
		return err
	}
	return printer.PrintObj(object, w)
}

// check refuses unknown formats before anything is sent.
func (f outputFlags) check() error {
	if _, ok := f.format(); ok {
		return nil
	}
	_, err := f.printer()
	return err
}

// withKind gives object its apiVersion and kind, which typed objects do not carry.
func withKind[T runtime.Object](object T, kind schema.GroupVersionKind) T {
	object.GetObjectKind().SetGroupVersionKind(kind)
	return object
}

// dryRunFlag is --dry-run=none|client|server.
type dryRunFlag struct{ value string }

func (f *dryRunFlag) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.value, "dry-run", "none",
		`"none", "client" or "server". Client prints the plan from what is read; server also lets the API servers judge it. Neither changes anything`)
	_ = cmd.RegisterFlagCompletionFunc("dry-run",
		cobra.FixedCompletions([]string{"none", "client", "server"}, cobra.ShellCompDirectiveNoFileComp))
}

func (f *dryRunFlag) parse() (federate.DryRun, error) {
	switch f.value {
	case "none":
		return federate.DryRunNone, nil
	case "client":
		return federate.DryRunClient, nil
	case "server":
		return federate.DryRunServer, nil
	}
	return federate.DryRunNone, usagef("--dry-run=%s is unknown: it is none, client or server", f.value)
}

// suffix follows what a dry run prints, as kubectl's own commands do.
func dryRunSuffix(dryRun federate.DryRun) string {
	switch dryRun {
	case federate.DryRunClient:
		return " (dry run)"
	case federate.DryRunServer:
		return " (server dry run)"
	}
	return ""
}

// table prints aligned columns as kubectl does.
func table(w io.Writer, rows [][]string) error { return (&grid{w: w}).print(rows) }

// grid prints rows in aligned columns, as kubectl does. Rows that come later stand below earlier ones, as far as
// these are wide enough.
type grid struct {
	w      io.Writer
	widths []int
}

// Widths of a column, with the blanks behind it.
const minWidth, gap = 6, 3

func (g *grid) print(rows [][]string) error {
	for r, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = oneLine(cell)
			if i == len(row)-1 {
				continue // nothing follows it
			}
			if i == len(g.widths) {
				g.widths = append(g.widths, minWidth)
			}
			g.widths[i] = max(g.widths[i], utf8.RuneCountInString(cells[i])+gap)
		}
		rows[r] = cells
	}
	var b bytes.Buffer
	for _, row := range rows {
		for i, cell := range row {
			b.WriteString(cell)
			if i < len(row)-1 {
				for range g.widths[i] - utf8.RuneCountInString(cell) {
					b.WriteByte(' ')
				}
			}
		}
		b.WriteByte('\n')
	}
	_, err := g.w.Write(b.Bytes())
	return err
}

// oneLine is text that is safe in a line on a terminal.
func oneLine(text string) string {
	if strings.IndexFunc(text, func(r rune) bool { return r < ' ' || r >= 0x7f }) < 0 {
		return text
	}
	text = printable(strings.NewReplacer("\n", " ", "\t", " ").Replace(text))
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

// orNone is how a table shows nothing.
func orNone(s string) string {
	if s == "" {
		return "<none>"
	}
	return s
}
