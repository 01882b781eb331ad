package journal

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// requestTimeout bounds one request to the API server.
const requestTimeout = 2 * time.Second

// ErrNoAnswer is what a request ends with that took longer.
var ErrNoAnswer = errors.New("the API server does not answer")

// deadlines is a client of which each read and update has a deadline.
type deadlines struct {
	client.Client
	redial func()
}

// WithDeadlines gives a client of which each Get, List and Update ends after two seconds. Redial, which may be nil, then
// closes the idle connections: those to an API server that lost its power are not noticed for minutes otherwise.
func WithDeadlines(c client.Client, redial func()) client.Client {
	if redial == nil {
		redial = func() {}
	}
	return deadlines{c, redial}
}

func (d deadlines) bounded(ctx context.Context, request func(context.Context) error) error {
	limited, cancel := context.WithTimeoutCause(ctx, requestTimeout, ErrNoAnswer)
	defer cancel()
	err := request(limited)
	if err != nil && errors.Is(context.Cause(limited), ErrNoAnswer) {
		d.redial()
		return fmt.Errorf("%w within %s", ErrNoAnswer, requestTimeout)
	}
	return err
}

// Get implements client.Client.
func (d deadlines) Get(ctx context.Context, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
	return d.bounded(ctx, func(ctx context.Context) error { return d.Client.Get(ctx, key, o, options...) })
}

// List implements client.Client.
func (d deadlines) List(ctx context.Context, list client.ObjectList, options ...client.ListOption) error {
	return d.bounded(ctx, func(ctx context.Context) error { return d.Client.List(ctx, list, options...) })
}

// Update implements client.Client.
func (d deadlines) Update(ctx context.Context, o client.Object, options ...client.UpdateOption) error {
	return d.bounded(ctx, func(ctx context.Context) error { return d.Client.Update(ctx, o, options...) })
}
