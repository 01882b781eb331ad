package cluster

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/kubefederate/kubectl-federate/pkg/text"
)

// Printable is s with every character escaped that could move a cursor, change a color, turn the direction of text or hide in
// a terminal, and every byte that is no UTF-8. Line breaks and tabs become spaces: what a server sends never begins a line of
// its own.
func Printable(s string) string { return Escape(s, "", EscapeRune) }

// Escape replaces what Printable escapes, without the characters of keep, by what escape makes of them. A byte that is no
// UTF-8 is given to escape as utf8.RuneError with the byte.
func Escape(s, keep string, escape func(r rune, invalid byte) string) string {
	unsafe := func(r rune) bool { return !visible(r) && !strings.ContainsRune(keep, r) }
	i := strings.IndexFunc(s, unsafe)
	if i < 0 {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for ; i >= 0; i = strings.IndexFunc(s, unsafe) {
		b.WriteString(s[:i])
		r, size := utf8.DecodeRuneInString(s[i:])
		invalid := byte(0)
		if r == utf8.RuneError && size == 1 {
			invalid = s[i]
		}
		b.WriteString(escape(r, invalid))
		s = s[i+size:]
	}
	b.WriteString(s)
	return b.String()
}

// EscapeRune is r as Go writes it, or a space for a line break or a tab.
func EscapeRune(r rune, invalid byte) string {
	switch {
	case r == '\n', r == '\t', r == '\r':
		return " "
	case invalid != 0:
		return fmt.Sprintf(`\x%02x`, invalid)
	}
	q := strconv.QuoteRuneToASCII(r)
	return q[1 : len(q)-1]
}

// visible says whether a terminal shows r as a character of its own. The replacement character is not among those, so that an
// escaped byte is not taken for it.
func visible(r rune) bool {
	if r < utf8.RuneSelf {
		return r >= ' ' && r != 0x7f
	}
	return unicode.IsPrint(r) && r != utf8.RuneError && !unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) && r != blankBraille
}

// blankBraille is the one symbol that shows nothing.
const blankBraille = '\u2800'

// Quoted is s in double quotes, escaped for a terminal.
func Quoted(s string) string { return strconv.Quote(s) }

// maxText is how much of a text from a server is printed, in bytes.
const maxText = 4 << 10

// Shortened is s, cut where it is longer than any text that a person reads.
func Shortened(s string) string { return text.Cut(s, maxText) }
