package output

import (
	"fmt"
	"io"

	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

// Printable makes text from a server safe for a terminal. Line breaks and tabs stay.
func Printable(text string) string { return cluster.Escape(text, "\n\t", cluster.EscapeRune) }

// OneLine is text that is safe within a line on a terminal.
func OneLine(text string) string { return cluster.Printable(text) }

// Line prints one line, whatever text holds.
func Line(w io.Writer, text string) { fmt.Fprintln(w, OneLine(text)) }

// Linef is Line of a format, which ends without a line break.
func Linef(w io.Writer, format string, args ...any) { Line(w, fmt.Sprintf(format, args...)) }

// Text prints several lines that this package, or an operation, has laid out; what clusters sent is one-line text in them.
func Text(w io.Writer, text string) error {
	_, err := io.WriteString(w, Printable(text))
	return err
}

// None is how a table shows an empty cell.
const None = "<none>"

// OrNone is s, or None.
func OrNone(s string) string {
	if s == "" {
		return None
	}
	return s
}

// Count is a number with its noun: "1 member", "2 members".
func Count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
