package controller

import (
	"bufio"
	"errors"
	"io"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Bounds on the JSON of a member. No object of Kubernetes has so many levels; its field names and numbers are short.
const maxDepth, maxName, maxNumber = 100, 128, 64

// errSyntax says that a text is not the JSON that was expected.
var errSyntax = errors.New("not the JSON of that object")

// scanner reads one JSON text (RFC 8259) as it comes and keeps of it only what is asked for, so that the memory that it takes
// does not depend on what a member sends. The decoder of encoding/json holds every value whole, also one that it skips.
//
// Each method reads one value, and takes null for an empty one, as encoding/json does.
type scanner struct {
	r     *bufio.Reader
	depth int
}

func scan(r io.Reader) *scanner { return &scanner{r: bufio.NewReaderSize(r, 16<<10)} }

// peek is the next byte that is no blank. It is not read.
func (s *scanner) peek() (byte, error) {
	for {
		c, err := s.byte()
		if err != nil {
			return 0, err
		}
		if c != ' ' && c != '\n' && c != '\r' && c != '\t' {
			return c, s.r.UnreadByte()
		}
	}
}

func (s *scanner) byte() (byte, error) {
	c, err := s.r.ReadByte()
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return c, err
}

// expect reads one byte that must come next.
func (s *scanner) expect(want byte) error {
	c, err := s.peek()
	if err != nil {
		return err
	}
	if c != want {
		return errSyntax
	}
	_, err = s.byte()
	return err
}

// object calls field for each field, which reads its value.
func (s *scanner) object(field func(name string) error) error {
	return s.elements('{', '}', func() error {
		if c, err := s.peek(); err != nil || c != '"' {
			return errors.Join(err, errSyntax)
		}
		name, _, err := s.text(maxName)
		if err != nil {
			return err
		}
		if err := s.expect(':'); err != nil {
			return err
		}
		return field(name)
	})
}

// fields reads an object of which only some fields are of use.
func (s *scanner) fields(read map[string]func() error) error {
	return s.object(func(name string) error {
		if f := read[name]; f != nil {
			return f()
		}
		return s.skip()
	})
}

// array calls element for each element, which reads it.
func (s *scanner) array(element func() error) error { return s.elements('[', ']', element) }

func (s *scanner) elements(begin, end byte, element func() error) error {
	c, err := s.peek()
	if err != nil {
		return err
	}
	if c == 'n' {
		return s.literal("null")
	}
	if err := s.expect(begin); err != nil {
		return err
	}
	if s.depth++; s.depth > maxDepth {
		return errSyntax
	}
	defer func() { s.depth-- }()
	if c, err = s.peek(); err != nil || c == end {
		return errors.Join(err, s.expect(end))
	}
	for {
		if err := element(); err != nil {
			return err
		}
		if c, err = s.peek(); err != nil {
			return err
		}
		if c == end {
			return s.expect(end)
		}
		if err := s.expect(','); err != nil {
			return err
		}
	}
}

// text reads a string. It is false if that is longer than most bytes; what is too long is not kept.
func (s *scanner) text(most int) (text string, fits bool, err error) {
	c, err := s.peek()
	if err != nil {
		return "", false, err
	}
	if c == 'n' {
		return "", true, s.literal("null")
	}
	if err := s.expect('"'); err != nil {
		return "", false, err
	}
	var kept []byte
	fits = true
	keep := func(b ...byte) {
		if fits = fits && len(kept)+len(b) <= most; fits {
			kept = append(kept, b...)
		}
	}
	for {
		switch c, err = s.byte(); {
		case err != nil:
			return "", false, err
		case c == '"':
			if !fits {
				return "", false, nil
			}
			return strings.ToValidUTF8(string(kept), string(utf8.RuneError)), true, nil
		case c == '\\':
			r, err := s.escaped()
			if err != nil {
				return "", false, err
			}
			var encoded [utf8.UTFMax]byte
			keep(encoded[:utf8.EncodeRune(encoded[:], r)]...)
		case c < ' ':
			return "", false, errSyntax
		default:
			keep(c)
		}
	}
}

var escapes = map[byte]rune{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// escaped reads what follows a backslash.
func (s *scanner) escaped() (rune, error) {
	c, err := s.byte()
	if err != nil {
		return 0, err
	}
	if c != 'u' {
		r, ok := escapes[c]
		if !ok {
			return 0, errSyntax
		}
		return r, nil
	}
	r, err := s.hex()
	if err != nil || !utf16.IsSurrogate(r) {
		return r, err
	}
	// The second half follows; alone it stands for no character.
	if next, err := s.r.Peek(2); err != nil || string(next) != `\u` {
		return utf8.RuneError, nil //nolint:nilerr // the next read has the error
	}
	ahead, err := s.r.Peek(6)
	if err != nil {
		return utf8.RuneError, nil //nolint:nilerr // the next read has the error
	}
	low, err := strconv.ParseUint(string(ahead[2:]), 16, 16)
	if err != nil {
		return 0, errSyntax
	}
	whole := utf16.DecodeRune(r, rune(low))
	if whole != utf8.RuneError {
		_, err = s.r.Discard(6)
	}
	return whole, err
}

func (s *scanner) hex() (rune, error) {
	var digits [4]byte
	if _, err := io.ReadFull(s.r, digits[:]); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return 0, err
	}
	n, err := strconv.ParseUint(string(digits[:]), 16, 16)
	if err != nil {
		return 0, errSyntax
	}
	return rune(n), nil
}

// number reads a whole number; nil when it is null.
func (s *scanner) number() (*int64, error) {
	c, err := s.peek()
	if err != nil {
		return nil, err
	}
	if c == 'n' {
		return nil, s.literal("null")
	}
	text, err := s.scalar()
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return nil, errSyntax
	}
	return &n, nil
}

// scalar reads a number, as it is written.
func (s *scanner) scalar() (string, error) {
	var text []byte
	for {
		c, err := s.r.ReadByte()
		if err != nil && err != io.EOF {
			return "", err
		}
		if err == nil && strings.IndexByte("+-.eE0123456789", c) >= 0 {
			if text = append(text, c); len(text) > maxNumber {
				return "", errSyntax
			}
			continue
		}
		if err == nil {
			if err := s.r.UnreadByte(); err != nil {
				return "", err
			}
		}
		if !isNumber(string(text)) {
			return "", errSyntax
		}
		return string(text), nil
	}
}

// isNumber says whether a text of the characters of numbers is one.
func isNumber(text string) bool {
	digits := func() bool {
		rest := strings.TrimLeft(text, "0123456789")
		some := len(rest) < len(text)
		text = rest
		return some
	}
	text = strings.TrimPrefix(text, "-")
	if zero, found := strings.CutPrefix(text, "0"); found {
		text = zero
	} else if !digits() {
		return false
	}
	if fraction, found := strings.CutPrefix(text, "."); found {
		if text = fraction; !digits() {
			return false
		}
	}
	if text != "" && (text[0] == 'e' || text[0] == 'E') {
		text = text[1:]
		if text != "" && (text[0] == '+' || text[0] == '-') {
			text = text[1:]
		}
		return digits() && text == ""
	}
	return text == ""
}

func (s *scanner) literal(word string) error {
	for i := range len(word) {
		c, err := s.byte()
		if err != nil {
			return err
		}
		if c != word[i] {
			return errSyntax
		}
	}
	return nil
}

// skip reads a value of any kind and keeps nothing of it.
func (s *scanner) skip() error {
	c, err := s.peek()
	if err != nil {
		return err
	}
	switch c {
	case '{':
		return s.object(func(string) error { return s.skip() })
	case '[':
		return s.array(s.skip)
	case '"':
		_, _, err = s.text(0)
	case 't':
		err = s.literal("true")
	case 'f':
		err = s.literal("false")
	case 'n':
		err = s.literal("null")
	default:
		_, err = s.scalar()
	}
	return err
}
