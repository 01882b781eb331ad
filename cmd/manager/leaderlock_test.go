package main

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// heldLock is a lease in memory.
type heldLock struct {
	resourcelock.Interface
	record resourcelock.LeaderElectionRecord
	err    error
}

func (l *heldLock) Identity() string { return "me" }
func (l *heldLock) Get(context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	return &l.record, nil, l.err
}
func (l *heldLock) Create(_ context.Context, r resourcelock.LeaderElectionRecord) error {
	return l.Update(nil, r) //nolint:staticcheck // it is not used
}
func (l *heldLock) Update(_ context.Context, r resourcelock.LeaderElectionRecord) error {
	if l.err == nil {
		l.record = r
	}
	return l.err
}

// TestFence holds when a replica may write: as long as it renews the lease, and before it has ever led.
func TestFence(t *testing.T) {
	t.Parallel()
	mine, theirs := resourcelock.LeaderElectionRecord{HolderIdentity: "me"}, resourcelock.LeaderElectionRecord{HolderIdentity: "other"}
	for _, tt := range []struct {
		name string
		do   func(ctx context.Context, l *leaderLock, held *heldLock)
		may  bool
	}{
		{"it has never led", func(context.Context, *leaderLock, *heldLock) {}, true},
		{"another one leads since it began", func(ctx context.Context, l *leaderLock, held *heldLock) {
			held.record = theirs
			_, _, _ = l.Get(ctx)
		}, true},
		{"it leads", func(ctx context.Context, l *leaderLock, _ *heldLock) { _ = l.Create(ctx, mine) }, true},
		{"it renews late", func(ctx context.Context, l *leaderLock, _ *heldLock) {
			_ = l.Create(ctx, mine)
			time.Sleep(renewDeadline)
		}, true},
		{"it has stood still", func(ctx context.Context, l *leaderLock, _ *heldLock) {
			_ = l.Create(ctx, mine)
			time.Sleep(renewDeadline + 1)
		}, false},
		{"it renews again", func(ctx context.Context, l *leaderLock, _ *heldLock) {
			_ = l.Create(ctx, mine)
			time.Sleep(renewDeadline + 1)
			_ = l.Update(ctx, mine)
		}, true},
		{"it cannot renew", func(ctx context.Context, l *leaderLock, held *heldLock) {
			_ = l.Create(ctx, mine)
			time.Sleep(renewDeadline + 1)
			held.err = errors.New("conflict")
			_ = l.Update(ctx, mine)
		}, false},
		{"it gives the lease up", func(ctx context.Context, l *leaderLock, _ *heldLock) {
			_ = l.Create(ctx, mine)
			time.Sleep(renewDeadline + 1)
			_ = l.Update(ctx, resourcelock.LeaderElectionRecord{})
		}, false},
		{"it sees that another one leads", func(ctx context.Context, l *leaderLock, held *heldLock) {
			_ = l.Create(ctx, mine)
			held.record = theirs
			_, _, _ = l.Get(ctx)
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				held := &heldLock{}
				l := &leaderLock{Interface: held}
				tt.do(t.Context(), l, held)
				sent := ""
				way := l.fence(roundTripper(func(r *http.Request) (*http.Response, error) {
					sent += r.Method + " "
					return &http.Response{}, nil
				}))
				for _, method := range []string{http.MethodGet, http.MethodPatch} {
					r, err := http.NewRequestWithContext(t.Context(), method, "https://host.example.com", strings.NewReader("{}"))
					if err != nil {
						t.Fatal(err)
					}
					_, err = way.RoundTrip(r) //nolint:bodyclose // it has none
					if want := method == http.MethodGet || tt.may; (err == nil) != want || err != nil && !errors.Is(err, errLeaseLost) {
						t.Errorf("%s: %v", method, err)
					}
				}
				if want := map[bool]string{true: "GET PATCH ", false: "GET "}[tt.may]; sent != want {
					t.Errorf("sent %s, want %s", sent, want)
				}
			})
		})
	}
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	if got := age(at, at.Add(time.Minute)); got != time.Minute {
		t.Errorf("without a monotonic clock a minute is %s", got)
	}
}
