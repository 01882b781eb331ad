package output

import (
	"io"
	"os"
	"strings"
	"unicode/utf8"
)

// Branch is a branch of a tree: a federation at the top, below it regions and their zones.
type Branch struct {
	// Name is the name, or several, separated by ", ".
	Name string
	// Count and Counts say what is in the branch, in text and in a flowchart.
	Count  string
	Counts []string
	// Branches are below it; the lowest have leaves instead.
	Branches []Branch
	Leaves   []Leaf
}

// title is the name of a branch with what is in it.
func (b *Branch) title() string { return b.Name + " (" + b.Count + ")" }

// Leaf is a member in a tree.
type Leaf struct {
	Name, State string
	Level       Level
	// Reason is why it is not healthy, and Age since when; both may be empty.
	Reason, Age string
}

// Level is how good a state is, and gives it its color.
type Level int

// The levels.
const (
	Good Level = iota
	// Waiting is a state that a person or a controller ends.
	Waiting
	Bad
	// plain is no level, and has the usual color.
	plain
)

// Colors says whether w shows them: a terminal does, unless its user wants none (https://no-color.org).
func Colors(w io.Writer) bool {
	return isTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// paint gives text the color of a level (ECMA-48 SGR).
func paint(level Level, text string) string {
	code := map[Level]string{Good: "32", Waiting: "33", Bad: "31", plain: "39"}[level]
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// columnGap is how many blanks separate the columns of a tree, as those of a table.
const columnGap = 3

// PrintTree prints branches as a tree of text, in colors where w shows them.
func PrintTree(w io.Writer, branches []Branch) error {
	_, err := io.WriteString(raw(w), Tree(branches, Colors(w)))
	return err
}

// Tree draws branches as a tree of text.
func Tree(branches []Branch, colored bool) string {
	type line struct {
		text string
		leaf *Leaf
	}
	var lines []line
	fork := func(i, n int) (own, below string) {
		if i == n-1 {
			return "└── ", "    "
		}
		return "├── ", "│   "
	}
	var draw func(b *Branch, indent string)
	draw = func(b *Branch, indent string) {
		for i := range b.Branches {
			own, below := fork(i, len(b.Branches))
			lines = append(lines, line{text: indent + own + OneLine(b.Branches[i].title())})
			draw(&b.Branches[i], indent+below)
		}
		for i := range b.Leaves {
			own, _ := fork(i, len(b.Leaves))
			lines = append(lines, line{indent + own + OneLine(b.Leaves[i].Name), &b.Leaves[i]})
		}
	}
	for i := range branches {
		lines = append(lines, line{text: OneLine(branches[i].title())})
		draw(&branches[i], "")
	}
	name, state := 0, 0
	for _, l := range lines {
		if l.leaf != nil {
			name = max(name, utf8.RuneCountInString(l.text))
			state = max(state, len(l.leaf.State))
		}
	}
	var b strings.Builder
	for _, l := range lines {
		b.WriteString(l.text)
		if l.leaf != nil {
			shown := OneLine(l.leaf.State)
			if colored {
				shown = paint(l.leaf.Level, shown)
			}
			b.WriteString(strings.Repeat(" ", name-utf8.RuneCountInString(l.text)+columnGap) + shown)
			if l.leaf.Reason != "" {
				b.WriteString(strings.Repeat(" ", state-len(l.leaf.State)+columnGap) + OneLine(l.leaf.Reason+l.leaf.Age))
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}
