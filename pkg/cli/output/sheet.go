package output

import (
	"fmt"
	"strings"
)

// Sheet is text as kubectl describe lays it out: names on the left, what belongs to a name indented below it.
type Sheet struct{ b strings.Builder }

const sheetWidth = 15

// Line writes a name and its value.
func (s *Sheet) Line(name, value string) {
	fmt.Fprintf(&s.b, "%-*s%s\n", sheetWidth, name+":", OrNone(OneLine(value)))
}

// Head writes a name whose values follow with Under.
func (s *Sheet) Head(name string) { s.b.WriteString(name + ":\n") }

// Under writes a line that belongs to the name above.
func (s *Sheet) Under(name, value string) {
	fmt.Fprintf(&s.b, "  %-*s%s\n", sheetWidth-2, name+":", OrNone(OneLine(value)))
}

// List writes values below their name, or <none> beside it.
func (s *Sheet) List(name string, values []string) {
	if len(values) == 0 {
		s.Line(name, "")
		return
	}
	s.Head(name)
	for _, v := range values {
		s.b.WriteString("  " + OneLine(v) + "\n")
	}
}

// Table writes rows below their name, or <none> beside it; the first row is the header.
func (s *Sheet) Table(name string, rows [][]string) {
	if len(rows) < 2 {
		s.Line(name, "")
		return
	}
	var b strings.Builder
	_ = Rows(&b, rows) // a builder takes everything
	s.Head(name)
	for line := range strings.Lines(b.String()) {
		s.b.WriteString("  " + strings.TrimRight(line, " \n") + "\n")
	}
}

func (s *Sheet) String() string { return s.b.String() }
