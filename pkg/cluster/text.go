package cluster

import (
	"strconv"
	"strings"
	"unicode"
)

// Printable is s with every character escaped that could move a cursor, change a color or hide text in a
// terminal. Line breaks and tabs become spaces: what a server sends never begins a line of its own.
func Printable(s string) string {
	clean := func(r rune) bool { return unicode.IsPrint(r) && r != unicode.ReplacementChar }
	if strings.IndexFunc(s, func(r rune) bool { return !clean(r) }) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case clean(r):
			b.WriteRune(r)
		case r == '\n', r == '\t', r == '\r':
			b.WriteByte(' ')
		default:
			q := strconv.QuoteRuneToASCII(r)
			b.WriteString(q[1 : len(q)-1])
		}
	}
	return b.String()
}

// Quoted is s in double quotes, escaped for a terminal.
func Quoted(s string) string { return strconv.Quote(s) }

// maxText is how much of a text from a server is printed, in bytes.
const maxText = 4 << 10

// Shortened is s, cut where it is longer than any text that a person reads.
func Shortened(s string) string {
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText], "") + "…"
}
