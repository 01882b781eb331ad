package cluster_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

// FuzzCounter holds that no JSON has more values than are counted, however it is cut when it is read.
func FuzzCounter(f *testing.F) {
	for _, seed := range []string{`{"a":[1,{},"b,{["],"c":"\"{"}`, `[[],{},null]`, `"\\"`, `{"":{"":[]}}`, ` [1 , 2 ]`} {
		f.Add([]byte(seed), uint8(3))
	}
	f.Fuzz(func(t *testing.T, data []byte, size uint8) {
		if !json.Valid(data) {
			return
		}
		values, depth := 0, []bool(nil) // whether each open one is an object
		decoder := json.NewDecoder(bytes.NewReader(data))
		for key := false; ; {
			token, err := decoder.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return
			}
			switch token {
			case json.Delim('{'), json.Delim('['):
				values++
				depth = append(depth, token == json.Delim('{'))
				key = depth[len(depth)-1]
				continue
			case json.Delim('}'), json.Delim(']'):
				depth = depth[:len(depth)-1]
			default:
				if key {
					key = false
					continue
				}
				values++
			}
			key = len(depth) > 0 && depth[len(depth)-1]
		}
		if counted := cluster.CountValues(data, int(size)+1); values > counted+1 {
			t.Errorf("%q has %d values, %d are counted", data, values, counted)
		}
	})
}

// FuzzPrintable holds that no text acts on a terminal, or begins a line, and that what is safe stays as it is.
func FuzzPrintable(f *testing.F) {
	for _, seed := range []string{"plain", "a\nb\x1b[31m", "\u202e\u2066\ufeff", "\xff\xc2\x9b", "größer 日本", "\u3164\ufe0f\U000e0041"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		safe := cluster.Printable(text)
		for i, r := range safe {
			if _, size := utf8.DecodeRuneInString(safe[i:]); r == utf8.RuneError && size == 1 || !unicode.IsPrint(r) || unicode.Is(unicode.Variation_Selector, r) {
				t.Fatalf("%q becomes %q", text, safe)
			}
		}
		if again := cluster.Printable(safe); again != safe {
			t.Errorf("%q becomes %q, and then %q", text, safe, again)
		}
		if strings.ContainsAny(safe, "\n\r\t") {
			t.Errorf("%q becomes %q", text, safe)
		}
	})
}
