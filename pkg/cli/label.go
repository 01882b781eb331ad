package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

type labelFlags struct {
	member    memberFlags
	members   selectFlags
	remove    bool
	overwrite bool
	list      bool
	dryRun    dryRunFlag
	output    outputFlags
}

func newLabel(d *factory) *cobra.Command {
	f := &labelFlags{output: newOutputFlags()}
	cmd := &cobra.Command{
		Use:     "label (--member-context CONTEXT --federation NAME | MEMBER... KEY=VALUE... KEY-...)",
		GroupID: groupMembers,
		Short:   "Label a cluster with the federation it asks to join, or label members",
		Long: `Label a cluster with the federation it asks to join, or label members.

With --member-context the label kubefederate.io/federation=NAME is written on the cluster itself, on its
kube-system namespace (where the platform forbids that, on the namespace kubefederate-member).
'kubectl federate discover' finds it there. Otherwise labels of members on the host are changed, as
kubectl label does; the rules of their federation are checked by the host.`,
		Example: `  # Let the cluster of context us-west ask to join prod
  kubectl federate label --member-context us-west --federation prod

  # Remove the label
  kubectl federate label --member-context us-west --remove

  # Label a member; change a label; remove one
  kubectl federate label us-east example.com/team=web
  kubectl federate label us-east example.com/team=db --overwrite
  kubectl federate label us-east example.com/team-

  # Label every member of a federation, and list their labels
  kubectl federate label --all --federation prod example.com/tier=gold
  kubectl federate label --all --list`,
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd.Context(), d, args) },
	}
	f.member.add(cmd.Flags())
	f.member.complete(cmd)
	f.members.add(cmd, d, "The federation that the cluster asks to join; with members, only those of this federation")
	flags := cmd.Flags()
	flags.BoolVar(&f.remove, "remove", false, "Remove the cluster's federation label")
	flags.BoolVar(&f.overwrite, "overwrite", false, "Change labels that have another value")
	flags.BoolVar(&f.list, "list", false, "Print the members' labels")
	f.dryRun.add(cmd)
	f.output.add(cmd)
	return cmd
}

func (f *labelFlags) run(ctx context.Context, d *factory, args []string) error {
	dryRun, err := f.dryRun.parse()
	if err != nil {
		return err
	}
	if err := f.output.check(); err != nil {
		return err
	}
	if f.member.given() {
		return f.runJoinRequest(ctx, d, args, dryRun)
	}
	if f.remove {
		return usagef("--remove goes with --member-context; to remove a label of a member, write KEY-")
	}
	return f.runMembers(ctx, d, args, dryRun)
}

// runJoinRequest writes the federation label on the cluster itself.
func (f *labelFlags) runJoinRequest(ctx context.Context, d *factory, args []string, dryRun federate.DryRun) error {
	switch {
	case len(args) > 0:
		return usagef("with --member-context the cluster itself is labelled: no member and no other label can be named (%s)", strings.Join(args, " "))
	case f.members.selector != "" || f.members.all || f.list || f.overwrite:
		return usagef("--selector, --all, --list and --overwrite go with members, not with --member-context")
	case f.remove == (f.members.federation.name != ""):
		return usagef("with --member-context one of --federation and --remove is needed")
	}
	if !f.remove {
		if err := checkName("federation", f.members.federation.name); err != nil {
			return err
		}
	}
	if _, ok := map[string]bool{"": true, "json": true, "yaml": true, "name": true}[*f.output.OutputFormat]; !ok {
		return usagef("-o %s goes with members; with --member-context it is json, yaml or name", *f.output.OutputFormat)
	}
	m, err := f.member.connect(d)
	if err != nil {
		return err
	}
	request, err := f.writeJoinRequest(ctx, m, dryRun)
	if err != nil {
		return err
	}
	switch *f.output.OutputFormat {
	case "json", "yaml":
		return printData(d.Out, *f.output.OutputFormat, request)
	case "name":
		_, err := fmt.Fprintf(d.Out, "cluster/%s\n", f.member.context)
		return err
	}
	verb := "labeled"
	if f.remove {
		verb = "unlabeled"
	}
	if !request.Changed {
		verb = "not " + verb
	}
	fmt.Fprintf(d.Out, "cluster/%s %s%s\n", f.member.context, verb, dryRunSuffix(dryRun))
	if request.Namespace != v1alpha1.IdentityNamespace && request.Namespace != "" {
		fmt.Fprintf(d.ErrOut, "the label is on namespace %s, since this cluster does not let you label %s\n", request.Namespace, v1alpha1.IdentityNamespace)
	}
	if !f.remove {
		fmt.Fprintf(d.ErrOut, "the cluster asks to join %q; to join it: %s discover --join\n", f.members.federation.name, d.name)
	}
	return nil
}

// joinRequestResult is what `label --member-context -o json` prints.
type joinRequestResult struct {
	APIVersion string                  `json:"apiVersion"`
	Kind       string                  `json:"kind"`
	Context    string                  `json:"context"`
	Federation v1alpha1.FederationName `json:"federation,omitempty"`
	Namespace  string                  `json:"namespace,omitempty"`
	Changed    bool                    `json:"changed"`
}

func (f *labelFlags) writeJoinRequest(ctx context.Context, m *member.Cluster, dryRun federate.DryRun) (joinRequestResult, error) {
	self, err := m.Self(ctx)
	if err != nil {
		return joinRequestResult{}, err
	}
	before, after := self.JoinRequest, self.JoinRequest
	changed := before.Federation != f.members.federation.value() || before.Left != ""
	if changed && dryRun != federate.DryRunClient {
		if f.remove {
			_, err = m.RemoveJoinRequest(ctx, dryRun)
		} else {
			after, err = m.SetJoinRequest(ctx, f.members.federation.value(), dryRun)
		}
		if err != nil {
			return joinRequestResult{}, err
		}
	}
	return joinRequestResult{
		APIVersion: outputAPIVersion, Kind: "JoinRequest", Context: f.member.context,
		Federation: f.members.federation.value(), Namespace: after.Namespace, Changed: changed,
	}, nil
}

// labelChange is what the words KEY=VALUE and KEY- ask for.
type labelChange struct {
	set    map[string]string
	remove []string
}

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
			if len(change.set)+len(change.remove) > 0 {
				return nil, change, usagef("member %q stands after the labels; members come first", arg)
			}
			names = append(names, arg)
			continue
		}
		if errs := validation.IsQualifiedName(key); len(errs) > 0 {
			return nil, change, usagef("%q is no label key: %s", key, errs[0])
		}
		if errs := validation.IsValidLabelValue(value); len(errs) > 0 {
			return nil, change, usagef("%q is no value for label %s: %s", value, key, errs[0])
		}
		if _, twice := change.set[key]; twice || slices.Contains(change.remove, key) {
			return nil, change, usagef("label %s is named twice", key)
		}
		if remove {
			change.remove = append(change.remove, key)
		} else {
			change.set[key] = value
		}
	}
	return names, change, nil
}

func (f *labelFlags) runMembers(ctx context.Context, d *factory, args []string, dryRun federate.DryRun) error {
	names, change, err := parseLabelArgs(args)
	if err != nil {
		return err
	}
	if err := f.members.check(names); err != nil {
		return err
	}
	if len(change.set)+len(change.remove) == 0 && !f.list {
		return usagef("no label given: KEY=VALUE sets one, KEY- removes one, --list prints them")
	}
	h, err := d.host()
	if err != nil {
		return err
	}
	members, err := f.members.members(ctx, d, h, names)
	if err != nil || len(members) == 0 {
		return err
	}
	if len(change.set)+len(change.remove) > 0 {
		if members, err = f.change(ctx, d, h, members, change, dryRun); err != nil {
			return err
		}
	}
	if *f.output.OutputFormat != "" {
		return printMembers(d, f.output, members)
	}
	if f.list {
		return listLabels(d, members)
	}
	return nil
}

// change labels every member and goes on when one is refused, as kubectl label does.
func (f *labelFlags) change(ctx context.Context, d *factory, h *host.Cluster, members []v1alpha1.MemberCluster, change labelChange, dryRun federate.DryRun) ([]v1alpha1.MemberCluster, error) {
	var failed []error
	var done []v1alpha1.MemberCluster
	for i := range members {
		m := &members[i]
		changed, err := f.changeOne(aboutOne(ctx, members, i), h, m, change, dryRun)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		done = append(done, *m)
		if *f.output.OutputFormat == "" && !f.list {
			verb := "labeled"
			if !changed {
				verb = "not labeled"
			}
			fmt.Fprintf(d.Out, "membercluster.kubefederate.io/%s %s%s\n", m.Name, verb, dryRunSuffix(dryRun))
		}
	}
	if len(failed) == 0 {
		return done, nil
	}
	if len(failed) == 1 && len(members) == 1 {
		return nil, failed[0]
	}
	for _, err := range failed {
		printError(d.ErrOut, err)
	}
	return nil, someFailed(len(done), failed, "labeled")
}

// changeOne labels m and leaves in it what the server answered.
func (f *labelFlags) changeOne(ctx context.Context, h *host.Cluster, m *v1alpha1.MemberCluster, change labelChange, dryRun federate.DryRun) (bool, error) {
	set := map[string]string{}
	for key, value := range change.set {
		old, had := m.Labels[key]
		if had && old == value {
			continue
		}
		if had && !f.overwrite {
			return false, usagef("member %q already has label %s=%s; change it with --overwrite", m.Name, key, old)
		}
		set[key] = value
	}
	remove := slices.DeleteFunc(slices.Clone(change.remove), func(key string) bool {
		_, had := m.Labels[key]
		return !had
	})
	if len(set)+len(remove) == 0 {
		return false, nil
	}
	if dryRun == federate.DryRunClient {
		maps.Copy(m.Labels, set)
		maps.DeleteFunc(m.Labels, func(key, _ string) bool { return slices.Contains(remove, key) })
		return true, nil
	}
	labelled, err := h.LabelMember(ctx, m, set, remove, dryRun)
	if err != nil {
		return false, err
	}
	*m = *labelled
	return true, nil
}

func listLabels(d *factory, members []v1alpha1.MemberCluster) error {
	for i := range members {
		m := &members[i]
		if len(members) > 1 {
			fmt.Fprintf(d.Out, "Listing labels for MemberCluster/%s:\n", m.Name)
		}
		for _, line := range sortedLabels(m.Labels) {
			indent := ""
			if len(members) > 1 {
				indent = " "
			}
			fmt.Fprintf(d.Out, "%s%s\n", indent, printable(line))
		}
	}
	return nil
}

func sortedLabels(labels map[string]string) []string {
	var lines []string
	for key, value := range labels {
		lines = append(lines, key+"="+value)
	}
	slices.Sort(lines)
	return lines
}
