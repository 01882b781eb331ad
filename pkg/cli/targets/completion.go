package targets

import (
	"slices"
	"strings"
)

// CompleteList completes the last of words with commas between, as they are typed; offered are all that there are.
func CompleteList(offered []string, typed string) []string {
	comma := strings.LastIndexByte(typed, ',')
	complete := func(word string) bool { return strings.HasPrefix(word, typed) }
	if comma < 0 || slices.ContainsFunc(offered, complete) { // a name may have a comma in it
		return offered
	}
	before := typed[:comma+1]
	chosen := strings.Split(typed[:comma], ",")
	var words []string
	for _, word := range offered {
		if !slices.Contains(chosen, word) {
			words = append(words, before+word)
		}
	}
	return words
}
