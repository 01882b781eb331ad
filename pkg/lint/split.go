package lint

import (
	"bytes"
	"encoding/binary"
	"slices"
	"unicode/utf16"
	"unicode/utf8"
)

// utf8Of is a stream of YAML in UTF-8, without its byte order mark. Without a mark, UTF-16 shows (YAML 1.2, section 5.2) by the
// zeros of its first character, which is ASCII.
func utf8Of(data []byte) []byte {
	var order binary.ByteOrder
	switch {
	case bytes.HasPrefix(data, []byte("\xef\xbb\xbf")):
		return data[3:]
	case bytes.HasPrefix(data, []byte("\xff\xfe")):
		order, data = binary.LittleEndian, data[2:]
	case bytes.HasPrefix(data, []byte("\xfe\xff")):
		order, data = binary.BigEndian, data[2:]
	case len(data) > 1 && data[0] != 0 && data[1] == 0:
		order = binary.LittleEndian
	case len(data) > 1 && data[0] == 0 && data[1] != 0:
		order = binary.BigEndian
	default:
		return data
	}
	units := make([]uint16, 0, len(data)/2)
	for pair := range slices.Chunk(data[:len(data)/2*2], 2) {
		units = append(units, order.Uint16(pair))
	}
	return []byte(string(utf16.Decode(units)))
}

// split cuts a stream of YAML into its documents. At the start of a line, "---" and "..." before a blank or the end of the
// line are always separators (YAML 1.2, section 9.1), also inside of a text. What a separator begins follows it on its line.
func split(data []byte) (documents [][]byte) {
	begin, bare := 0, true
	for at := 0; at < len(data); {
		line := lineOf(data[at:])
		switch text := bytes.TrimRight(line, lineBreaks); {
		case isSeparator(text, "---"):
			if !bare { // directives, such as %YAML 1.2, belong to the document that follows
				documents = append(documents, data[begin:at])
				begin = at
			}
			bare = false
		case isSeparator(text, "..."):
			documents = append(documents, data[begin:at])
			begin, bare = at+len(line), true
		case len(bytes.TrimSpace(text)) > 0 && text[0] != '#' && text[0] != '%':
			bare = false
		}
		at += len(line)
	}
	return append(documents, data[begin:])
}

// lineBreaks are those of YAML 1.1, which sigs.k8s.io/yaml reads.
const lineBreaks = "\r\n\u0085\u2028\u2029"

// lineOf is the first line, with its break.
func lineOf(data []byte) []byte {
	end := bytes.IndexAny(data, lineBreaks)
	if end < 0 {
		return data
	}
	_, width := utf8.DecodeRune(data[end:])
	if bytes.HasPrefix(data[end:], []byte("\r\n")) {
		width = 2
	}
	return data[:end+width]
}

func isSeparator(line []byte, separator string) bool {
	rest, ok := bytes.CutPrefix(line, []byte(separator))
	return ok && (len(rest) == 0 || rest[0] == ' ' || rest[0] == '\t')
}

// behindSeparator says whether a document begins on the line of its separator.
func behindSeparator(document []byte) bool {
	for len(document) > 0 {
		line := lineOf(document)
		document = document[len(line):]
		if line = bytes.TrimRight(line, lineBreaks); isSeparator(line, "---") {
			rest := bytes.TrimSpace(line[len("---"):])
			return len(rest) > 0 && rest[0] != '#'
		}
		if text := bytes.TrimSpace(line); len(text) > 0 && text[0] != '#' && text[0] != '%' {
			return false
		}
	}
	return false
}
