package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/host"
)

// decision is what approve, suspend and resume do to a member, and how they tell it.
type decision struct {
	field host.Decision
	yes   bool
	// done follows a member's name, "already" before it when it was so.
	done string
}

var (
	approval   = decision{host.Accepted, true, "approved"}
	revocation = decision{host.Accepted, false, "revoked"}
	suspension = decision{host.Suspended, true, "suspended"}
	resumption = decision{host.Suspended, false, "resumed"}
)

// made says whether a member is as the decision wants it.
func (x decision) made(m *v1alpha1.MemberCluster) bool { return *x.of(m) == x.yes }

func (x decision) of(m *v1alpha1.MemberCluster) *bool {
	if x.field == host.Accepted {
		return &m.Spec.Accepted
	}
	return &m.Spec.Suspended
}

type decideFlags struct {
	members selectFlags
	dryRun  dryRunFlag
	output  outputFlags
}

func (f *decideFlags) add(cmd *cobra.Command, d *factory) {
	f.output = newOutputFlags()
	f.members.add(cmd, d, "All members of this federation")
	f.dryRun.add(cmd)
	f.output.add(cmd)
}

func newApprove(d *factory) *cobra.Command {
	f := &decideFlags{}
	revoke := false
	cmd := &cobra.Command{
		Use:     "approve NAME...",
		GroupID: groupMembers,
		Short:   "Accept members of a federation that accepts by hand",
		Long: `Accept members of a federation that accepts by hand.

A cluster that joins a federation with acceptance Manual is Pending until it is approved: it is not offered to
anybody. To approve takes the verb approve on the federation, and no right to join clusters. A federation with
acceptance Automatic asks for nothing. A cluster that leaves and joins again is approved again.`,
		Example: `  # See who waits, and accept one
  kubectl federate get --federation prod
  kubectl federate approve us-east

  # Accept everything that waits in a region
  kubectl federate approve --federation prod -l topology.kubernetes.io/region=us-east-1

  # Take it back: the member is Pending again
  kubectl federate approve us-east --revoke`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if revoke {
				return f.run(cmd.Context(), d, args, revocation)
			}
			return f.run(cmd.Context(), d, args, approval)
		},
	}
	cmd.Flags().BoolVar(&revoke, "revoke", false, "Take the approval back")
	f.add(cmd, d)
	return cmd
}

func newSuspend(d *factory) *cobra.Command {
	f := &decideFlags{}
	cmd := &cobra.Command{
		Use:     "suspend NAME...",
		GroupID: groupMembers,
		Short:   "Keep members, but offer them to nobody",
		Long: `Keep members, but offer them to nobody.

A suspended member stays registered, with its credential and its place among the limits; consumers no longer
find it. What runs on it goes on. 'kubectl federate resume' ends it.`,
		Example: `  # Take a cluster out of service for a while
  kubectl federate suspend us-east

  # All of a region
  kubectl federate suspend -l topology.kubernetes.io/region=us-east-1 --dry-run=server`,
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd.Context(), d, args, suspension) },
	}
	f.add(cmd, d)
	return cmd
}

func newResume(d *factory) *cobra.Command {
	f := &decideFlags{}
	cmd := &cobra.Command{
		Use:     "resume NAME...",
		GroupID: groupMembers,
		Short:   "Offer suspended members again",
		Example: `  # Put a cluster back into service
  kubectl federate resume us-east

  # Every member of a federation
  kubectl federate resume --federation prod`,
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd.Context(), d, args, resumption) },
	}
	f.add(cmd, d)
	return cmd
}

func (f *decideFlags) run(ctx context.Context, d *factory, names []string, x decision) error {
	dryRun, err := f.dryRun.parse()
	if err != nil {
		return err
	}
	if err := f.output.check(); err != nil {
		return err
	}
	if err := f.members.check(names); err != nil {
		return err
	}
	h, err := d.host()
	if err != nil {
		return err
	}
	members, err := f.members.members(ctx, d, h, names)
	if err != nil || len(members) == 0 {
		return err
	}
	r := decider{d: d, h: h, decision: x, dryRun: dryRun, quiet: *f.output.OutputFormat != "", automatic: map[v1alpha1.FederationName]bool{}}
	done, err := r.decideAll(ctx, members)
	if r.quiet && len(done) > 0 {
		return errors.Join(err, printMembers(d, f.output, done))
	}
	return err
}

// decider makes one decision about many members.
type decider struct {
	decision
	d      *factory
	h      *host.Cluster
	dryRun federate.DryRun
	// quiet leaves stdout to -o.
	quiet bool
	// automatic are the federations that were asked whether they accept by themselves.
	automatic map[v1alpha1.FederationName]bool
}

// decideAll goes on when one member is refused, as kubectl does.
func (r *decider) decideAll(ctx context.Context, members []v1alpha1.MemberCluster) (done []v1alpha1.MemberCluster, err error) {
	var failed []error
	for i := range members {
		m := &members[i]
		told, err := r.decide(aboutOne(ctx, members, i), m)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		done = append(done, *m)
		if !r.quiet {
			fmt.Fprintf(r.d.Out, "membercluster.kubefederate.io/%s %s%s\n", m.Name, told, dryRunSuffix(r.dryRun))
		}
	}
	if len(failed) == 1 && len(members) == 1 {
		return nil, failed[0]
	}
	for _, err := range failed {
		printError(r.d.ErrOut, err)
	}
	return done, someFailed(len(done), failed, r.done)
}

// decide leaves in m what the server answered and says what was done.
func (r *decider) decide(ctx context.Context, m *v1alpha1.MemberCluster) (told string, err error) {
	if r.made(m) {
		return "already " + r.done, nil
	}
	if r.decision == approval {
		if automatic, err := r.acceptsByItself(ctx, m.Federation()); err != nil || automatic {
			return "needs no approval", err
		}
	}
	if r.dryRun == federate.DryRunClient {
		*r.of(m) = r.yes
		return r.done, nil
	}
	stored, err := r.h.Decide(ctx, m, r.field, r.yes, r.dryRun)
	if err != nil {
		return "", err
	}
	*m = *stored
	return r.done, nil
}

// acceptsByItself says whether a federation asks for no approval, and tells it once. A caller who may not read
// federations may still approve.
func (r *decider) acceptsByItself(ctx context.Context, name v1alpha1.FederationName) (bool, error) {
	automatic, asked := r.automatic[name]
	if asked {
		return automatic, nil
	}
	federation, err := r.h.Federation(ctx, name)
	switch {
	case apierrors.IsForbidden(err):
	case err != nil:
		return false, err
	default:
		automatic = federation.Spec.Acceptance != v1alpha1.AcceptManual
	}
	if automatic {
		fmt.Fprintf(r.d.ErrOut, "federation %q accepts by itself (spec.acceptance is Automatic): nothing is asked for\n", name)
	}
	r.automatic[name] = automatic
	return automatic, nil
}
