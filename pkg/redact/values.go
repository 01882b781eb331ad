package redact

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
)

// minValue is the length from which a value of a Secret is removed wherever it stands: shorter ones are words of other texts.
const minValue = 12

// Values are those of Secrets that were read. Where they are known they are removed whatever their shape is.
type Values struct{ known []string }

// Add adds the values of a Secret that are secret: not certificates, nor the namespace that the token of a ServiceAccount comes with.
func (v *Values) Add(data map[string][]byte) {
	for key, value := range data {
		value = bytes.TrimSpace(value)
		if key == "namespace" || len(value) < minValue || bytes.HasPrefix(value, []byte("-----BEGIN CERTIFICATE-----")) {
			continue
		}
		for _, known := range append([]string{string(value)}, strings.Split(string(value), "\n")...) {
			if known = strings.TrimSpace(known); len(known) >= minValue {
				v.known = append(v.known, known, asJSON(known), base64.StdEncoding.EncodeToString([]byte(known)))
			}
		}
	}
}

// asJSON is a text as a document of JSON has it, without the quotes around it.
func asJSON(text string) string {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(text)
	return strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(b.String()), `"`), `"`)
}

// Replacer removes the values: as they are, as text of JSON, and in base64; the longest first.
func (v *Values) Replacer() *strings.Replacer {
	slices.SortFunc(v.known, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b)) })
	v.known = slices.Compact(v.known)
	pairs := make([]string, 0, 2*len(v.known))
	for _, value := range v.known {
		pairs = append(pairs, value, Mark)
	}
	return strings.NewReplacer(pairs...)
}
