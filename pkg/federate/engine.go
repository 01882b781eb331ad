package federate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/host"
)

// operation is what the options of all operations have in common.
type operation interface {
	// operation is what messages call it, as `join "us-east-1" to federation "prod"`.
	operation() string
	// again is the command line that runs it again.
	again() string
}

// start makes the plan ready to be applied, once. progress may be nil; it is never called twice at once.
func (p *plan) start(progress func(Step)) {
	var mu sync.Mutex
	p.made, p.done = map[cluster.Ref]bool{}, make([]bool, len(p.Steps))
	p.progress = func(s Step) {
		mu.Lock()
		defer mu.Unlock()
		if progress != nil {
			progress(s)
		}
	}
}

// run applies the plan unless it is one of a dry run. Failed is what becomes of it when a step has failed.
func (p *plan) run(ctx context.Context, dry cluster.DryRun, progress func(Step), failed func(context.Context, error) error) error {
	if dry != cluster.DryRunNone {
		return nil
	}
	p.start(progress)
	if err := p.apply(ctx); err != nil {
		return failed(ctx, stopped(ctx, err))
	}
	return nil
}

// phases are the indices of the steps that which selects, grouped by phase, in order.
func (p *plan) phases(which func(Step) bool) [][]int {
	groups := map[phase][]int{}
	for i, s := range p.Steps {
		if which(s) {
			groups[s.phase] = append(groups[s.phase], i)
		}
	}
	var all [][]int
	for _, at := range slices.Sorted(maps.Keys(groups)) {
		all = append(all, groups[at])
	}
	return all
}

// apply does all steps: those of one phase at once, and the next phase when they have ended well. It returns the first
// error of a phase once all of its steps have ended.
func (p *plan) apply(ctx context.Context) error {
	for _, group := range p.phases(func(s Step) bool { return s.do != nil }) {
		if err := ctx.Err(); err != nil && !p.committed {
			return err
		}
		p.begun = true
		if err := cmp.Or(cluster.ForEach(len(group), func(i int) error {
			s := p.Steps[group[i]]
			if s.Verb == VerbWait {
				p.progress(s)
			}
			err := s.do(ctx)
			if p.done[group[i]] = err == nil; err == nil && s.Verb != VerbWait {
				p.progress(s)
			}
			return err
		})...); err != nil {
			return err
		}
	}
	return nil
}

// rollBack undoes the steps whose objects this run has made, the last phase first. A step that is undone after others is left
// alone when one of them could not be undone. It returns what is left.
func (p *plan) rollBack(ctx context.Context) (left []string, err error) {
	phases := p.phases(p.undoable)
	for _, group := range slices.Backward(phases) {
		errs := cluster.ForEach(len(group), func(i int) error {
			s := p.Steps[group[i]]
			if s.undoLast && err != nil {
				return err
			}
			failed := retry(ctx, func() error { return s.undo(ctx) })
			if failed == nil {
				p.progress(Step{Side: s.Side, Verb: VerbUndo, Object: s.Object})
			}
			return failed
		})
		for i, failed := range errs {
			if failed != nil {
				left = append(left, p.Steps[group[i]].place())
			}
		}
		err = cmp.Or(append([]error{err}, errs...)...)
	}
	return left, err
}

func (p *plan) undoable(s Step) bool { return s.undo != nil && p.has(s.Object) }

// remains is all that rollBack would undo.
func (p *plan) remains() []string {
	var left []string
	for _, s := range p.Steps {
		if p.undoable(s) {
			left = append(left, s.place())
		}
	}
	return left
}

// mark remembers an object as this run's. It is called before the request that makes it is sent: when the answer is lost,
// the object must still be looked for.
func (p *plan) mark(ref cluster.Ref) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.made[ref] = true
}

func (p *plan) unmark(ref cluster.Ref) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.made, ref)
}

func (p *plan) has(ref cluster.Ref) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.made[ref]
}

func (p *plan) learn(f ...Finding) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.learned = append(p.learned, f...)
}

// pollInterval is how long to wait between two requests of a run that waits, and planInterval between two readings of both
// sides while planning.
const (
	pollInterval = 25 * time.Millisecond
	planInterval = 200 * time.Millisecond
)

// waitTimeout bounds how long a plan or a run waits for what ends by itself, as a namespace that Kubernetes empties.
const waitTimeout = 2 * time.Minute

// errPatience says that a poll's time was over before ctx was.
var errPatience = errors.New("gave up waiting")

// poll tries until try is done or fails. It returns errPatience when that takes longer than patience.
func poll(ctx context.Context, interval, patience time.Duration, try func() (done bool, err error)) error {
	var failed error
	err := wait.PollUntilContextTimeout(ctx, interval, patience, true, func(context.Context) (done bool, err error) {
		done, failed = try()
		return done, failed
	})
	switch {
	case failed != nil:
		return failed
	case err != nil && ctx.Err() == nil:
		return errPatience
	}
	return err
}

// await looks until nothing stands in the way that ends by itself, and reports what it waits for.
func await(ctx context.Context, interval time.Duration, progress func(Step), look func() (*Step, error)) error {
	var last *Step
	err := poll(ctx, interval, waitTimeout, func() (bool, error) {
		s, err := look()
		if err != nil || s == nil {
			last = nil
			return true, err
		}
		if progress != nil && (last == nil || last.Note != s.Note) {
			progress(*s)
		}
		last = s
		return false, nil
	})
	switch {
	case last == nil:
		return err
	case errors.Is(err, errPatience):
		return fmt.Errorf("%s: %s: gave up after %s: %s", last.Side, last.Object, waitTimeout, last.Note)
	}
	return fmt.Errorf("%s: %s: %s: %w", last.Side, last.Object, last.Note, stopped(ctx, err))
}

// retry tries f a few times: a rollback must not give up at the first lost connection. A server's refusal is final.
func retry(ctx context.Context, f func() error) error {
	var last error
	err := wait.ExponentialBackoffWithContext(ctx, wait.Backoff{Duration: 50 * time.Millisecond, Factor: 2, Steps: 4}, func(context.Context) (bool, error) {
		last = f()
		return last == nil || isRefused(last) || errors.Is(last, host.ErrAnotherAttempt), nil
	})
	if last != nil {
		return last
	}
	return err
}

// rollbackTimeout is how long rolling back may take. It is not cut short when a person presses Ctrl-C again.
const rollbackTimeout = 10 * time.Second

// afterwards is a context for what must be sent although ctx may have ended.
func afterwards(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), rollbackTimeout)
}

// refuse is a *Refusal of an operation that something stands against, and nil where nothing does.
func refuse(o operation, against []Finding) error {
	if len(against) == 0 {
		return nil
	}
	return &Refusal{Operation: o.operation(), Findings: against}
}

// refused is cause, the failure of a run that changed nothing or has been rolled back: a *Refusal where a server or this
// package refuses, an *Undone where something was rolled back, and cause otherwise.
func (p *plan) refused(cause error, undone bool) error {
	refusal, ok := errors.AsType[*Refusal](cause)
	switch {
	case ok:
		return &Refusal{Operation: p.of.operation(), Findings: refusal.Findings, Undone: undone, Err: refusal.Err}
	case isRefused(cause):
		return &Refusal{Operation: p.of.operation(), Findings: findingsOf(cause), Undone: undone, Err: cause}
	case undone:
		return &Undone{Operation: p.of.operation(), Err: cause}
	}
	return cause
}

// partial is cause, the failure of a run that could not be rolled back; the caller adds what is done and what is left.
func (p *plan) partial(cause error) *Partial {
	return &Partial{Operation: p.of.operation(), Next: p.of.again(), Err: cause}
}

// rollbackFailed is cause where rolling back failed with err.
func rollbackFailed(cause, err error) error {
	return fmt.Errorf("%w\n* rollback also failed: %w", cause, err)
}
