package cli

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// TestHelpLines: no line of a command's help is longer than a terminal of 80 columns, except usage and examples, which are typed in
// one line.
func TestHelpLines(t *testing.T) {
	t.Parallel()
	var look func(*cobra.Command)
	look = func(cmd *cobra.Command) {
		var help strings.Builder
		cmd.SetOut(&help)
		if err := cmd.Help(); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(help.String()) {
			if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > helpColumns && !strings.HasPrefix(line, "  kubectl ") && !strings.HasPrefix(line, "    --") {
				t.Errorf("%s --help has a line of %d characters, at most %d: %s", cmd.CommandPath(), n, helpColumns, line)
			}
		}
		for _, sub := range cmd.Commands() {
			look(sub)
		}
	}
	look(testRoot())
}

func TestWrapped(t *testing.T) {
	t.Parallel()
	const word = "fifteen-letters"
	row := strings.TrimSuffix(strings.Repeat(word+" ", 5), " ") // 79 columns
	for given, want := range map[string]string{
		"":                                "",
		"one\ntwo":                        "one two",
		"one\n\ntwo\nthree":               "one\n\ntwo three",
		row + " " + word:                  row + "\n" + word,
		row + "\n" + word + "\n\n" + word: row + "\n" + word + "\n\n" + word,
		"list:\n  a  b\n  c\nend":         "list:\n  a  b\n  c\nend",
		strings.Repeat("x", 100) + " y":   strings.Repeat("x", 100) + "\ny",
	} {
		if got := wrapped(given); got != want {
			t.Errorf("%q: %q, want %q", given, got, want)
		}
	}
}

func TestHung(t *testing.T) {
	t.Parallel()
	words := strings.TrimSuffix(strings.Repeat("fifteen-letters ", 6), " ") // 95 columns
	const five, four, three = "fifteen-letters fifteen-letters fifteen-letters fifteen-letters fifteen-letters",
		"fifteen-letters fifteen-letters fifteen-letters fifteen-letters", "fifteen-letters fifteen-letters fifteen-letters"
	for given, want := range map[string]string{
		"  short    line":             "  short    line",
		words:                         five + "\nfifteen-letters",
		"  # " + words:                "  # " + four + "\n  # fifteen-letters fifteen-letters",
		"  check       " + words:      "  check       " + four + "\n              fifteen-letters fifteen-letters",
		"      --a string   " + words: "      --a string   " + three + "\n                   " + three,
		"  kubectl " + words:          "  kubectl " + words,
		"    --b " + words:            "    --b " + words,
	} {
		if got := hung(given); got != want {
			t.Errorf("%q:\n%s\nwant\n%s", given, got, want)
		}
	}
}
