package output

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"unicode/utf16"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/printers"
	kyaml "sigs.k8s.io/yaml"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

// What is printed for programs holds the same text as the objects of clusters, in escapes of JSON and YAML where a terminal
// would act on it: kubectl prints such characters as they are, but a member's text is not that of the host's administrator, and
// what reads JSON or YAML reads an escape as the character. Templates of the user print what the user asks for, as in kubectl.

// writeJSON writes JSON.
func writeJSON(w io.Writer, document []byte) error {
	_, err := io.WriteString(raw(w), escape(string(document), func(r rune) string {
		high, low := utf16.EncodeRune(r)
		return fmt.Sprintf(`\u%04x\u%04x`, high, low)
	}))
	return err
}

// escape escapes what is in the strings of JSON, or in double quotes of YAML, which write those of 16 bits in the same way.
func escape(document string, wide func(rune) string) string {
	return cluster.Escape(document, "\n", func(r rune, _ byte) string { // no string has a line break
		if r > 0xffff {
			return wide(r)
		}
		return fmt.Sprintf(`\u%04x`, r)
	})
}

// wideYAML is the escape of more than 16 bits in YAML.
func wideYAML(r rune) string { return fmt.Sprintf(`\U%08x`, r) }

// toYAML is a JSON document as YAML. Only strings in double quotes have escapes: those that need one get quotes.
func toYAML(document []byte) ([]byte, error) {
	// With escapes, since JSON may hold what YAML must not.
	plain, err := kyaml.JSONToYAML([]byte(escape(string(document), wideYAML)))
	if err != nil || Printable(string(plain)) == string(plain) {
		return plain, err
	}
	// Not from the YAML, in which some line breaks of Unicode are lost; with keys in the order that JSONToYAML gives them.
	var value any
	numbers := json.NewDecoder(bytes.NewReader(document))
	numbers.UseNumber()
	if err := numbers.Decode(&value); err != nil {
		return nil, err
	}
	sorted, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	var node yaml.Node
	if err := yaml.Unmarshal([]byte(escape(string(sorted), wideYAML)), &node); err != nil {
		return nil, err
	}
	restyle(&node)
	var quoted bytes.Buffer
	encoder := yaml.NewEncoder(&quoted)
	encoder.SetIndent(2)
	encoder.CompactSeqIndent()
	if err := cmp.Or(encoder.Encode(&node), encoder.Close()); err != nil {
		return nil, err
	}
	return []byte(escape(quoted.String(), wideYAML)), nil
}

// restyle lays JSON out as YAML, with double quotes around what needs escapes.
func restyle(n *yaml.Node) {
	n.Style = 0
	if n.Kind == yaml.ScalarNode && Printable(n.Value) != n.Value {
		n.Style = yaml.DoubleQuotedStyle
	}
	for _, inner := range n.Content {
		restyle(inner)
	}
}

// marshal writes data of this project as JSON or YAML.
func marshal(w io.Writer, format string, data any) error {
	out, err := json.MarshalIndent(data, "", "    ")
	if err != nil {
		return err
	}
	if format == "yaml" {
		if out, err = toYAML(out); err == nil {
			_, err = raw(w).Write(out)
		}
		return err
	}
	return writeJSON(w, append(out, '\n'))
}

// jsonPrinter prints objects as JSON.
type jsonPrinter struct{}

func (jsonPrinter) PrintObj(object runtime.Object, w io.Writer) error {
	if list, ok := object.(*v1alpha1.MemberClusterList); ok && len(list.Items) > 0 {
		return writeListJSON(w, list)
	}
	var document bytes.Buffer
	if err := (&printers.JSONPrinter{}).PrintObj(object, &document); err != nil {
		return err
	}
	return writeJSON(w, document.Bytes())
}

// yamlPrinter prints objects as YAML documents.
type yamlPrinter struct{ printed bool }

func (p *yamlPrinter) PrintObj(object runtime.Object, w io.Writer) error {
	if list, ok := object.(*v1alpha1.MemberClusterList); ok && len(list.Items) > 0 {
		return writeListYAML(w, list)
	}
	var document bytes.Buffer
	if err := (&printers.JSONPrinter{}).PrintObj(object, &document); err != nil {
		return err
	}
	out, err := toYAML(document.Bytes())
	if err != nil {
		return err
	}
	if p.printed {
		out = append([]byte("---\n"), out...)
	}
	p.printed = true
	_, err = raw(w).Write(out)
	return err
}

// unescaped prints what a template of the user makes of an object.
type unescaped struct{ printers.ResourcePrinter }

func (u *unescaped) PrintObj(object runtime.Object, w io.Writer) error {
	return u.ResourcePrinter.PrintObj(object, raw(w))
}

// namePrinter prints an object by its kind and its name, each on one line.
type namePrinter struct{}

func (namePrinter) PrintObj(object runtime.Object, w io.Writer) error {
	items := []runtime.Object{object}
	if meta.IsListType(object) {
		var err error
		if items, err = meta.ExtractList(object); err != nil {
			return err
		}
	}
	for _, item := range items {
		var name bytes.Buffer
		if err := (&printers.NamePrinter{ShortOutput: true}).PrintObj(item, &name); err != nil {
			return err
		}
		Line(w, string(bytes.TrimSuffix(name.Bytes(), []byte("\n"))))
	}
	return nil
}
