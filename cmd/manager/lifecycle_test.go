package main

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
)

// TestLifecycle holds that reviews are answered, and the manager is not ready, until API servers have been led elsewhere,
// whatever ends it, and that the journal is kept until the last review is answered.
func TestLifecycle(t *testing.T) {
	t.Parallel()
	lost := errors.New("leader election lost")
	for name, test := range map[string]struct {
		end           func(signal func(), lose chan<- error, fail chan<- error)
		want          error
		reviews, ends time.Duration
	}{
		"signal":          {func(signal func(), _, _ chan<- error) { signal() }, nil, 10 * time.Second, 11 * time.Second},
		"lost lease":      {func(_ func(), lose, _ chan<- error) { lose <- lost }, lost, 10 * time.Second, 11 * time.Second},
		"broken listener": {func(_ func(), _, fail chan<- error) { fail <- lost }, lost, 0, 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var order []string
				lose, fail := make(chan error, 1), make(chan error, 1)
				began := time.Now()
				l := &lifecycle{
					controllers: func(ctx context.Context) error {
						select {
						case <-ctx.Done():
							<-time.After(2 * time.Second)
							return nil
						case err := <-lose:
							return err
						}
					},
					ports: []func(context.Context) error{func(ctx context.Context) error {
						select {
						case <-ctx.Done():
							if asked := time.Since(began); asked != test.reviews {
								t.Errorf("reviews were to end after %s", asked)
							}
							<-time.After(time.Second) // the last one
							order = append(order, "reviews")
							return nil
						case err := <-fail:
							return err
						}
					}},
					journal: func(ctx context.Context) {
						<-ctx.Done()
						order = append(order, "journal")
					},
					delay: 10 * time.Second, log: logr.Discard(),
				}
				ctx, signal := context.WithCancel(t.Context())
				defer signal()
				ended := make(chan error, 1)
				go func() { ended <- l.run(ctx) }()
				synctest.Wait()
				if err := l.ready(nil); err != nil {
					t.Errorf("not ready: %v", err)
				}
				test.end(signal, lose, fail)
				synctest.Wait()
				if l.ready(nil) == nil {
					t.Error("ready while it ends")
				}
				if err := <-ended; !errors.Is(err, test.want) || time.Since(began) != test.ends {
					t.Errorf("ended after %s with %v", time.Since(began), err)
				}
				if order[len(order)-1] != "journal" || name != "broken listener" && !slices.Contains(order, "reviews") {
					t.Errorf("ended in the order %q", order)
				}
			})
		})
	}
}
