package main

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sync/errgroup"
)

// lifecycle runs what a manager has, and ends it in order. API servers are led to a replica for some seconds after it has been
// asked to end: so reviews are answered that long after the controllers have ended, by whatever they end.
type lifecycle struct {
	// controllers watch the host as well.
	controllers func(context.Context) error
	// ports are for reviews, metrics and probes. Each answers the requests that it has before it ends, and needs the journal for
	// that.
	ports   []func(context.Context) error
	journal func(context.Context)
	// delay is how long the ports are still open.
	delay    time.Duration
	log      logr.Logger
	stopping atomic.Bool
}

// ready is a readiness check.
func (l *lifecycle) ready(*http.Request) error {
	if l.stopping.Load() {
		return errors.New("the manager is stopping")
	}
	return nil
}

// run returns when all has ended.
func (l *lifecycle) run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	journalCtx, endJournal := context.WithCancel(context.WithoutCancel(ctx))
	portsCtx, closePorts := context.WithCancel(context.WithoutCancel(ctx))
	var journal, rest sync.WaitGroup
	var controllersErr, portsErr error
	journal.Go(func() { l.journal(journalCtx) })
	controllersEnded, portsEnded := make(chan struct{}), make(chan struct{})
	rest.Go(func() {
		defer close(controllersEnded)
		if controllersErr = l.controllers(ctx); controllersErr != nil {
			l.log.Error(controllersErr, "the controllers have ended")
		}
	})
	rest.Go(func() {
		defer close(portsEnded)
		open, ctx := errgroup.WithContext(portsCtx)
		for _, serve := range l.ports {
			open.Go(func() error { return serve(ctx) })
		}
		portsErr = open.Wait()
	})
	select {
	case <-ctx.Done():
	case <-controllersEnded:
	case <-portsEnded:
	}
	l.stopping.Store(true)
	l.log.Info("stopping", "after", l.delay.String())
	stop()
	select {
	case <-time.After(l.delay):
	case <-portsEnded:
	}
	closePorts()
	rest.Wait()
	endJournal()
	journal.Wait()
	return errors.Join(controllersErr, portsErr)
}
