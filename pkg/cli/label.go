package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/cli/targets"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

const labelHelp = `Label a cluster with the federation that it asks to join, or label members.

With --member-context the label kubefederate.io/federation=NAME is written on the cluster itself, on its
kube-system namespace (where the platform forbids that, on the namespace kubefederate-member).
'kubectl federate discover' finds it there. Otherwise labels of members on the host are changed, as
kubectl label does; the rules of their federation are checked by the host.`

const labelExample = `  # Let the cluster of context us-west ask to join prod
  kubectl federate label --member-context us-west --federation prod

  # Let it ask to join another one
  kubectl federate label --member-context us-west --federation test --overwrite

  # Remove the label
  kubectl federate label --member-context us-west --remove

  # Label a member; change a label; remove one
  kubectl federate label us-east example.com/team=web
  kubectl federate label us-east example.com/team=db --overwrite
  kubectl federate label us-east example.com/team-

  # Label every member of a federation, and list their labels
  kubectl federate label --all --federation prod example.com/tier=gold
  kubectl federate label --all --list`

// labelFlags are what was typed.
type labelFlags struct {
	changeFlags
	member    targets.MemberFlags
	remove    bool
	overwrite bool
	list      bool
}

func newLabel(d *factory) *cobra.Command {
	f := &labelFlags{changeFlags: newChangeFlags(d)}
	cmd := &cobra.Command{
		Use:     "label (--member-context CONTEXT --federation NAME | MEMBER... KEY=VALUE... KEY-...)",
		GroupID: groupMembers,
		Short:   "Label a cluster with the federation that it asks to join, or label members",
		Long:    labelHelp,
		Example: labelExample,
		RunE:    runs(f.toOptions),
	}
	f.member.AddTo(cmd, &d.hostFlags)
	f.addTo(cmd, "The federation that the cluster asks to join; with members, only those of this federation")
	flags := cmd.Flags()
	flags.BoolVar(&f.remove, "remove", false, "Remove the cluster's federation label")
	flags.BoolVar(&f.overwrite, "overwrite", false, "Change labels that have another value")
	flags.BoolVar(&f.list, "list", false, "Print the members' labels")
	return cmd
}

// toOptions are joinRequestOptions when a cluster is named, and else labelOptions.
func (f *labelFlags) toOptions(_ *cobra.Command, args []string) (options, error) {
	if f.member.Given() {
		return &joinRequestOptions{*f, args}, nil
	}
	names, change, err := parseLabelArgs(args)
	o := &labelOptions{*f, change}
	if err == nil {
		o.names, err = targets.Names(names)
	}
	return o, err
}

// joinRequestOptions label a cluster itself, which asks to join.
type joinRequestOptions struct {
	labelFlags
	args []string
}

func (o *joinRequestOptions) validate() error {
	switch {
	case len(o.args) > 0:
		return output.Usagef("with --member-context the cluster itself is labeled: leave out members and other labels (%s)", strings.Join(o.args, " "))
	case o.selection.Selector != "" || o.selection.All || o.list:
		return output.Usagef("--selector, --all and --list are for members: leave them out with --member-context")
	case o.member.Context == "":
		return output.Usagef("--member-context is required; there is no default for the member cluster")
	case o.remove == (o.selection.Federation != ""):
		return output.Usagef("with --member-context exactly one of --federation and --remove is required")
	}
	var err error
	if !o.remove {
		err = validateName("federation", o.selection.Federation)
	}
	return cmp.Or(err, o.output.ValidateMany(), o.batch.Validate())
}

func (o *joinRequestOptions) run(ctx context.Context) error {
	contexts, err := o.member.Contexts(&o.hostFlags)
	if err != nil {
		return err
	}
	m, err := contexts.Connect(o.member.Context)
	if err != nil {
		return err
	}
	ctx, cancel := targets.WithTimeout(ctx, o.batch.Timeout)
	defer cancel()
	var request joinRequestResult
	var unknown error
	errs := cluster.Together(
		func() (err error) { request, err = o.write(ctx, m); return err },
		func() error { unknown = o.unknownFederation(ctx); return nil },
	)
	if unknown != nil {
		output.Linef(o.ErrOut, "Warning: %s", unknown)
	}
	if errs[0] != nil {
		return errs[0]
	}
	switch {
	case o.output.Data():
		return o.output.Print(o.Out, request)
	case o.output.Value == output.Name:
		output.Linef(o.Out, "cluster/%s", o.member.Context)
		return nil
	}
	verb := "labeled"
	if o.remove {
		verb = "unlabeled"
	}
	if !request.Changed {
		verb = "not " + verb
	}
	output.Linef(o.Out, "cluster/%s %s%s", o.member.Context, verb, dryRunSuffix(o.dryRun))
	if !o.remove && request.Namespace != v1alpha1.IdentityNamespace && request.Namespace != "" {
		output.Linef(o.ErrOut, "the label is on namespace %s, since this cluster does not let you label namespace %s", request.Namespace, v1alpha1.IdentityNamespace)
	}
	if !o.remove && o.dryRun == cluster.DryRunNone {
		o.hint(o.membership(ctx, m))
	}
	return nil
}

// membership is the cluster's membership on the host, for a hint; nil where it has none, or that is not known.
func (o *joinRequestOptions) membership(ctx context.Context, m *member.Cluster) *member.Membership {
	k, err := m.Membership(ctx)
	if k == nil || err != nil {
		return nil
	}
	h, err := o.members()
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, federationTimeout)
	defer cancel()
	if id, err := h.ID(ctx); err != nil || id != k.HostID {
		return nil
	}
	return k
}

// hint says what comes after the label, which a member of another federation does not follow.
func (o *joinRequestOptions) hint(k *member.Membership) {
	federation := v1alpha1.FederationName(o.selection.Federation)
	switch {
	case k == nil:
		output.Line(o.ErrOut, o.commands().To(fmt.Sprintf("labeled for federation %q; to join it now, run", federation),
			command.Discover{Federation: federation, Join: true}))
	case k.Federation != federation:
		output.Line(o.ErrOut, o.commands().To(fmt.Sprintf("labeled for federation %q, and a member of %q still; to move it, run", federation, k.Federation),
			command.Move{Member: k.Member, Federation: federation, Cluster: command.Cluster{Context: o.member.Context, Kubeconfig: o.member.Kubeconfig}}))
	}
}

// federationTimeout is how long the host is asked for a federation by a command that needs no host.
const federationTimeout = 5 * time.Second

// unknownFederation says that the host has no federation of the name; nil where it has, or does not say: the label may be written
// before there is a host.
func (o *joinRequestOptions) unknownFederation(ctx context.Context) error {
	if o.remove {
		return nil
	}
	h, err := o.members()
	if err != nil {
		return nil //nolint:nilerr // the label is written without a host
	}
	ctx, cancel := context.WithTimeout(ctx, federationTimeout)
	defer cancel()
	err = h.HasFederation(ctx, v1alpha1.FederationName(o.selection.Federation))
	if _, unread := errors.AsType[*cluster.Error](err); unread || errors.Is(err, host.ErrNotInitialised) {
		return nil
	}
	return err
}

// joinRequestResult is what `label --member-context -o json` prints.
type joinRequestResult struct {
	output.TypeMeta
	Context    string                  `json:"context"`
	Federation v1alpha1.FederationName `json:"federation,omitempty"`
	Namespace  string                  `json:"namespace,omitempty"`
	Changed    bool                    `json:"changed"`
}

// write sets or removes the label, unless that is already so.
func (o *joinRequestOptions) write(ctx context.Context, m *member.Cluster) (joinRequestResult, error) {
	federation := v1alpha1.FederationName(o.selection.Federation)
	self, err := m.Self(ctx)
	if err != nil {
		return joinRequestResult{}, err
	}
	before, after := self.JoinRequest, self.JoinRequest
	if !o.remove && !o.overwrite && before.Federation != "" && before.Federation != federation {
		return joinRequestResult{}, output.Usagef("the cluster of context %q already has label %s=%s; change it with --overwrite", o.member.Context, v1alpha1.LabelFederation, before.Federation)
	}
	changed := before.Federation != federation || before.Left != ""
	if changed && o.dryRun != cluster.DryRunClient {
		if o.remove {
			_, err = m.RemoveLabelAndNamespace(ctx, o.dryRun)
		} else {
			after, err = m.SetJoinRequest(ctx, federation, o.dryRun)
		}
		if err != nil {
			return joinRequestResult{}, err
		}
	}
	return joinRequestResult{
		TypeMeta: output.Kind("JoinRequest"), Context: o.member.Context,
		Federation: federation, Namespace: after.Namespace, Changed: changed,
	}, nil
}

// labelOptions label members.
type labelOptions struct {
	labelFlags
	change labelChange
}

// labelChange is what the words KEY=VALUE and KEY- ask for.
type labelChange struct {
	set    map[string]string
	remove []string
}

func (c labelChange) empty() bool { return len(c.set)+len(c.remove) == 0 }

// parseLabelArgs splits MEMBER… KEY=VALUE… KEY-….
func parseLabelArgs(args []string) (names []string, change labelChange, err error) {
	change.set = map[string]string{}
	for _, arg := range args {
		key, value, set := strings.Cut(arg, "=")
		remove := !set && strings.HasSuffix(arg, "-")
		if remove {
			key = strings.TrimSuffix(arg, "-")
		}
		if !set && !remove {
			if !change.empty() {
				return nil, change, output.Usagef("member %q follows the labels; name members first", arg)
			}
			names = append(names, arg)
			continue
		}
		if err := validateLabel(key, value); err != nil {
			return nil, change, err
		}
		if _, twice := change.set[key]; twice || slices.Contains(change.remove, key) {
			return nil, change, output.Usagef("label %s is named twice", key)
		}
		if remove {
			change.remove = append(change.remove, key)
		} else {
			change.set[key] = value
		}
	}
	return names, change, nil
}

// validateLabel refuses what is not valid as a label.
func validateLabel(key, value string) error {
	if errs := validation.IsQualifiedName(key); len(errs) > 0 {
		return output.Usagef("invalid label key %q: %s", key, errs[0])
	}
	if errs := validation.IsValidLabelValue(value); len(errs) > 0 {
		return output.Usagef("invalid value %q for label %s: %s", value, key, errs[0])
	}
	return nil
}

func (o *labelOptions) validate() error {
	if o.remove {
		return output.Usagef("--remove needs --member-context; to remove a label of a member, write KEY-")
	}
	if federation := o.selection.Federation; federation != "" && len(o.names) > 0 && o.change.empty() {
		return output.Usagef("%s", o.commands().To("--federation chooses members, whose names are left out then; to have a cluster ask to join, run",
			command.Label{Federation: v1alpha1.FederationName(federation)}))
	}
	err := o.changeFlags.validate()
	if err == nil && o.change.empty() && !o.list {
		err = output.Usagef("no label given: KEY=VALUE sets one, KEY- removes one, --list prints them")
	}
	return err
}

func (o *labelOptions) run(ctx context.Context) error {
	h, members, err := o.selected(ctx, o.names, o.selection)
	if err != nil || len(members) == 0 {
		return err
	}
	if !o.change.empty() {
		members, err = o.changeMembers(ctx, members, o.output.Value != "" || o.list, "labeled", func(ctx context.Context, m *v1alpha1.MemberCluster) (string, error) {
			return o.label(ctx, h.Cluster, m)
		})
		if err != nil {
			return err
		}
	}
	if o.output.Value != "" {
		return o.output.Members(o.Out, members, len(o.names) == 1)
	}
	if o.list {
		o.print(members)
	}
	return nil
}

// label labels m and leaves in it what the server returned. Where m has changed since it was read, as it does with each report of
// the manager, it is read and judged again: no label that another person has set meanwhile is overwritten unasked.
func (o *labelOptions) label(ctx context.Context, h *host.Cluster, m *v1alpha1.MemberCluster) (did string, err error) {
	for {
		did, err = o.labelAsRead(ctx, h, m)
		if !apierrors.IsConflict(err) {
			return did, err
		}
		now, unread := h.Member(ctx, v1alpha1.MemberName(m.Name))
		switch {
		case unread != nil:
			return "", unread
		case now.UID != m.UID:
			return "", fmt.Errorf("member %q was deleted and made anew meanwhile, so it was not labeled: %w", m.Name, err)
		case now.ResourceVersion == m.ResourceVersion:
			return "", err // something else is in the way
		}
		*m = *now
	}
}

// labelAsRead labels m as it was read. If it has changed since, that is a conflict.
func (o *labelOptions) labelAsRead(ctx context.Context, h *host.Cluster, m *v1alpha1.MemberCluster) (did string, err error) {
	set := map[string]string{}
	for key, value := range o.change.set {
		old, had := m.Labels[key]
		if had && old == value {
			continue
		}
		if had && !o.overwrite && key == v1alpha1.LabelFederation {
			return "", output.Usagef("%s", o.commands().To(fmt.Sprintf("member %q is in federation %q; to move it, run", m.Name, old),
				command.Move{Member: v1alpha1.MemberName(m.Name), Federation: v1alpha1.FederationName(value)}))
		}
		if had && !o.overwrite {
			return "", output.Usagef("member %q already has label %s=%s; change it with --overwrite", m.Name, key, old)
		}
		set[key] = value
	}
	remove := slices.DeleteFunc(slices.Clone(o.change.remove), func(key string) bool {
		_, had := m.Labels[key]
		return !had
	})
	switch {
	case len(set)+len(remove) == 0:
		return "not labeled", nil
	case o.dryRun == cluster.DryRunClient:
		maps.Copy(m.Labels, set)
		maps.DeleteFunc(m.Labels, func(key, _ string) bool { return slices.Contains(remove, key) })
		return "labeled", nil
	}
	labeled, err := h.LabelMember(ctx, m, set, remove, o.dryRun)
	if err != nil {
		return "", err
	}
	*m = *labeled
	return "labeled", nil
}

// print lists the labels of members.
func (o *labelOptions) print(members []v1alpha1.MemberCluster) {
	for i := range members {
		indent := ""
		if len(members) > 1 {
			output.Linef(o.Out, "Listing labels for MemberCluster/%s:", members[i].Name)
			indent = " "
		}
		for _, line := range sortedLabels(members[i].Labels) {
			output.Linef(o.Out, "%s%s", indent, line)
		}
	}
}

func sortedLabels(labels map[string]string) []string {
	var lines []string
	for key, value := range labels {
		lines = append(lines, key+"="+value)
	}
	slices.Sort(lines)
	return lines
}
