package output

import (
	"io"
	"strings"

	"k8s.io/cli-runtime/pkg/printers"
)

// Table prints rows in aligned columns, as kubectl does. Rows that are printed later align with earlier ones as far as
// these are wide enough.
type Table struct {
	w interface {
		io.Writer
		Flush() error
	}
}

// NewTable makes a table that is printed to w.
func NewTable(w io.Writer) *Table { return &Table{printers.GetNewTabWriter(w)} }

// Print prints rows.
func (t *Table) Print(rows [][]string) error {
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = OneLine(cell)
		}
		if _, err := io.WriteString(t.w, strings.Join(cells, "\t")+"\n"); err != nil {
			return err
		}
	}
	return t.w.Flush()
}

// Rows prints a table that gets no further rows.
func Rows(w io.Writer, rows [][]string) error { return NewTable(w).Print(rows) }
