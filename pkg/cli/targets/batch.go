// Package targets holds which clusters and members a command works on, and how it works on many of them: the contexts of
// kubeconfigs, members chosen by name or by label, clusters found by their ID, and work on many at once within bounds.
package targets

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/text"
)

// Batch bounds work on many clusters.
type Batch struct {
	// Parallel is how many are worked on at once.
	Parallel int
	// Timeout is how long the work on one cluster may take; 0 is no limit.
	Timeout time.Duration
}

// parallelDefault is how many clusters are worked on at once. Each holds a handful of connections and waits for its own
// API server most of the time; the host takes the writes of all.
const parallelDefault = 20

// AddTo adds --parallel and --timeout.
func (b *Batch) AddTo(cmd *cobra.Command, timeout time.Duration) {
	cmd.Flags().IntVar(&b.Parallel, "parallel", parallelDefault, "How many clusters are worked on at once")
	AddTimeout(cmd, &b.Timeout, timeout)
}

// Validate refuses bounds that make no sense.
func (b *Batch) Validate() error {
	if b.Parallel < 1 {
		return output.Usagef("invalid --parallel %d: must be at least 1", b.Parallel)
	}
	return ValidateTimeout("timeout", b.Timeout)
}

// AddTimeout adds --timeout, which means the same in every command.
func AddTimeout(cmd *cobra.Command, timeout *time.Duration, value time.Duration) {
	DurationVar(cmd.Flags(), timeout, "timeout", value, "How long the work on one cluster may take; 0 is no limit")
}

// ValidateTimeout refuses a negative duration of a flag.
func ValidateTimeout(flag string, d time.Duration) error {
	if d < 0 {
		return output.Usagef("invalid --%s %s: must not be negative; 0 is no limit", flag, text.Duration(d))
	}
	return nil
}

// WithTimeout is context.WithTimeout in which 0 is no limit.
func WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if d == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, d)
}

// ErrNotBegun is the error of a cluster whose work was not begun, because the command was stopped before.
var ErrNotBegun = errors.New("interrupted before it was begun")

// Run works on n clusters within the bounds and returns the error of each. Once ctx ends, no work is begun. Ended is called
// after each, one call at a time; it may be nil.
func (b *Batch) Run(ctx context.Context, n int, work func(ctx context.Context, i int) error, ended func(i int, err error)) []error {
	errs := make([]error, n)
	var mu sync.Mutex
	var group errgroup.Group
	group.SetLimit(b.Parallel)
	for i := range n {
		group.Go(func() error {
			errs[i] = ErrNotBegun
			if ctx.Err() == nil {
				one, cancel := WithTimeout(ctx, b.Timeout)
				errs[i] = work(one, i)
				cancel()
			}
			if ended != nil {
				mu.Lock()
				defer mu.Unlock()
				ended(i, errs[i])
			}
			return nil
		})
	}
	_ = group.Wait() // errs has the errors
	return errs
}

// RunWith is Run with ctx, for packages that do not import this one.
func (b *Batch) RunWith(ctx context.Context) func(n int, work func(ctx context.Context, i int) error) []error {
	return func(n int, work func(ctx context.Context, i int) error) []error { return b.Run(ctx, n, work, nil) }
}

// InOrder calls f for 0, 1, 2, … as soon as all before have ended, whatever the order in which they end.
func InOrder(f func(i int, err error)) func(i int, err error) {
	ended, next := map[int]error{}, 0
	return func(i int, err error) {
		ended[i] = err
		for {
			err, ok := ended[next]
			if !ok {
				return
			}
			delete(ended, next)
			f(next, err)
			next++
		}
	}
}
