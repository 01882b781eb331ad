package cli

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// TestHelpLines: no line of a command's description is longer than the others are. The lines of examples and flags are
// as long as what they show.
func TestHelpLines(t *testing.T) {
	t.Parallel()
	const longest = 116
	var look func(*cobra.Command)
	look = func(cmd *cobra.Command) {
		for line := range strings.Lines(cmd.Long) {
			if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > longest {
				t.Errorf("%s --help has a line of %d characters, at most %d: %s", cmd.CommandPath(), n, longest, line)
			}
		}
		for _, sub := range cmd.Commands() {
			look(sub)
		}
	}
	look(testRoot())
}
