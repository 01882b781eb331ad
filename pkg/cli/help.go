package cli

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
)

// helpColumns is how long the lines of help are, in a terminal of any width and elsewhere. Commands are not broken: usage, and
// examples.
const helpColumns = 80

// printHelp prints the help of a command.
func printHelp(cmd *cobra.Command, _ []string) {
	text := cmd.Long
	if text == "" {
		text = cmd.Short
	}
	cmd.InitDefaultHelpFlag()
	_ = output.Text(cmd.OutOrStdout(), hang(wrapped(strings.TrimSpace(text))+"\n\n"+cmd.UsageString()))
}

// hang breaks the long lines of a text.
func hang(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = hung(lines[i])
	}
	return strings.Join(lines, "\n")
}

// hung breaks a line that is longer than helpColumns, in a list, of flags, of comments or of commands: what follows stands below the
// last column.
func hung(line string) string {
	if utf8.RuneCountInString(line) <= helpColumns || strings.HasPrefix(line, "  kubectl ") || strings.HasPrefix(line, "    --") {
		return line
	}
	at := 0
	if i := strings.LastIndex(line, "  "); i >= 0 {
		at = i + len("  ")
	}
	first, rest := line[:at], line[at:]
	column := utf8.RuneCountInString(first)
	words := strings.Fields(rest)
	hanging := column
	if slices.ContainsFunc(words, func(word string) bool { return utf8.RuneCountInString(word) > helpColumns-column }) {
		hanging = min(column, helpColumns/2) // where a name of half a line fits
	}
	next := strings.Repeat(" ", hanging)
	if len(words) > 0 && words[0] == "#" {
		first, words, next, column = first+"# ", words[1:], next+"# ", column+len("# ")
	}
	return first + strings.Join(output.Fill(words, helpColumns-column), "\n"+next)
}

// wrapped breaks the lines of each paragraph anew. Paragraphs are separated by an empty line, and indented lines stay as they are.
func wrapped(text string) string {
	var lines, words []string
	end := func() {
		if len(words) > 0 {
			lines = append(lines, output.Fill(words, helpColumns)...)
		}
		words = nil
	}
	for given := range strings.SplitSeq(text, "\n") {
		if given == "" || strings.HasPrefix(given, " ") {
			end()
			lines = append(lines, given)
		} else {
			words = append(words, strings.Fields(given)...)
		}
	}
	end()
	return strings.Join(lines, "\n")
}
