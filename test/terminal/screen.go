package terminal

import (
	"fmt"
	"strings"
)

// A Screen is what a terminal shows, and what has scrolled out of it. It knows what commands write: text, the start of a line, a new
// line, the end of a line erased (ECMA-48 EL), and colors (SGR), which stand in the text as ‹32›.
type Screen struct {
	columns int
	rows    []screenRow
	row     int
	column  int
	// Faults are what no command may do to a terminal.
	Faults []string
}

type screenRow struct {
	cells []string
	// wrapped says that the line goes on in the next row, since it is longer than a row.
	wrapped bool
}

// NewScreen is an empty one.
func NewScreen(columns int) *Screen { return &Screen{columns: columns, rows: make([]screenRow, 1)} }

func (s *Screen) next() {
	if s.row++; s.row == len(s.rows) {
		s.rows = append(s.rows, screenRow{})
	}
	s.column = 0
}

// put writes a character into the next cell, with the colors that begin before it.
func (s *Screen) put(cell string) {
	if s.column == s.columns {
		s.rows[s.row].wrapped = true
		s.next()
	}
	r := &s.rows[s.row]
	for len(r.cells) <= s.column {
		r.cells = append(r.cells, " ")
	}
	r.cells[s.column] = cell
	s.column++
}

// Write shows text.
func (s *Screen) Write(text string) {
	colors := ""
	for text != "" {
		if sequence, rest, found := escape(text); found {
			text = rest
			switch parameters, final := sequence[:len(sequence)-1], sequence[len(sequence)-1]; {
			case final == 'm':
				colors += "‹" + parameters + "›"
			case final == 'K' && parameters == "":
				if s.row > 0 && s.rows[s.row-1].wrapped {
					s.Faults = append(s.Faults, "a line that is longer than the terminal is rewritten, so its first row stays: "+s.text(s.row-1))
				}
				r := &s.rows[s.row]
				r.cells = r.cells[:min(s.column, len(r.cells))]
			default:
				s.Faults = append(s.Faults, fmt.Sprintf("an unknown sequence %q", sequence))
			}
			continue
		}
		r := []rune(text[:min(len(text), 4)])[0]
		text = text[len(string(r)):]
		switch {
		case r == '\r':
			s.column = 0
		case r == '\n':
			if cells := s.rows[s.row].cells; len(cells) > 0 {
				cells[len(cells)-1] += colors // which end at the line's end
			}
			colors = ""
			s.next()
		case r < ' ' || r == 0x7f:
			s.Faults = append(s.Faults, fmt.Sprintf("the character %q", r))
		default:
			s.put(colors + string(r))
			colors = ""
		}
	}
}

// escape cuts a sequence, without what it begins with, from the start of a text.
func escape(text string) (sequence, rest string, found bool) {
	text, found = strings.CutPrefix(text, "\x1b[")
	if !found {
		return "", "", false
	}
	end := strings.IndexFunc(text, func(r rune) bool { return r >= '@' && r <= '~' })
	if end < 0 {
		return "", "", false
	}
	return text[:end+1], text[end+1:], true
}

func (s *Screen) text(row int) string {
	return strings.TrimRight(strings.Join(s.rows[row].cells, ""), " ")
}

// Lines are those that are shown; long are those of them that are longer than a row of the terminal.
func (s *Screen) Lines() (lines, long []string) {
	line := ""
	for i := range s.rows {
		if s.rows[i].wrapped {
			line += strings.Join(s.rows[i].cells, "")
			continue
		}
		line += s.text(i)
		if i > 0 && s.rows[i-1].wrapped {
			long = append(long, line)
		}
		lines = append(lines, line)
		line = ""
	}
	for len(lines) > 0 && lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return lines, long
}
