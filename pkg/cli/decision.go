package cli

import (
	"context"
	"errors"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/cli/targets"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/text"
)

// decision is what approve, suspend and resume do to a member.
type decision struct {
	field host.Decision
	yes   bool
	// done follows a member's name: "approved", or "already approved".
	done string
}

var (
	approval   = decision{host.Accepted, true, "approved"}
	revocation = decision{host.Accepted, false, "revoked"}
	suspension = decision{host.Suspended, true, "suspended"}
	resumption = decision{host.Suspended, false, "resumed"}
)

// of is the field of a member that the decision sets.
func (x decision) of(m *v1alpha1.MemberCluster) *bool {
	if x.field == host.Accepted {
		return &m.Spec.Accepted
	}
	return &m.Spec.Suspended
}

const approveHelp = `Accept members of a federation whose acceptance is Manual.

A cluster that joins such a federation is Pending, which marks it as not to be used, until it is approved. So is
one that discovery joined, unless spec.discovery.acceptance of its federation is AsFederation. Approving takes the
verb approve on the federation, and no right to join clusters. A cluster that leaves and joins again must be
approved again.`

const approveExample = `  # See who is waiting, and accept one
  kubectl federate get --federation prod
  kubectl federate approve us-east

  # Accept everything that is waiting in a region
  kubectl federate approve --federation prod -l topology.kubernetes.io/region=us-east-1

  # Revoke the approval: the member is Pending again
  kubectl federate approve us-east --revoke`

func newApprove(d *factory) *cobra.Command {
	return newDecide(d, approval, &cobra.Command{
		Use: "approve NAME...", Short: "Accept members of a federation whose acceptance is Manual", Long: approveHelp, Example: approveExample,
	})
}

const suspendHelp = `Keep members registered, but mark them as not to be used.

A suspended member keeps its credential and still counts for limits, and what runs on it keeps running.
'kubectl federate resume' ends the suspension, and so does the time that --until names: an RFC 3339 time, or a
duration from now. --reason is shown with the member, wherever its phase is.`

const suspendExample = `  # Take a cluster out of service for a while
  kubectl federate suspend us-east

  # For four hours, and why
  kubectl federate suspend us-east --reason 'kernel upgrade' --until 4h

  # All of a region
  kubectl federate suspend -l topology.kubernetes.io/region=us-east-1 --dry-run=server`

func newSuspend(d *factory) *cobra.Command {
	return newDecide(d, suspension, &cobra.Command{
		Use: "suspend NAME...", Short: "Keep members registered, but mark them as not to be used", Long: suspendHelp, Example: suspendExample,
	})
}

const resumeExample = `  # Put a cluster back into service
  kubectl federate resume us-east

  # Every member of a federation
  kubectl federate resume --federation prod`

func newResume(d *factory) *cobra.Command {
	return newDecide(d, resumption, &cobra.Command{Use: "resume NAME...", Short: "Mark suspended members as to be used again", Example: resumeExample})
}

// decideFlags are what was typed.
type decideFlags struct {
	changeFlags
	decision decision
	revoke   bool
	// reason and until are those of a suspension.
	reason, until string
}

// newDecide completes cmd, the command of a decision.
func newDecide(d *factory, x decision, cmd *cobra.Command) *cobra.Command {
	f := &decideFlags{changeFlags: newChangeFlags(d), decision: x}
	cmd.GroupID, cmd.RunE = groupMembers, runs(f.toOptions)
	if x == approval {
		cmd.Flags().BoolVar(&f.revoke, "revoke", false, "Revoke the approval")
	}
	if x == suspension {
		cmd.Flags().StringVar(&f.reason, "reason", "", "Why, for those who look at the members")
		cmd.Flags().StringVar(&f.until, "until", "", "When the suspension ends by itself: a time as 2026-12-01T18:00:00Z, or a duration as 4h")
	}
	f.addTo(cmd, "All members of this federation")
	return cmd
}

// decideOptions are ready to run.
type decideOptions struct {
	decideFlags
	// suspension is nil where neither a reason nor an end was given.
	suspension *v1alpha1.Suspension

	mu sync.Mutex
	// automatic are the federations that were asked whether they accept members automatically.
	automatic map[accepting]bool
}

// accepting is what a federation is asked: whether it accepts members automatically, or those that discovery joined.
type accepting struct {
	federation v1alpha1.FederationName
	discovered bool
}

func (f *decideFlags) toOptions(_ *cobra.Command, args []string) (*decideOptions, error) {
	o := &decideOptions{decideFlags: *f, automatic: map[accepting]bool{}}
	if f.revoke {
		o.decision = revocation
	}
	var err error
	if o.names, err = targets.Names(args); err != nil {
		return nil, err
	}
	o.suspension, err = parseSuspension(f.reason, f.until, time.Now())
	return o, err
}

// maxSuspensionReason is how long a reason may be, as the schema has it.
const maxSuspensionReason = 256

// parseSuspension reads --reason and --until; nil where neither was typed.
func parseSuspension(reason, until string, now time.Time) (*v1alpha1.Suspension, error) {
	if reason == "" && until == "" {
		return nil, nil
	}
	if n := utf8.RuneCountInString(reason); n > maxSuspensionReason {
		return nil, output.Usagef("invalid --reason: it has %d characters, and at most %d are kept", n, maxSuspensionReason)
	}
	s := &v1alpha1.Suspension{Reason: reason}
	if until == "" {
		return s, nil
	}
	end, err := time.Parse(time.RFC3339, until)
	if err != nil {
		d, err := text.ParseDuration(until)
		if err != nil {
			return nil, output.Usagef("invalid --until %q: must be a time as 2026-12-01T18:00:00Z, or a duration as 4h", until)
		}
		end = now.Add(d)
	}
	if !end.After(now) {
		return nil, output.Usagef("invalid --until %q: it is in the past", until)
	}
	s.Until = &metav1.Time{Time: end.UTC().Truncate(time.Second)}
	return s, nil
}

func (o *decideOptions) run(ctx context.Context) error {
	h, members, err := o.selected(ctx, o.names, o.selection)
	if err != nil || len(members) == 0 {
		return err
	}
	done, err := o.changeMembers(ctx, members, o.output.Value != "", o.decision.done, func(ctx context.Context, m *v1alpha1.MemberCluster) (string, error) {
		return o.decide(ctx, h.Cluster, m)
	})
	if o.output.Value != "" && len(done) > 0 {
		return errors.Join(err, o.output.Members(o.Out, done, len(o.names) == 1))
	}
	return err
}

// decide leaves in m what the server returned and says what was done.
func (o *decideOptions) decide(ctx context.Context, h *host.Cluster, m *v1alpha1.MemberCluster) (did string, err error) {
	x := o.decision
	// One that ends by itself is not the one that was asked for, unless its end was typed.
	ends := x == suspension && m.Spec.Suspension != nil && m.Spec.Suspension.Until != nil
	if *x.of(m) == x.yes && (o.suspension == nil && !ends || o.suspension != nil && equality.Semantic.DeepEqual(m.Spec.Suspension, o.suspension)) {
		return "already " + x.done, nil
	}
	if x == approval {
		if automatic, err := o.acceptsAutomatically(ctx, h, m); err != nil || automatic {
			return "needs no approval", err
		}
	}
	if o.dryRun == cluster.DryRunClient {
		*x.of(m) = x.yes
		if x.field == host.Suspended {
			m.Spec.Suspension = o.suspension
		}
		return x.done, nil
	}
	stored, err := h.Decide(ctx, m, x.field, x.yes, o.suspension, o.dryRun)
	if err != nil {
		return "", err
	}
	*m = *stored
	return x.done, nil
}

// acceptsAutomatically says whether members such as m need no approval in its federation, and reports that once. A caller who may
// not read federations may still approve.
func (o *decideOptions) acceptsAutomatically(ctx context.Context, h *host.Cluster, m *v1alpha1.MemberCluster) (bool, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	name, field := m.Federation(), "spec.acceptance"
	key := accepting{name, m.Spec.Discovered != nil}
	if key.discovered {
		field += " and spec.discovery.acceptance"
	}
	automatic, asked := o.automatic[key]
	if asked {
		return automatic, nil
	}
	federation, err := h.Federation(ctx, name)
	switch {
	case apierrors.IsForbidden(err):
	case err != nil:
		return false, err
	default:
		automatic = federation.AcceptanceOf(m.Spec.Discovered) == v1alpha1.AcceptAutomatic
	}
	if automatic {
		output.Linef(o.ErrOut, "federation %q accepts members automatically (%s); no approval needed", name, field)
	}
	o.automatic[key] = automatic
	return automatic, nil
}
