package cluster

import "golang.org/x/sync/errgroup"

// Together makes all calls at once and waits for all. The errors are in the order of the calls: cmp.Or(errs...) is the
// first, whichever failed first.
func Together(calls ...func() error) (errs []error) {
	return ForEach(len(calls), func(i int) error { return calls[i]() })
}

// maxTogether is how many calls are made at once: what a server lists must not decide how many requests are sent.
const maxTogether = 100

// ForEach is Together for call with each of 0 to n-1.
func ForEach(n int, call func(i int) error) (errs []error) {
	errs = make([]error, n)
	var group errgroup.Group
	group.SetLimit(maxTogether)
	for i := range n {
		group.Go(func() error {
			errs[i] = call(i)
			return nil
		})
	}
	_ = group.Wait() // errs has the errors
	return errs
}
