package discover

import (
	"context"
	"iter"
	"time"
)

const (
	// maxAsked is how many clusters are asked at once, not counting those that have let us wait for slowAnswer.
	maxAsked = 64
	// longestDeadline is what slowAnswer is made of where there is a longer deadline, or none.
	longestDeadline = time.Minute
)

// slowAnswer is how long a cluster that does not answer counts among those that are asked. It is such that n clusters
// that all never answer have all been asked when a quarter of the deadline has passed.
func slowAnswer(deadline time.Duration, n int) time.Duration {
	rounds := (n + maxAsked - 1) / maxAsked
	return min(deadline, longestDeadline) / 4 / time.Duration(max(rounds, 1))
}

// askEach calls ask with each number below n, and yields what it returns, in the order of the answers, until all have answered or
// ctx ends: deadline says when that is. Clusters that are dead, or hang on purpose, never keep the others from being asked: few are
// asked at once, and one that is slow leaves its place to the next while it is waited for. What answers late is dropped.
func askEach[T any](ctx context.Context, n int, deadline time.Duration, ask func(int) T) iter.Seq2[int, T] {
	type answer struct {
		index int
		value T
	}
	return func(yield func(int, T) bool) {
		answers := make(chan answer, n) // it holds every answer, so that no goroutine hangs on it
		go func() {
			slots := make(chan struct{}, maxAsked)
			slow := slowAnswer(deadline, n)
			for i := range n {
				select {
				case slots <- struct{}{}:
				case <-ctx.Done():
					return
				}
				go func() {
					answered, done := context.WithCancel(ctx)
					go func() {
						defer done()
						answers <- answer{i, ask(i)}
					}()
					select {
					case <-answered.Done():
					case <-time.After(slow):
					}
					<-slots
				}()
			}
		}()
		for range n {
			select {
			case a := <-answers:
				if !yield(a.index, a.value) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}
