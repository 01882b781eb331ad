package cluster

import "sync"

// Parallel calls f with 0 to n-1 at once and waits for all.
func Parallel(n int, f func(i int)) {
	var wait sync.WaitGroup
	for i := range n {
		wait.Go(func() { f(i) })
	}
	wait.Wait()
}
