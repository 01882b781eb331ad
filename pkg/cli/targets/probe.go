package targets

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/discover"
	"github.com/kubefederate/kubectl-federate/pkg/host"
)

// Probe asks many clusters at once which they are, so that those that do not respond cost its time only once.
type Probe struct {
	// Timeout is how long they have to answer, all together; 0 is no limit.
	Timeout  time.Duration
	Messages *output.Messages
}

// AddTo adds --connect-timeout.
func (p *Probe) AddTo(cmd *cobra.Command) {
	DurationVar(cmd.Flags(), &p.Timeout, "connect-timeout", 10*time.Second,
		"How long clusters have to answer when many are probed, all together; 0 is no limit")
}

// Validate refuses negative durations.
func (p *Probe) Validate() error { return ValidateTimeout("connect-timeout", p.Timeout) }

// Run probes every candidate of the sources. The errors are those of each source.
func (p *Probe) Run(ctx context.Context, sources ...discover.Source) ([]discover.Observation, []error) {
	candidates, errs := discover.List(ctx, sources...)
	one, many := "context", "contexts"
	if slices.ContainsFunc(candidates, func(c discover.Candidate) bool { return c.Source != discover.FromKubeconfig }) {
		one, many = "cluster", "clusters"
	}
	progress := p.Messages.Progress("probing " + output.Count(len(candidates), one, many))
	defer progress.End()
	return discover.Probe(ctx, candidates, p.timeout(), func(n int) {
		progress.Update(fmt.Sprintf("%d of %d %s answered", n, len(candidates), many))
	}), errs
}

func (p *Probe) timeout() time.Duration {
	if p.Timeout == 0 {
		return math.MaxInt64
	}
	return p.Timeout
}

// RunWithHost reads the host while it probes.
func (p *Probe) RunWithHost(ctx context.Context, h *host.Cluster, sources ...discover.Source) (view discover.View, observations []discover.Observation, errs []error, err error) {
	view.Commands, view.Now = h.Commands, time.Now()
	group, gctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) { view.HostID, err = h.ID(gctx); return err })
	group.Go(func() (err error) { view.Federations, err = h.Federations(gctx); return err })
	group.Go(func() (err error) { view.Members, err = h.Members(gctx, host.MemberQuery{}); return err })
	group.Go(func() error {
		data, err := h.FindDiscoveryMemory(gctx)
		view.Memory = discover.ReadMemory(data)
		return err
	})
	group.Go(func() error { observations, errs = p.Run(gctx, sources...); return nil })
	if err = group.Wait(); err == nil {
		discover.Prove(ctx, view.Members, observations, p.timeout())
	}
	return view, observations, errs, err
}

// Find finds the contexts of each of the members of the view, in their order: those that answer with its ID and prove to lead
// to it.
func (p *Probe) Find(ctx context.Context, contexts *Contexts, view discover.View) ([]discover.Reached, error) {
	observations, errs := p.Run(ctx, contexts.Source())
	if err := errors.Join(errs...); err != nil {
		return nil, output.WhileReading(ctx, err)
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return nil, output.ErrInterrupted
	}
	discover.Prove(ctx, view.Members, observations, p.timeout())
	return discover.Reach(view, observations), nil
}
