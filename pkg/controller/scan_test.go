package controller

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// value reads any value, as encoding/json does.
func (s *scanner) value() (any, error) {
	c, err := s.peek()
	if err != nil {
		return nil, err
	}
	switch c {
	case '{':
		out := map[string]any{}
		return out, s.object(func(name string) (err error) {
			out[name], err = s.value()
			return err
		})
	case '[':
		out := []any{}
		return out, s.array(func() error {
			v, err := s.value()
			out = append(out, v)
			return err
		})
	case '"':
		text, fits, err := s.text(1 << 20)
		if !fits {
			return nil, errors.Join(err, io.ErrShortBuffer)
		}
		return text, err
	case 't':
		return true, s.literal("true")
	case 'f':
		return false, s.literal("false")
	case 'n':
		return nil, s.literal("null")
	}
	text, err := s.scalar()
	return json.Number(text), err
}

// FuzzScanner compares what is read of a text with what encoding/json reads, whatever pieces it comes in.
func FuzzScanner(f *testing.F) {
	for _, seed := range []string{
		`{"metadata":{"uid":"a"},"items":[{"x":1,"y":-1.5e+3},[],{},null,true,false]}`, `"\u00e9\ud83d\ude00\ud83d\u0041\ud83d"`, "\"\xff\"", `[1,]`, `{,}`,
		`{"a"}`, `[1 2]`, `01`, `-`, `1e`, `1.`, `"\x"`, "\"\n\"", `nul`, ``, ` `, `{"a":1,"a":2}`, strings.Repeat("[", 200), strings.Repeat("9", 70), `"\ud83d\`, `"\ud83d\uzzzz"`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > 1<<16 {
			return
		}
		got, err := scan(bytes.NewReader(text)).value()
		pieces, piecesErr := scan(iotest.OneByteReader(bytes.NewReader(text))).value()
		if (err == nil) != (piecesErr == nil) || err == nil && !cmp.Equal(got, pieces) {
			t.Fatalf("%v %v, and in pieces %v %v", got, err, pieces, piecesErr)
		}
		skipErr := scan(bytes.NewReader(text)).skip()
		if err == nil && skipErr != nil {
			t.Fatalf("it can be read and not skipped: %v", skipErr)
		}
		if !json.Valid(text) {
			return
		}
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.UseNumber()
		var want any
		if err := decoder.Decode(&want); err != nil {
			return
		}
		if beyond := bytes.Count(text, []byte("{"))+bytes.Count(text, []byte("[")) > maxDepth || oversized.Match(text); !beyond && (err != nil || !cmp.Equal(got, want)) {
			t.Fatalf("got %v %v, want %v", got, err, want)
		}
	})
}

// oversized are texts with names or numbers that are longer than those that are read.
var oversized = regexp.MustCompile(`"[^"]{60,}|[-+.eE0-9]{60,}`)

// TestScannerIsBounded holds that what is skipped and what is too long takes no memory, and that depth is bounded.
// It counts what is allocated, so no other test runs beside it.
func TestScannerIsBounded(t *testing.T) {
	const size = 8 << 20
	endless := func(begin, piece string) io.Reader {
		return io.MultiReader(strings.NewReader(begin), io.LimitReader(&repeated{piece: piece}, size))
	}
	for name, in := range map[string]io.Reader{
		"a string":       endless(`"`, "x"),
		"escapes":        endless(`"`, `\u00e9`),
		"an array":       endless(`[`, `1,`),
		"an object":      endless(`{`, `"k":{},`),
		"a name":         endless(`{"`, "x"),
		"blanks":         endless(``, " "),
		"an array, deep": endless(``, "["),
		"a number":       endless(``, "9"),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if err := scan(in).skip(); err == nil {
			t.Errorf("%s: no error", name)
		}
		runtime.ReadMemStats(&after)
		if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 2*size { // garbage included
			t.Errorf("%s: %d KiB were allocated", name, allocated>>10)
		}
	}
}

// repeated is a text without end.
type repeated struct {
	piece string
	at    int
}

func (r *repeated) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = r.piece[r.at%len(r.piece)]
		r.at++
	}
	return len(p), nil
}
