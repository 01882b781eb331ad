package output

import (
	"fmt"
	"strings"

	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

// Printable makes text from a server safe for a terminal. Line breaks and tabs stay.
func Printable(text string) string {
	var b strings.Builder
	for {
		i := strings.IndexAny(text, "\n\t")
		if i < 0 {
			return b.String() + cluster.Printable(text)
		}
		b.WriteString(cluster.Printable(text[:i]) + text[i:i+1])
		text = text[i+1:]
	}
}

// OneLine is text that is safe within a line on a terminal.
func OneLine(text string) string { return cluster.Printable(text) }

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
