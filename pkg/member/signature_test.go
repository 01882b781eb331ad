package member

import "testing"

// TestProves compares what tokens of two ways show.
func TestProves(t *testing.T) {
	t.Parallel()
	honest := Signature{Signer: "a", Served: []string{"a", "b"}}
	for _, tt := range []struct {
		name  string
		other Signature
		want  bool
	}{
		{"the same key", honest, true},
		{"two keys of one cluster", Signature{Signer: "b", Served: []string{"a", "b"}}, true},
		{"a relay that serves the other's keys beside its own", Signature{Signer: "evil", Served: []string{"evil", "a", "b"}}, false},
		{"a relay that serves the other's keys alone", Signature{Served: []string{"a", "b"}}, false},
		{"another cluster", Signature{Signer: "c", Served: []string{"c"}}, false},
		{"nothing", Signature{}, false},
		{"an empty key", Signature{Served: []string{"", "a"}}, false},
	} {
		if honest.Proves(tt.other) != tt.want || tt.other.Proves(honest) != tt.want {
			t.Errorf("%s: want %v", tt.name, tt.want)
		}
	}
	if (Signature{}).By([]string{""}) || !honest.By([]string{"x", "a"}) || honest.By([]string{"b"}) {
		t.Error("By takes what did not sign")
	}
}
