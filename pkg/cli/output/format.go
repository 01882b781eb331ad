// Package output holds how the commands of kubectl federate print: tables, sheets, trees and standard formats on
// stdout; progress, warnings and errors on stderr. What comes from a cluster is made safe for a terminal here.
package output

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/printers"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// TypeMeta begins everything that -o json|yaml prints and that is not an object of the host.
type TypeMeta struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
}

// Kind is the TypeMeta of a kind.
func Kind(kind string) TypeMeta { return TypeMeta{"output.kubefederate.io/v1alpha1", kind} }

// Name is the format that prints one name a line.
const Name = "name"

// Format is -o of a command that prints no objects of the host: one of the Formats, or a table for people.
type Format struct {
	Value   string
	Formats []string
}

// AddTo adds the flag.
func (f *Format) AddTo(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&f.Value, "output", "o", "", "Output format: "+strings.Join(f.Formats, ", "))
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(f.Formats, cobra.ShellCompDirectiveNoFileComp))
}

// Validate refuses unknown formats.
func (f *Format) Validate() error {
	if f.Value == "" {
		return nil
	}
	return OneOf("output", f.Value, f.Formats...)
}

// Data says whether data is printed for a program, as JSON or YAML.
func (f *Format) Data() bool { return f.Value == "json" || f.Value == "yaml" }

// Print prints data of this project as JSON or YAML.
func (f *Format) Print(w io.Writer, data any) error {
	return marshal(w, f.Value, data)
}

// Flags are -o and --show-managed-fields of a command that prints objects of the host, in the formats of cli-runtime.
type Flags struct {
	Format
	// tables are formats that the command prints itself.
	tables            []string
	showManagedFields bool
}

// NewFlags are the flags of a command that has formats of its own besides the standard ones.
func NewFlags(tables ...string) Flags {
	return Flags{tables: tables, Format: Format{
		Formats: append(slices.Clone(tables), "json", "yaml", Name, "jsonpath=TEMPLATE", "go-template=TEMPLATE", "custom-columns=SPEC"),
	}}
}

// AddTo adds the flags.
func (f *Flags) AddTo(cmd *cobra.Command) {
	f.Format.AddTo(cmd)
	cmd.Flags().BoolVar(&f.showManagedFields, "show-managed-fields", false, "Keep the managedFields in JSON and YAML")
}

// Table says whether the command prints a table of its own: the default, or one of its formats.
func (f *Flags) Table() bool { return f.Value == "" || slices.Contains(f.tables, f.Value) }

// Validate refuses unknown formats before anything is sent.
func (f *Flags) Validate() error {
	if f.Table() {
		return nil
	}
	_, err := f.Printer()
	return err
}

// ValidateMany refuses formats that only one object has.
func (f *Flags) ValidateMany() error {
	if f.Value == "" {
		return nil
	}
	if err := OneOf("output", f.Value, "json", "yaml", Name); err != nil {
		return fmt.Errorf("%w with many clusters", err)
	}
	return nil
}

// Printer prints objects in one of the standard formats. One printer puts the separators between YAML documents.
func (f *Flags) Printer() (printers.ResourcePrinter, error) {
	format, template, _ := strings.Cut(f.Value, "=")
	var printer printers.ResourcePrinter
	var err error
	switch {
	case f.Value == "json":
		printer = jsonPrinter{}
	case f.Value == "yaml":
		printer = &yamlPrinter{}
	case f.Value == Name:
		return namePrinter{}, nil
	case format == "jsonpath" && template != "":
		printer, err = printers.NewJSONPathPrinter(template)
	case format == "go-template" && template != "":
		printer, err = printers.NewGoTemplatePrinter([]byte(template))
	case format == "custom-columns" && template != "":
		custom, err := parseCustomColumns(template)
		if err != nil {
			return nil, Usagef("invalid --output %q: %w", f.Value, err)
		}
		return custom, nil
	default:
		return nil, OneOf("output", f.Value, f.Formats...)
	}
	if err != nil {
		return nil, Usagef("invalid --output %q: %w", f.Value, err)
	}
	if template != "" {
		printer = &unescaped{printer}
	}
	if !f.showManagedFields {
		printer = &printers.OmitManagedFieldsPrinter{Delegate: printer}
	}
	return printer, nil
}

// Object prints one object.
func (f *Flags) Object(w io.Writer, object runtime.Object) error {
	printer, err := f.Printer()
	if err != nil {
		return err
	}
	return printer.PrintObj(object, w)
}

// Objects prints objects one after another: YAML documents, or for JSON one List.
func (f *Flags) Objects(w io.Writer, objects []*unstructured.Unstructured) error {
	if f.Value == "json" {
		list := &unstructured.UnstructuredList{}
		list.SetAPIVersion("v1")
		list.SetKind("List")
		for _, o := range objects {
			list.Items = append(list.Items, *o)
		}
		return f.Object(w, list)
	}
	printer, err := f.Printer()
	if err != nil {
		return err
	}
	for _, o := range objects {
		if err := printer.PrintObj(o, w); err != nil {
			return err
		}
	}
	return nil
}

// Members prints members: as a list, or one that was named as itself, as kubectl does.
func (f *Flags) Members(w io.Writer, members []v1alpha1.MemberCluster, named bool) error {
	for i := range members {
		WithKind(&members[i], "MemberCluster")
	}
	if named && len(members) == 1 {
		return f.Object(w, &members[0])
	}
	return f.Object(w, WithKind(&v1alpha1.MemberClusterList{Items: members}, "MemberClusterList"))
}

// Federations prints federations, as Members does members.
func (f *Flags) Federations(w io.Writer, federations []v1alpha1.Federation, named bool) error {
	for i := range federations {
		WithKind(&federations[i], "Federation")
	}
	if named && len(federations) == 1 {
		return f.Object(w, &federations[0])
	}
	return f.Object(w, WithKind(&v1alpha1.FederationList{Items: federations}, "FederationList"))
}

// WithKind gives an object of the host its apiVersion and kind, which typed objects do not carry.
func WithKind[T interface{ GetObjectKind() schema.ObjectKind }](object T, kind string) T {
	object.GetObjectKind().SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
	return object
}
