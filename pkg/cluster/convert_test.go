package cluster

import "testing"

func TestCovers(t *testing.T) {
	t.Parallel()
	m := func(kv ...any) map[string]any {
		out := map[string]any{}
		for i := 0; i < len(kv); i += 2 {
			out[kv[i].(string)] = kv[i+1]
		}
		return out
	}
	for _, tt := range []struct {
		name          string
		live, desired any
		want          bool
	}{
		{"more in live", m("a", "1", "b", "2"), m("a", "1"), true},
		{"less in live", m("a", "1"), m("a", "1", "b", "2"), false},
		{"another value", m("a", "1"), m("a", "2"), false},
		{"a list with one more", m("a", []any{"1", "2"}), m("a", []any{"1"}), false},
		{"a list of the same maps", m("a", []any{m("x", "1", "y", "2")}), m("a", []any{m("y", "2", "x", "1")}), true},
		{"nothing there", nil, m("a", "1"), false},
	} {
		if got := Covers(tt.live, tt.desired); got != tt.want {
			t.Errorf("%s: covers = %v, want %v", tt.name, got, tt.want)
		}
	}
}
