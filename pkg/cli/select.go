package cli

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
)

// selectFlags choose the members of a command that works on many: by name, or by --federation, --selector and
// --all.
type selectFlags struct {
	federation federationFlag
	selector   string
	all        bool
}

// add adds the flags; usage is that of --federation.
func (f *selectFlags) add(cmd *cobra.Command, d *factory, usage string) {
	f.federation.add(cmd, d, usage)
	cmd.Flags().StringVarP(&f.selector, "selector", "l", "", "Members whose labels match this selector")
	cmd.Flags().BoolVar(&f.all, "all", false, "All members")
	cmd.ValidArgsFunction = completeMembers(d)
}

// many says whether a flag chooses the members.
func (f *selectFlags) many() bool { return f.selector != "" || f.all || f.federation.name != "" }

// check refuses to choose nobody, and to choose twice.
func (f *selectFlags) check(names []string) error {
	switch {
	case len(names) == 0 && !f.many():
		return usagef("no member named; name some, or use --selector, --federation or --all")
	case len(names) > 0 && f.many():
		return usagef("members are named, or chosen by --selector, --federation or --all, not both")
	}
	return nil
}

// members reads the members that were chosen and tells when there are none.
func (f *selectFlags) members(ctx context.Context, d *factory, h *host.Cluster, names []string) ([]v1alpha1.MemberCluster, error) {
	members, err := selectMembers(ctx, h, names, host.MemberQuery{Federation: f.federation.value(), Selector: f.selector})
	if err == nil && len(members) == 0 {
		fmt.Fprintln(d.ErrOut, "No members found")
	}
	return members, err
}

// selectMembers reads the named members, each once and in that order, or those that q selects, by federation and then by name.
func selectMembers(ctx context.Context, h *host.Cluster, names []string, q host.MemberQuery) ([]v1alpha1.MemberCluster, error) {
	if len(names) == 0 {
		members, _, err := listMembers(ctx, h, q)
		sorted := pointers(members)
		slices.SortFunc(sorted, byFederation)
		return values(sorted), err
	}
	var members []v1alpha1.MemberCluster
	for i, name := range names {
		if slices.Contains(names[:i], name) {
			continue
		}
		m, err := h.Member(ctx, v1alpha1.MemberName(name))
		if apierrors.IsNotFound(err) && !cluster.IsNotServed(err) {
			return nil, noMember(name)
		}
		if err != nil {
			return nil, err
		}
		members = append(members, *m)
	}
	return members, nil
}

func noMember(name string) error {
	return fmt.Errorf("host: there is no member %q; kubectl federate get lists them", name)
}

// listMembers reads the members that q selects, and the version of that list.
func listMembers(ctx context.Context, h *host.Cluster, q host.MemberQuery) ([]v1alpha1.MemberCluster, string, error) {
	if _, err := labels.Parse(q.Selector); err != nil {
		return nil, "", usagef("--selector=%q: %w", q.Selector, err)
	}
	members, version, err := h.MembersAt(ctx, q)
	if err == nil && len(members) == 0 && q.Federation != "" {
		// An empty answer for a mistyped name would read as an empty federation, or as done.
		err = knownFederation(ctx, h, q.Federation)
	}
	return members, version, err
}

// knownFederation refuses a federation that the host does not have, with the nearest that it has. A caller who
// may not read federations may still choose members by one.
func knownFederation(ctx context.Context, h *host.Cluster, name v1alpha1.FederationName) error {
	federations, err := h.Federations(ctx)
	if apierrors.IsForbidden(err) {
		return nil
	}
	if err != nil {
		return err
	}
	names := make([]v1alpha1.FederationName, len(federations))
	for i := range federations {
		names[i] = v1alpha1.FederationName(federations[i].Name)
	}
	if slices.Contains(names, name) {
		return nil
	}
	return fmt.Errorf("host: there is no federation %q; %s", name,
		rules.Hint(name, names, "make it with kubectl federate create federation "+string(name)))
}
