package cli

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/cli/targets"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/host"
)

// decision is what approve, suspend and resume do to a member.
type decision struct {
	field host.Decision
	yes   bool
	// done follows a member's name, with "already" before it when it was so.
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

// hostTimeout is how long a change of one member on the host may take by default.
const hostTimeout = 30 * time.Second

// decideFlags are what was typed.
type decideFlags struct {
	decision decision
	members  targets.SelectFlags
	batch    targets.Batch
	dryRun   dryRunFlag
	output   output.Flags
}

func newDecideFlags(x decision) *decideFlags {
	return &decideFlags{decision: x, output: output.NewFlags()}
}

func (f *decideFlags) addTo(cmd *cobra.Command, d *factory) {
	d.addSelection(cmd, &f.members, "All members of this federation")
	f.batch.AddTo(cmd, hostTimeout)
	f.dryRun.addTo(cmd)
	f.output.AddTo(cmd)
}

// decideOptions are ready to run.
type decideOptions struct {
	*factory
	decision  decision
	names     []string
	selection targets.SelectFlags
	batch     targets.Batch
	dryRun    federate.DryRun
	output    output.Flags

	mu sync.Mutex
	// automatic are the federations that were asked whether they accept members automatically.
	automatic map[v1alpha1.FederationName]bool
}

func (f *decideFlags) toOptions(d *factory, args []string) (*decideOptions, error) {
	dryRun, err := f.dryRun.parse()
	return &decideOptions{
		factory: d, decision: f.decision, names: args, selection: f.members, batch: f.batch, dryRun: dryRun, output: f.output,
		automatic: map[v1alpha1.FederationName]bool{},
	}, err
}

func (o *decideOptions) validate() error {
	if err := o.output.Validate(); err != nil {
		return err
	}
	if err := o.selection.Validate(o.names); err != nil {
		return err
	}
	return o.batch.Validate()
}

func (o *decideOptions) run(ctx context.Context) error {
	h, members, err := o.selected(ctx, o.names, o.selection)
	if err != nil || len(members) == 0 {
		return err
	}
	changes := memberChanges{
		factory: o.factory, batch: o.batch, silent: o.output.Value != "", dryRun: o.dryRun, done: o.decision.done,
		change: func(ctx context.Context, m *v1alpha1.MemberCluster) (string, error) {
			return o.decide(ctx, h.Cluster, m)
		},
	}
	done, err := changes.run(ctx, members)
	if o.output.Value != "" && len(done) > 0 {
		return errors.Join(err, o.output.Members(o.Out, done))
	}
	return err
}

// decide leaves in m what the server returned and says what was done.
func (o *decideOptions) decide(ctx context.Context, h *host.Cluster, m *v1alpha1.MemberCluster) (did string, err error) {
	x := o.decision
	if *x.of(m) == x.yes {
		return "already " + x.done, nil
	}
	if x == approval {
		if automatic, err := o.acceptsAutomatically(ctx, h, m.Federation()); err != nil || automatic {
			return "needs no approval", err
		}
	}
	if o.dryRun == federate.DryRunClient {
		*x.of(m) = x.yes
		return x.done, nil
	}
	stored, err := h.Decide(ctx, m, x.field, x.yes, o.dryRun)
	if err != nil {
		return "", err
	}
	*m = *stored
	return x.done, nil
}

// acceptsAutomatically says whether a federation needs no approval, and reports that once. A caller who may not read
// federations may still approve.
func (o *decideOptions) acceptsAutomatically(ctx context.Context, h *host.Cluster, name v1alpha1.FederationName) (bool, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	automatic, asked := o.automatic[name]
	if asked {
		return automatic, nil
	}
	federation, err := h.Federation(ctx, name)
	switch {
	case apierrors.IsForbidden(err):
	case err != nil:
		return false, err
	default:
		automatic = federation.Spec.Acceptance != v1alpha1.AcceptManual
	}
	if automatic {
		fmt.Fprintf(o.ErrOut, "federation %q accepts members automatically (spec.acceptance); no approval needed\n", name)
	}
	o.automatic[name] = automatic
	return automatic, nil
}
