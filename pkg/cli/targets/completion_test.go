package targets

import (
	"slices"
	"testing"
)

func TestCompleteList(t *testing.T) {
	t.Parallel()
	all := []string{"us-east", "us-west", "a,b"}
	for typed, want := range map[string][]string{
		"":                 all,
		"us-":              all,
		"us-east,":         {"us-east,us-west", "us-east,a,b"},
		"us-east,us-w":     {"us-east,us-west", "us-east,a,b"},
		"us-west,us-east,": {"us-west,us-east,a,b"},
		"a,":               all,
	} {
		if got := CompleteList(all, typed); !slices.Equal(got, want) {
			t.Errorf("%q gives %q, want %q", typed, got, want)
		}
	}
}
