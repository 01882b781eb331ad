package output

import (
	"bytes"
	"encoding/json"
	"io"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// Lists of members are printed one by one: a document of all of them would take a multiple of the memory that they take.

// writeListJSON writes what the printer of cli-runtime writes of a list.
func writeListJSON(w io.Writer, list *v1alpha1.MemberClusterList) error {
	const indent = "    "
	head, err := headOf(list)
	if err != nil {
		return err
	}
	// The items are the last field, and empty.
	head = append(bytes.TrimSuffix(head, []byte("[]\n}")), '[')
	for i := range list.Items {
		item, err := json.MarshalIndent(&list.Items[i], indent+indent, indent)
		if err != nil {
			return err
		}
		if i > 0 {
			head = []byte{','}
		}
		if err := writeJSON(w, append(append(head, "\n"+indent+indent...), item...)); err != nil {
			return err
		}
	}
	return writeJSON(w, []byte("\n"+indent+"]\n}\n"))
}

// headOf is a list without its items.
func headOf(list *v1alpha1.MemberClusterList) ([]byte, error) {
	return json.MarshalIndent(&v1alpha1.MemberClusterList{TypeMeta: list.TypeMeta, ListMeta: list.ListMeta, Items: []v1alpha1.MemberCluster{}}, "", "    ")
}

// writeListYAML writes what the printer of cli-runtime writes of a list.
func writeListYAML(w io.Writer, list *v1alpha1.MemberClusterList) error {
	head, err := headOf(list)
	if err != nil {
		return err
	}
	shell, err := toYAML(head)
	if err != nil {
		return err
	}
	before, after, _ := bytes.Cut(shell, []byte("items: []\n"))
	if _, err := raw(w).Write(append(before, "items:\n"...)); err != nil {
		return err
	}
	for i := range list.Items {
		item, err := json.Marshal(&list.Items[i])
		if err != nil {
			return err
		}
		lines, err := toYAML(item)
		if err != nil {
			return err
		}
		var indented bytes.Buffer
		for n, line := range bytes.SplitAfter(lines, []byte("\n")) {
			switch {
			case n == 0:
				indented.WriteString("- ")
			case len(line) > 1:
				indented.WriteString("  ")
			}
			indented.Write(line)
		}
		if _, err := raw(w).Write(indented.Bytes()); err != nil {
			return err
		}
	}
	_, err = raw(w).Write(after)
	return err
}
