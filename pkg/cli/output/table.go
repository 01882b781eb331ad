package output

import (
	"io"
	"strings"
	"unicode/utf8"

	"k8s.io/cli-runtime/pkg/printers"
)

// Table prints rows in aligned columns, as kubectl does. Rows that are printed later align with earlier ones as far as
// these are wide enough.
type Table struct {
	out io.Writer
	w   interface {
		io.Writer
		Flush() error
	}
	// column is painted where out shows colors: level says how good a cell is, false for one that says nothing of that.
	column int
	level  func(cell string) (Level, bool)
}

// NewTable makes a table that is printed to w.
func NewTable(w io.Writer) *Table { return &Table{out: w, w: printers.GetNewTabWriter(w)} }

// Paint has a column be painted where the table is printed in colors, by how good its cells are.
func (t *Table) Paint(column int, level func(cell string) (Level, bool)) *Table {
	if Colors(t.out) {
		t.column, t.level = column, level
		t.w = printers.GetNewTabWriter(raw(t.out)) // what is in cells is made safe before it is painted
	}
	return t
}

// Print prints rows.
func (t *Table) Print(rows [][]string) error {
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = OneLine(cell)
			if t.level != nil && i == t.column {
				cells[i] = t.painted(cells[i])
			}
		}
		if _, err := io.WriteString(t.w, strings.Join(cells, "\t")+"\n"); err != nil {
			return err
		}
	}
	return t.w.Flush()
}

// painted has as many bytes more than the cell for each cell: those that align columns count them.
func (t *Table) painted(cell string) string {
	level, painted := t.level(strings.TrimSpace(cell))
	if !painted {
		level = plain
	}
	return paint(level, cell)
}

// Rows prints a table that gets no further rows.
func Rows(w io.Writer, rows [][]string) error { return NewTable(w).Print(rows) }

// Width is how many characters a line of w holds, and false where it is no terminal.
func Width(w io.Writer) (int, bool) {
	terminal := rewritable(raw(w))
	if terminal == nil {
		return 0, false
	}
	return width(terminal), true
}

// Fit leaves out columns of rows, the first of which is their header, until they fit into a width: those that are named, in their
// order.
func Fit(rows [][]string, columns int, dispensable []string) [][]string {
	for _, header := range dispensable {
		if widthOf(rows) <= columns {
			break
		}
		rows = without(rows, header)
	}
	return rows
}

// WrapLast breaks the cells of the last column between words, so that rows fit into a width: what follows is a row below, with nothing
// in the other columns.
func WrapLast(rows [][]string, columns int) [][]string {
	last := len(rows[0]) - 1
	left := columns - widthOf(rows) + widest(rows, last)
	var narrow [][]string
	for _, row := range rows {
		for i, line := range Fill(strings.Fields(row[last]), left) {
			cells := make([]string, len(row))
			if i == 0 {
				copy(cells, row)
			}
			cells[last] = line
			narrow = append(narrow, cells)
		}
	}
	return narrow
}

// Fill puts words into lines of so many columns; a word that is longer has a line of its own.
func Fill(words []string, columns int) (lines []string) {
	line := ""
	for _, word := range words {
		if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > columns {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}

// widthOf is the width of rows as a table.
func widthOf(rows [][]string) int {
	columns := columnGap * (len(rows[0]) - 1)
	for i := range rows[0] {
		columns += widest(rows, i)
	}
	return columns
}

func widest(rows [][]string, column int) int {
	most := 0
	for _, row := range rows {
		most = max(most, utf8.RuneCountInString(OneLine(row[column])))
	}
	return most
}

// without are rows without the column that has a header.
func without(rows [][]string, header string) [][]string {
	for i := range rows[0] {
		if rows[0][i] != header {
			continue
		}
		narrower := make([][]string, len(rows))
		for n, row := range rows {
			narrower[n] = append(append([]string(nil), row[:i]...), row[i+1:]...)
		}
		return narrower
	}
	return rows
}
