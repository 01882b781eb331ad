// Package text has texts in the form in which a person reads them: cut to a length, and durations.
package text

import "strings"

const more = "…"

// Cut is s, or its beginning and an ellipsis where it has more than so many bytes. No character is cut in half. Most is at least the
// length of the ellipsis, 3 bytes.
func Cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most-len(more)], "") + more
}
