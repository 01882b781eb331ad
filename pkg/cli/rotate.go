package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/discover"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

type rotateFlags struct {
	member      memberFlags
	allContexts bool
	federation  federationFlag
	selector    string
	all         bool
	lifetime    time.Duration
	timeout     time.Duration
	dryRun      dryRunFlag
	output      outputFlags
}

func newRotate(d *factory) *cobra.Command {
	f := &rotateFlags{output: newOutputFlags()}
	cmd := &cobra.Command{
		Use:     "rotate NAME --member-context CONTEXT",
		GroupID: groupMembers,
		Short:   "Give the host a new credential for members, and revoke the old one",
		Long: `Give the host a new credential for members, and revoke the old one.

The new credential is issued by the member, tried, and stored on the host. Then the old one is revoked, and the
command returns when the member refuses it, some ten seconds later: API servers remember that long that they
took a token. Until the new one is stored, a failure leaves the old one stored and valid. A rotation that was cut
off is finished by running it again.

It takes the right to create and delete Secrets and to issue tokens in namespace kubefederate-member of the
member, which the host's own credential does not have, so you show the way to the member: for one member with
--member-context; for many with --all-contexts, which asks every context of the kubeconfig which cluster it
leads to. On the host it takes the verb join on the federation. Members are done one after another.`,
		Example: `  # Replace the credential of us-east
  kubectl federate rotate us-east --member-context us-east

  # Of every member of prod, each by the context that leads to it
  kubectl federate rotate --federation prod --all-contexts

  # A credential that is good for a week; see the plan first
  kubectl federate rotate us-east --member-context us-east --token-lifetime 168h --dry-run=server`,
		ValidArgsFunction: completeMembers(d),
		RunE:              func(cmd *cobra.Command, args []string) error { return f.run(cmd.Context(), d, args) },
	}
	f.member.add(cmd.Flags())
	f.member.complete(cmd)
	f.federation.add(cmd, d, "All members of this federation")
	flags := cmd.Flags()
	flags.BoolVar(&f.allContexts, "all-contexts", false, "Find each member among all contexts of the kubeconfig, by its cluster ID")
	flags.StringVarP(&f.selector, "selector", "l", "", "Members whose labels match this selector")
	flags.BoolVar(&f.all, "all", false, "All members")
	addLifetime(flags, &f.lifetime)
	flags.DurationVar(&f.timeout, "timeout", 2*time.Minute, "How long one member may take")
	f.dryRun.add(cmd)
	f.output.add(cmd)
	return cmd
}

func (f *rotateFlags) validate(names []string) error {
	many := f.selector != "" || f.all || f.federation.name != ""
	switch {
	case len(names) == 0 && !many:
		return usagef("no member named; name some, or use --selector, --federation or --all")
	case len(names) > 0 && many:
		return usagef("members are named, or chosen by --selector, --federation or --all, not both")
	case f.member.context != "" && f.allContexts:
		return usagef("the member is shown by --member-context, or found by --all-contexts, not both")
	case f.member.context != "" && len(names) != 1:
		return usagef("--member-context leads to one member: name that one, or let --all-contexts find them")
	case f.member.context == "" && !f.allContexts:
		return usagef("the member cluster is never guessed: name it with --member-context, or let --all-contexts find it by its cluster ID")
	}
	for _, name := range names {
		if err := checkName("member", name); err != nil {
			return err
		}
	}
	if err := checkLifetime(f.lifetime); err != nil {
		return err
	}
	return f.output.check()
}

// wayIn is how the caller reaches a member.
type wayIn struct {
	context string
	cluster *member.Cluster
}

func (f *rotateFlags) run(ctx context.Context, d *factory, names []string) error {
	if err := f.validate(names); err != nil {
		return err
	}
	dryRun, err := f.dryRun.parse()
	if err != nil {
		return err
	}
	h, err := d.host()
	if err != nil {
		return err
	}
	members, err := selectMembers(ctx, h, names, host.MemberQuery{Federation: f.federation.value(), Selector: f.selector})
	if err != nil {
		return whileReading(ctx, err)
	}
	if len(members) == 0 {
		if f.federation.name != "" {
			// An empty answer for a mistyped name would read as done.
			if _, err := h.Federation(ctx, f.federation.value()); err != nil {
				return err
			}
		}
		fmt.Fprintln(d.ErrOut, "No members found")
		return nil
	}
	ways, err := f.waysIn(ctx, d, members)
	if err != nil {
		return whileReading(ctx, err)
	}
	var done []v1alpha1.MemberCluster
	var failed []error
	for i := range members {
		err := f.rotate(aboutOne(ctx, members, i), d, h, &members[i], ways[members[i].Spec.ClusterID], dryRun)
		if err == nil {
			done = append(done, members[i])
			continue
		}
		if len(members) == 1 {
			return err
		}
		printError(d.ErrOut, err)
		failed = append(failed, err)
	}
	if *f.output.OutputFormat != "" && dryRun == federate.DryRunNone && len(done) > 0 {
		if err := printMembers(d, f.output, done); err != nil {
			return err
		}
	}
	return someFailed(len(done), failed, "rotated")
}

// waysIn are the ways to the members' clusters, by cluster ID.
func (f *rotateFlags) waysIn(ctx context.Context, d *factory, members []v1alpha1.MemberCluster) (map[string]wayIn, error) {
	if !f.allContexts {
		m, err := f.member.connect(d)
		if err != nil {
			return nil, err
		}
		return map[string]wayIn{members[0].Spec.ClusterID: {f.member.context, m}}, nil
	}
	observations, err := f.member.observations(ctx, d)
	if err != nil {
		return nil, err
	}
	ways := map[string]wayIn{}
	for _, s := range observations {
		if s.Err != nil {
			continue
		}
		if _, found := ways[string(s.Answer.ID)]; found {
			continue // the first context by name is as good as any other
		}
		m, err := s.Connect()
		if err != nil {
			return nil, err
		}
		ways[string(s.Answer.ID)] = wayIn{s.Name, m}
	}
	return ways, nil
}

// contextsTimeout is how long the contexts of a kubeconfig have to answer, all together.
const contextsTimeout = 10 * time.Second

// observations asks every context of the kubeconfig at once which cluster it leads to.
func (f *memberFlags) observations(ctx context.Context, d *factory) ([]discover.Observation, error) {
	raw, err := f.loader(d, "").RawConfig()
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig for members: %w", err)
	}
	candidates, err := discover.Kubeconfig{Config: raw, Connect: func(context string) (*member.Cluster, error) {
		return connectMember(d, f.loader(d, context), context)
	}}.Candidates(ctx)
	if err != nil {
		return nil, err
	}
	progress := newProgress(d, "looking at "+countOf(len(candidates), "context", "contexts"))
	defer progress.end()
	return discover.Probe(ctx, candidates, contextsTimeout, func(n int) {
		progress.update(fmt.Sprintf("%d of %d contexts answered", n, len(candidates)))
	}), nil
}

// rotate replaces the credential of one member.
func (f *rotateFlags) rotate(ctx context.Context, d *factory, h *host.Cluster, m *v1alpha1.MemberCluster, way wayIn, dryRun federate.DryRun) error {
	if way.cluster == nil {
		return fmt.Errorf("member: no context of the kubeconfig leads to member %q (cluster ID %s): name one with --member-context", m.Name, m.Spec.ClusterID)
	}
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	progress := newProgress(d, fmt.Sprintf("replacing the credential of member %q", m.Name))
	defer progress.end()
	step := func(s federate.Step) {
		if s.Verb == federate.VerbWait && !progress.terminal {
			progress.line(strings.TrimSpace(s.String()))
			return
		}
		progress.update(s.String())
	}
	plan, err := federate.PlanRotate(ctx, h, way.cluster, federate.RotateOptions{
		Name: v1alpha1.MemberName(m.Name), TokenLifetime: f.lifetime, DryRun: dryRun, MemberContext: way.context, Progress: step,
	})
	if err != nil {
		progress.end()
		return whileReading(ctx, err)
	}
	progress.notes(plan.Notes)
	if dryRun != federate.DryRunNone {
		progress.end()
		return printPlan(d, f.output, plan)
	}
	result, err := plan.Apply(ctx, step)
	progress.end()
	if err != nil {
		return whileReading(ctx, err)
	}
	progress.notes(result.Notes, plan.Notes...)
	if *f.output.OutputFormat == "" {
		fmt.Fprintf(d.Out, "membercluster.kubefederate.io/%s rotated\n", m.Name)
		fmt.Fprintln(d.ErrOut, expiryLine(result.Expires, "rotate"))
	}
	return nil
}
