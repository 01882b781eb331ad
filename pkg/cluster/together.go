package cluster

import "sync"

// Together makes all calls at once and waits for all. The errors are in the order of the calls: cmp.Or(errs...) is the
// first, whichever failed first.
func Together(calls ...func() error) (errs []error) {
	return ForEach(len(calls), func(i int) error { return calls[i]() })
}

// ForEach is Together for call with each of 0 to n-1.
func ForEach(n int, call func(i int) error) (errs []error) {
	errs = make([]error, n)
	var wait sync.WaitGroup
	for i := range n {
		wait.Go(func() { errs[i] = call(i) })
	}
	wait.Wait()
	return errs
}
