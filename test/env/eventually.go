//go:build unix

package env

import (
	"context"
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

const (
	// pollInterval is how often a condition is tried.
	pollInterval = 50 * time.Millisecond
	// pollTimeout is how long Eventually waits. Conditions hold within seconds; a busy machine takes longer.
	pollTimeout = 2 * time.Minute
)

// Poll calls check until it returns nil or ctx ends; then the error has what check returned last.
func Poll(ctx context.Context, check func(context.Context) error) error {
	var last error
	err := wait.PollUntilContextCancel(ctx, pollInterval, true, func(ctx context.Context) (bool, error) {
		// That the context ended in the middle of a check explains nothing.
		if err := check(ctx); err == nil || last == nil || ctx.Err() == nil {
			last = err
		}
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("%w (last: %w)", err, last)
	}
	return nil
}

// Eventually polls check for at most two minutes. What check returned last is the failure of the test.
func Eventually(t testing.TB, what string, check func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), pollTimeout)
	defer cancel()
	if err := Poll(ctx, check); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}
