package targets

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
)

// SelectFlags choose the members of a command that works on many: by name, or by --federation, --selector and --all.
type SelectFlags struct {
	Federation string
	Selector   string
	All        bool
}

// AddTo adds --selector and --all; --federation has a meaning of its own in each command.
func (f *SelectFlags) AddTo(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&f.Selector, "selector", "l", "", "Members whose labels match this selector")
	cmd.Flags().BoolVar(&f.All, "all", false, "All members")
}

// Given says whether a flag chooses the members.
func (f *SelectFlags) Given() bool { return f.Selector != "" || f.All || f.Federation != "" }

// Validate refuses a choice of no members, and one by both names and flags.
func (f *SelectFlags) Validate(names []string) error {
	switch {
	case len(names) == 0 && !f.Given():
		return output.Usagef("no members specified; give names or use --selector, --federation or --all")
	case len(names) > 0 && f.Given():
		return output.Usagef("give names of members, or use --selector, --federation or --all, but not both")
	}
	return nil
}

// Query is what the flags ask the host for.
func (f *SelectFlags) Query() host.MemberQuery {
	return host.MemberQuery{Federation: v1alpha1.FederationName(f.Federation), Selector: f.Selector}
}

// Members reads members from a host.
type Members struct{ *host.Cluster }

// Select reads the named members, each once and in that order, or those that q selects, by federation and then by name. A Missing error
// comes with those that were found.
func (h Members) Select(ctx context.Context, names []string, q host.MemberQuery) ([]v1alpha1.MemberCluster, error) {
	if len(names) == 0 {
		members, _, err := h.List(ctx, q)
		slices.SortFunc(members, func(a, b v1alpha1.MemberCluster) int { return ByFederation(&a, &b) })
		return members, err
	}
	return byName(names, func(name string) (*v1alpha1.MemberCluster, error) {
		return h.Member(ctx, v1alpha1.MemberName(name))
	}, func(missing []string) error { return h.Missing(ctx, missing) })
}

// byName reads each of the names once.
func byName[T any](names []string, read func(string) (*T, error), missing func([]string) error) (found []T, err error) {
	var absent []string
	for i, name := range names {
		if slices.Contains(names[:i], name) {
			continue
		}
		o, err := read(name)
		switch {
		case apierrors.IsNotFound(err) && !cluster.IsNotServed(err):
			absent = append(absent, name)
		case err != nil:
			return nil, err
		default:
			found = append(found, *o)
		}
	}
	if len(absent) > 0 {
		return found, missing(absent)
	}
	return found, nil
}

// Missing is the error of names that the host does not have.
type Missing struct{ text string }

func (e *Missing) Error() string { return e.text }

// IsMissing says whether err is a Missing error.
func IsMissing(err error) bool {
	_, missing := errors.AsType[*Missing](err)
	return missing
}

// Missing is the error of members that the host does not have. It proposes the nearest name of one.
func (h Members) Missing(ctx context.Context, names []string) error {
	hint := h.Commands.To("list the members", command.Get{})
	if len(names) == 1 {
		if members, _, err := h.ListMembers(ctx, host.MemberQuery{}); err == nil {
			there := make([]string, len(members))
			for i := range members {
				there[i] = members[i].Name
			}
			if nearest, near := rules.Nearest(names[0], there); near {
				hint = fmt.Sprintf("did you mean %q?", nearest)
			}
		}
	}
	return &Missing{fmt.Sprintf("host: %s not found; %s", quoted("member", names), hint)}
}

// quoted are names behind what they are: `member "a"`, `members "a" and "b"`.
func quoted(what string, names []string) string {
	all := make([]string, len(names))
	for i, name := range names {
		all[i] = strconv.Quote(name)
	}
	if len(all) == 1 {
		return what + " " + all[0]
	}
	return what + "s " + strings.Join(all[:len(all)-1], ", ") + " and " + all[len(all)-1]
}

// SelectFederations reads the named federations, each once and in that order, or those whose labels a selector matches. A Missing error
// comes with those that were found.
func (h Members) SelectFederations(ctx context.Context, names []string, selector string) ([]v1alpha1.Federation, error) {
	if len(names) > 0 {
		return byName(names, func(name string) (*v1alpha1.Federation, error) {
			return h.Federation(ctx, v1alpha1.FederationName(name))
		}, func(missing []string) error { return h.missingFederations(ctx, missing) })
	}
	chosen, err := labels.Parse(selector)
	if err != nil {
		return nil, output.Usagef("invalid --selector %q: %w", selector, err)
	}
	federations, err := h.Federations(ctx)
	return slices.DeleteFunc(federations, func(f v1alpha1.Federation) bool { return !chosen.Matches(labels.Set(f.Labels)) }), err
}

func (h Members) missingFederations(ctx context.Context, names []string) error {
	hint := h.Commands.To("list the federations", command.Federations)
	if there, err := h.FederationNames(ctx); err == nil && len(names) == 1 {
		hint = rules.FederationHint(v1alpha1.FederationName(names[0]), there, h.Commands)
	}
	return &Missing{fmt.Sprintf("host: %s not found; %s", quoted("federation", names), hint)}
}

// List reads the members that q selects, and the version of that list.
func (h Members) List(ctx context.Context, q host.MemberQuery) ([]v1alpha1.MemberCluster, string, error) {
	if _, err := labels.Parse(q.Selector); err != nil {
		return nil, "", output.Usagef("invalid --selector %q: %w", q.Selector, err)
	}
	members, version, err := h.ListMembers(ctx, q)
	if err == nil && len(members) == 0 && q.Federation != "" {
		// An empty answer for a mistyped name would read as an empty federation, or as done.
		err = h.HasFederation(ctx, q.Federation)
	}
	return members, version, err
}

// HasFederation refuses a federation that the host does not have, and proposes the nearest. A caller who may not list
// federations may still choose members by one.
func (h Members) HasFederation(ctx context.Context, name v1alpha1.FederationName) error {
	names, err := h.FederationNames(ctx)
	if apierrors.IsForbidden(err) {
		return nil
	}
	if err != nil || slices.Contains(names, name) {
		return err
	}
	return fmt.Errorf("host: federation %q not found; %s", name, rules.FederationHint(name, names, h.Commands))
}

// FederationNames are the names of the host's federations.
func (h Members) FederationNames(ctx context.Context) ([]v1alpha1.FederationName, error) {
	federations, err := h.Federations(ctx)
	names := make([]v1alpha1.FederationName, len(federations))
	for i := range federations {
		names[i] = v1alpha1.FederationName(federations[i].Name)
	}
	return names, err
}

// ByFederation orders members by federation and then by name.
func ByFederation(a, b *v1alpha1.MemberCluster) int {
	return cmp.Or(cmp.Compare(a.Federation(), b.Federation()), cmp.Compare(a.Name, b.Name))
}
