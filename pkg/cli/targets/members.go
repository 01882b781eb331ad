package targets

import (
	"cmp"
	"context"
	"fmt"
	"slices"

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

// Select reads the named members, each once and in that order, or those that q selects, by federation and then by name.
func (h Members) Select(ctx context.Context, names []string, q host.MemberQuery) ([]v1alpha1.MemberCluster, error) {
	if len(names) == 0 {
		members, _, err := h.List(ctx, q)
		slices.SortFunc(members, func(a, b v1alpha1.MemberCluster) int { return ByFederation(&a, &b) })
		return members, err
	}
	var members []v1alpha1.MemberCluster
	for i, name := range names {
		if slices.Contains(names[:i], name) {
			continue
		}
		m, err := h.Member(ctx, v1alpha1.MemberName(name))
		if apierrors.IsNotFound(err) && !cluster.IsNotServed(err) {
			return nil, h.NotFound(name)
		}
		if err != nil {
			return nil, err
		}
		members = append(members, *m)
	}
	return members, nil
}

// NotFound is the error of a member that the host does not have.
func (h Members) NotFound(name string) error {
	return fmt.Errorf("host: member %q not found; %s", name, h.Commands.To("list the members", command.Get{}))
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
