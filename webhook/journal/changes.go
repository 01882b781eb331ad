package journal

import (
	"context"
	"fmt"
	"time"
)

// changes are the changes of a federation's rules, each of which is judged for all members. They are judged one at a time, and
// for at most half of the time, so that many of them, which may be forged, do not hold up what clusters wait for.
type changes struct {
	// turn is held, by sending to it, by the one that is judged. The next field is its holder's.
	turn chan struct{}
	next time.Time
}

func newChanges() *changes { return &changes{turn: make(chan struct{}, 1)} }

// begin waits for the turn, which lasts until end is called.
func (c *changes) begin(ctx context.Context) (end func(), err error) {
	gaveUp := func() error { return fmt.Errorf("other changes of rules are judged first: %w", ctx.Err()) }
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, gaveUp()
	}
	if sleep(ctx, time.Until(c.next)) != nil {
		<-c.turn
		return nil, gaveUp()
	}
	began := time.Now()
	return func() {
		now := time.Now()
		c.next = now.Add(now.Sub(began))
		<-c.turn
	}, nil
}
