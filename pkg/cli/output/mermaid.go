package output

import (
	"fmt"
	"strings"
)

// mermaidClasses are the looks of leaves in a flowchart, readable on light and dark pages.
const mermaidClasses = `  classDef good fill:#d3f9d8,stroke:#2b8a3e,color:#1b1b1b
  classDef waits fill:#fff3bf,stroke:#e67700,color:#1b1b1b
  classDef bad fill:#ffe3e3,stroke:#c92a2a,color:#1b1b1b
`

// MaxMermaidEdges is how many lines a flowchart may have: renderers refuse more (https://mermaid.js.org, maxEdges).
const MaxMermaidEdges = 500

// MermaidEdges is how many lines a flowchart of the branches has.
func MermaidEdges(branches []Branch) int {
	edges := 0
	for i := range branches {
		b := &branches[i]
		edges += len(b.Branches) + len(b.Leaves) + MermaidEdges(b.Branches)
	}
	return edges
}

// Mermaid draws branches as a flowchart (https://mermaid.js.org). It holds no ages, so that the same branches give the
// same text.
func Mermaid(branches []Branch) string {
	var text strings.Builder
	text.WriteString("flowchart LR\n")
	var draw func(b *Branch, id string)
	draw = func(b *Branch, id string) {
		for i := range b.Branches {
			own := fmt.Sprintf("%s_%d", id, i+1)
			fmt.Fprintf(&text, "  %s --> %s[\"%s\"]\n", id, own, mermaidLines(append(strings.Split(b.Branches[i].Name, ", "), b.Branches[i].Counts...)))
			draw(&b.Branches[i], own)
		}
		for i := range b.Leaves {
			leaf := &b.Leaves[i]
			lines := []string{leaf.Name, leaf.State}
			if leaf.Reason != "" {
				lines = append(lines, leaf.Reason)
			}
			class := map[Level]string{Good: "good", Waiting: "waits", Bad: "bad"}[leaf.Level]
			fmt.Fprintf(&text, "  %s --> %s_%d([\"%s\"]):::%s\n", id, id, i+1, mermaidLines(lines), class)
		}
	}
	for i := range branches {
		id := fmt.Sprintf("f%d", i+1)
		fmt.Fprintf(&text, "  %s[\"%s\"]\n", id, mermaidLines(append([]string{branches[i].Name}, branches[i].Counts...)))
		draw(&branches[i], id)
	}
	text.WriteString(mermaidClasses)
	return text.String()
}

// mermaidLines are the lines in a box. A long line would be broken at any blank or dash, so each part has its own.
func mermaidLines(lines []string) string {
	escaped := make([]string, len(lines))
	for i, l := range lines {
		escaped[i] = mermaidText(l)
	}
	return strings.Join(escaped, "<br>")
}

// mermaidText is text within the quotes of a flowchart. Regions and zones are what a cluster says of its nodes: what could
// be markup, Markdown or a quote is written as the number of its character.
func mermaidText(text string) string {
	word := func(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' }
	runes := []rune(OneLine(text))
	var b strings.Builder
	for i, r := range runes {
		last := i+1 == len(runes)
		inside := i > 0 && word(runes[i-1]) && !last && word(runes[i+1])
		switch {
		// "fa:fa-ban" would be a picture, "1. " a list.
		case word(r), r == ' ', r == ',', r == ':' && !last && runes[i+1] == ' ', (r == '-' || r == '.') && inside:
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, "#%d;", r)
		}
	}
	return b.String()
}
