package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/host"
)

type describeFlags struct {
	federation federationFlag
	selector   string
}

func newDescribe(d *factory) *cobra.Command {
	f := &describeFlags{}
	cmd := &cobra.Command{
		Use:     "describe (NAME... | -l SELECTOR | --federation FEDERATION)",
		GroupID: groupMembers,
		Short:   "Show everything that the host knows of members, or of a federation",
		Long: `Show everything that the host knows of members, or of a federation.

Of a member: how it is, since when and why, and the command that goes on; who joined it; its endpoint,
credential, labels, conditions, and what was seen of it. Violations are what the federation's rules
say of the member as it is now, but for limits, which are about all members together.

Of a federation: its rules, and which members need somebody.`,
		Example: `  # One member
  kubectl federate describe us-east

  # All members of a region
  kubectl federate describe -l topology.kubernetes.io/region=us-east-1

  # A federation
  kubectl federate describe --federation prod`,
		ValidArgsFunction: completeMembers(d),
		RunE:              func(cmd *cobra.Command, args []string) error { return f.run(cmd.Context(), d, args) },
	}
	f.federation.add(cmd, d, "Describe this federation")
	cmd.Flags().StringVarP(&f.selector, "selector", "l", "", "Describe the members whose labels match this selector")
	return cmd
}

func (f *describeFlags) check(names []string) error {
	ways := 0
	for _, way := range []bool{len(names) > 0, f.selector != "", f.federation.name != ""} {
		if way {
			ways++
		}
	}
	switch ways {
	case 0:
		return usagef("nothing named; name members, choose them with --selector, or name a federation with --federation")
	case 1:
		return nil
	}
	return usagef("name members, or choose them with --selector, or name a federation with --federation: one of these")
}

func (f *describeFlags) run(ctx context.Context, d *factory, names []string) error {
	if err := f.check(names); err != nil {
		return err
	}
	h, err := d.host()
	if err != nil {
		return err
	}
	if f.federation.name != "" {
		return describeFederation(ctx, d, h, f.federation.value())
	}
	members, err := selectMembers(ctx, h, names, host.MemberQuery{Selector: f.selector})
	if err != nil {
		return err
	}
	if len(members) == 0 {
		fmt.Fprintln(d.ErrOut, "No members found")
		return nil
	}
	known := map[v1alpha1.FederationName]rulebook{}
	now := time.Now()
	for i := range members {
		m := &members[i]
		name := m.Federation()
		book, read := known[name]
		if !read {
			book, err = readRules(ctx, h, name)
			if err != nil {
				return err
			}
			known[name] = book
		}
		text := memberText(d.name, m, book, now)
		if i > 0 {
			text = "\n\n" + text
		}
		if _, err := fmt.Fprint(d.Out, text); err != nil {
			return err
		}
	}
	return nil
}

// rulebook is a federation, or why its rules cannot be asked.
type rulebook struct {
	federation *v1alpha1.Federation
	missing    string
}

// readRules reads a federation. A caller who may not is shown members all the same.
func readRules(ctx context.Context, h *host.Cluster, name v1alpha1.FederationName) (rulebook, error) {
	if name == "" {
		return rulebook{missing: "it is in no federation"}, nil
	}
	federation, err := h.Federation(ctx, name)
	switch {
	case apierrors.IsForbidden(err):
		return rulebook{missing: fmt.Sprintf("you may not read federation %q", name)}, nil
	case cluster.IsAbsent(err):
		return rulebook{missing: fmt.Sprintf("there is no federation %q", name)}, nil
	case err != nil:
		return rulebook{}, err
	}
	return rulebook{federation: federation}, nil
}

func describeFederation(ctx context.Context, d *factory, h *host.Cluster, name v1alpha1.FederationName) error {
	// Members first: they are refused with the nearest name when there is no federation of this one.
	members, _, err := listMembers(ctx, h, host.MemberQuery{Federation: name})
	if err != nil {
		return err
	}
	federation, err := h.Federation(ctx, name)
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(d.Out, federationText(federation, pointers(members), time.Now()))
	return err
}

// sheet is text as kubectl describe lays it out: names on the left, what is under a name indented.
type sheet struct{ b strings.Builder }

const sheetWidth = 15

// line writes a name and its value.
func (s *sheet) line(name, value string) {
	fmt.Fprintf(&s.b, "%-*s%s\n", sheetWidth, name+":", orNone(oneLine(value)))
}

// under writes a line that belongs to the name above.
func (s *sheet) under(name, value string) {
	fmt.Fprintf(&s.b, "  %-*s%s\n", sheetWidth-2, name+":", orNone(oneLine(value)))
}

// list writes values below their name, or <none> beside it.
func (s *sheet) list(name string, values []string) {
	if len(values) == 0 {
		s.line(name, "")
		return
	}
	s.b.WriteString(name + ":\n")
	for _, v := range values {
		s.b.WriteString("  " + oneLine(v) + "\n")
	}
}

// table writes rows below their name, or <none> beside it; the first row is the header.
func (s *sheet) table(name string, rows [][]string) {
	if len(rows) < 2 {
		s.line(name, "")
		return
	}
	var b strings.Builder
	_ = table(&b, rows)
	s.b.WriteString(name + ":\n")
	for line := range strings.Lines(b.String()) {
		s.b.WriteString("  " + strings.TrimRight(line, " \n") + "\n")
	}
}

func (s *sheet) String() string { return s.b.String() }
