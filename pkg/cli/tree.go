package cli

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/cli-runtime/pkg/printers"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/host"
)

type treeFlags struct {
	federation federationFlag
	selector   string
	output     string
}

// asMermaid is the format of tree for documents.
const asMermaid = "mermaid"

func newTree(d *factory) *cobra.Command {
	f := &treeFlags{}
	cmd := &cobra.Command{
		Use:     "tree",
		GroupID: groupMembers,
		Short:   "Show members by federation, region and zone",
		Long: `Show members by federation, region and zone.

A member stands once, below all its regions and all its zones; beside it is how it is, and why. Regions
and zones are those of its nodes, or else of its labels. On a terminal the state has a colour, unless
NO_COLOR is set.

-o mermaid prints a flowchart for documents: GitHub, GitLab and many others draw what stands in a code
block of that name (https://mermaid.js.org).`,
		Example: `  # All federations
  kubectl federate tree

  # One team's clusters in one federation
  kubectl federate tree --federation prod -l example.com/team=web

  # A picture for a document
  kubectl federate tree --federation prod -o mermaid > prod.mmd`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context(), d) },
	}
	f.federation.add(cmd, d, "Only this federation")
	cmd.Flags().StringVarP(&f.selector, "selector", "l", "", "Only members whose labels match this selector")
	cmd.Flags().StringVarP(&f.output, "output", "o", "", "Output format: "+asMermaid)
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{asMermaid}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (f *treeFlags) run(ctx context.Context, d *factory) error {
	if f.output != "" && f.output != asMermaid {
		return usagef("-o %s is unknown: it is %s, or left out", f.output, asMermaid)
	}
	h, err := d.host()
	if err != nil {
		return err
	}
	members, _, err := listMembers(ctx, h, host.MemberQuery{Federation: f.federation.value(), Selector: f.selector})
	if err != nil {
		return err
	}
	names, err := f.names(ctx, h)
	if err != nil {
		return err
	}
	fleet := grow(names, pointers(members))
	if len(fleet) == 0 {
		fmt.Fprintln(d.ErrOut, "No members found")
		return nil
	}
	now := time.Now()
	text := mermaid(fleet)
	if f.output == "" {
		text = drawn(fleet, now, colours(d))
	}
	_, err = fmt.Fprint(d.Out, text)
	return err
}

// names are the federations to show although nobody is in them: those that were asked for, but not where members are
// chosen by label. A caller who may not read federations sees those that have members.
func (f *treeFlags) names(ctx context.Context, h *host.Cluster) ([]v1alpha1.FederationName, error) {
	switch {
	case f.selector != "":
		return nil, nil
	case f.federation.name != "":
		return []v1alpha1.FederationName{f.federation.value()}, nil
	}
	federations, err := h.Federations(ctx)
	if apierrors.IsForbidden(err) {
		return nil, nil
	}
	var names []v1alpha1.FederationName
	for i := range federations {
		names = append(names, v1alpha1.FederationName(federations[i].Name))
	}
	return names, err
}

// branch is a federation, a region or a zone, and what is in it.
type branch struct {
	name string
	// members are all that are in it; on the last floor they are its leaves.
	members []*v1alpha1.MemberCluster
	parts   []branch
}

// grow sorts members into federations, these into regions, and these into zones: a member of several stands in all of
// them together, once. Names that have no members are federations of nobody.
func grow(names []v1alpha1.FederationName, members []*v1alpha1.MemberCluster) []branch {
	members = slices.SortedFunc(slices.Values(members), byFederation)
	fleet := split(members, func(m *v1alpha1.MemberCluster) string { return orNone(string(m.Federation())) })
	for _, name := range names {
		if !slices.ContainsFunc(fleet, func(b branch) bool { return b.name == string(name) }) {
			fleet = append(fleet, branch{name: string(name)})
		}
	}
	slices.SortFunc(fleet, func(a, b branch) int { return cmp.Compare(a.name, b.name) })
	for f := range fleet {
		regions := split(fleet[f].members, func(m *v1alpha1.MemberCluster) string { return strings.Join(regionsOf(m), ", ") })
		for r := range regions {
			regions[r].name = cmp.Or(regions[r].name, "unknown region")
			zones := split(regions[r].members, func(m *v1alpha1.MemberCluster) string { return strings.Join(zonesOf(m), ", ") })
			for z := range zones {
				zones[z].name = cmp.Or(zones[z].name, "unknown zone")
			}
			regions[r].parts = zones
		}
		fleet[f].parts = regions
	}
	return fleet
}

// split groups members, in their order, by what place says of them; "" is the last group.
func split(members []*v1alpha1.MemberCluster, place func(m *v1alpha1.MemberCluster) string) []branch {
	var groups []branch
	at := map[string]int{}
	for _, m := range members {
		name := place(m)
		i, known := at[name]
		if !known {
			i = len(groups)
			at[name] = i
			groups = append(groups, branch{name: name})
		}
		groups[i].members = append(groups[i].members, m)
	}
	slices.SortFunc(groups, func(a, b branch) int { return compareKnown(a.name, b.name) })
	return groups
}

// mood is how urgent a phase is, for colours.
type mood int

const (
	good mood = iota
	waits
	bad
)

// moodOf is waits for what a person or the manager brings to an end, and bad for what is broken.
func moodOf(p v1alpha1.Phase) mood {
	switch p {
	case v1alpha1.PhaseReady:
		return good
	case v1alpha1.PhaseOffline, v1alpha1.PhaseNotReady:
		return bad
	}
	return waits
}

// colours says whether stdout shows them: a terminal does, unless its user wants none (https://no-color.org).
func colours(d *factory) bool {
	return printers.IsTerminal(d.Out) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// paint gives a phase its colour (ECMA-48 SGR).
func paint(p v1alpha1.Phase) string {
	code := map[mood]string{good: "32", waits: "33", bad: "31"}[moodOf(p)]
	return "\x1b[" + code + "m" + oneLine(string(p)) + "\x1b[0m"
}

// drawn is a fleet as a tree of text.
func drawn(fleet []branch, now time.Time, coloured bool) string {
	type line struct {
		text   string
		member *v1alpha1.MemberCluster
	}
	var lines []line
	var draw func(parts []branch, leaves []*v1alpha1.MemberCluster, indent string)
	draw = func(parts []branch, leaves []*v1alpha1.MemberCluster, indent string) {
		for i := range parts {
			fork, below := "├── ", "│   "
			if i == len(parts)-1 {
				fork, below = "└── ", "    "
			}
			lines = append(lines, line{text: indent + fork + oneLine(parts[i].name)})
			draw(parts[i].parts, parts[i].members, indent+below)
		}
		for i, m := range leaves {
			if len(parts) > 0 {
				break
			}
			fork := "├── "
			if i == len(leaves)-1 {
				fork = "└── "
			}
			lines = append(lines, line{indent + fork + m.Name, m})
		}
	}
	for _, f := range fleet {
		lines = append(lines, line{text: oneLine(f.name) + " (" + tally(f.members) + ")"})
		draw(f.parts, nil, "")
	}
	name, phase := 0, 0
	for _, l := range lines {
		if l.member != nil {
			name = max(name, utf8.RuneCountInString(l.text))
			phase = max(phase, len(phaseOf(l.member)))
		}
	}
	var b strings.Builder
	for _, l := range lines {
		b.WriteString(l.text)
		if l.member != nil {
			p := phaseOf(l.member)
			b.WriteString(strings.Repeat(" ", name-utf8.RuneCountInString(l.text)+gap))
			if coloured {
				b.WriteString(paint(p))
			} else {
				b.WriteString(oneLine(string(p)))
			}
			if why := causeOf(l.member).short(now); why != "" {
				b.WriteString(strings.Repeat(" ", phase-len(p)+gap) + oneLine(why))
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// mermaidClasses are the looks of members in a flowchart, readable on light and dark pages.
const mermaidClasses = `  classDef good fill:#d3f9d8,stroke:#2b8a3e,color:#1b1b1b
  classDef waits fill:#fff3bf,stroke:#e67700,color:#1b1b1b
  classDef bad fill:#ffe3e3,stroke:#c92a2a,color:#1b1b1b
`

// mermaid is a fleet as a flowchart. It holds no times, so that the same fleet gives the same text.
func mermaid(fleet []branch) string {
	var b strings.Builder
	b.WriteString("flowchart LR\n")
	var draw func(parts []branch, leaves []*v1alpha1.MemberCluster, id string)
	draw = func(parts []branch, leaves []*v1alpha1.MemberCluster, id string) {
		for i := range parts {
			own := fmt.Sprintf("%s_%d", id, i+1)
			fmt.Fprintf(&b, "  %s --> %s[\"%s\"]\n", id, own, mermaidLines(strings.Split(parts[i].name, ", ")))
			draw(parts[i].parts, parts[i].members, own)
		}
		for i, m := range leaves {
			if len(parts) > 0 {
				break
			}
			said := []string{m.Name, string(phaseOf(m))}
			if why := causeOf(m).Reason; why != "" {
				said = append(said, why)
			}
			class := map[mood]string{good: "good", waits: "waits", bad: "bad"}[moodOf(phaseOf(m))]
			fmt.Fprintf(&b, "  %s --> %s_%d([\"%s\"]):::%s\n", id, id, i+1, mermaidLines(said), class)
		}
	}
	for i, f := range fleet {
		id := fmt.Sprintf("f%d", i+1)
		said := phaseCounts(f.members)
		if len(said) == 0 {
			said = []string{tally(nil)}
		}
		fmt.Fprintf(&b, "  %s[\"%s\"]\n", id, mermaidLines(append([]string{f.name}, said...)))
		draw(f.parts, nil, id)
	}
	b.WriteString(mermaidClasses)
	return b.String()
}

// mermaidLines are the lines in a box. What belongs together stands in a line of its own: a longer one is broken at any blank
// or dash.
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
	runes := []rune(oneLine(text))
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
