package rules

import (
	"fmt"
	"strings"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// Hint helps with a name that is not among the sorted names: the nearest one, or all when they are few.
func Hint[N ~string](typed N, names []N, none string) string {
	if len(names) == 0 {
		return none
	}
	if near, ok := Nearest(typed, names); ok {
		return fmt.Sprintf("did you mean %q?", near)
	}
	if len(names) > fewNames {
		return fmt.Sprintf("none of the %d known names is similar", len(names))
	}
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = fmt.Sprintf("%q", n)
	}
	return "known names: " + strings.Join(quoted, ", ")
}

// Nearest finds the name that takes the fewest edits, if that is few for its length. Of two equals the first
// in order wins.
func Nearest[N ~string](typed N, names []N) (N, bool) {
	best, found := 0, -1
	// Our prefix, which all keys share, would make any two of them alike.
	mistyped := strings.TrimPrefix(string(typed), v1alpha1.Prefix)
	for i := range names {
		name := strings.TrimPrefix(string(names[i]), v1alpha1.Prefix)
		limit := max(1, max(len(mistyped), len(name))/3)
		if abs(len(mistyped)-len(name)) > limit {
			continue
		}
		if d := distance(mistyped, name); d <= limit && (found < 0 || d < best) {
			best, found = d, i
		}
	}
	if found < 0 {
		return "", false
	}
	return names[found], true
}

// distance is the number of bytes to insert, delete, replace or swap with the next (optimal string alignment).
func distance(a, b string) int {
	before, last, now := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		now[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			now[j] = min(last[j]+1, now[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				now[j] = min(now[j], before[j-2]+1)
			}
		}
		before, last, now = last, now, before
	}
	return last[len(b)]
}

func abs(n int) int { return max(n, -n) }
