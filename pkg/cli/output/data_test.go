package output

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"sigs.k8s.io/yaml"
)

// FuzzData holds that JSON and YAML of any text are valid, have no byte that acts on a terminal, and are read as the same text.
func FuzzData(f *testing.F) {
	for _, seed := range []string{"plain", "a\nb\x1b[31m\x7f", "\u202e\u2066\ufeff\u2028\u2029\u0085", "yes", "0x1F", "- a: b", "# no", " a ", "\U000e0041", "a\n\n  b\n", "\ufffd", "|", "\\u202e"} {
		f.Add(seed, seed)
	}
	f.Fuzz(func(t *testing.T, key, text string) {
		if !utf8.ValidString(key) || !utf8.ValidString(text) || key == "<<" || key == "list" {
			return // not what JSON holds, or what has a meaning of its own
		}
		data := map[string]any{key: text, "list": []any{text, map[string]any{"a": text}}}
		for _, format := range []string{"json", "yaml"} {
			var out bytes.Buffer
			if err := marshal(&out, format, data); err != nil {
				t.Fatalf("%s of %q: %v", format, text, err)
			}
			if safe := Printable(out.String()); safe != out.String() && !strings.Contains(out.String(), "\t") {
				t.Errorf("%s of %q: %q", format, text, out.String())
			}
			var read map[string]any
			unmarshal := json.Unmarshal
			if format == "yaml" {
				unmarshal = func(data []byte, into any) error { return yaml.UnmarshalStrict(data, into) }
			}
			if err := unmarshal(out.Bytes(), &read); err != nil {
				t.Fatalf("%s of %q: %v\n%s", format, text, err, out.String())
			}
			want, _ := json.Marshal(data)
			if got, _ := json.Marshal(read); !bytes.Equal(want, got) {
				t.Errorf("%s of %q is read as %s", format, text, got)
			}
		}
	})
}
