package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// renewDeadline is how long the leader tries to renew its lease before it ends: the default of controller-runtime.
const renewDeadline = 10 * time.Second

// leaderLock is the lease that one of several replicas holds. It records no Events, as that of controller-runtime does in the
// namespace of the lease: the manager has no right to create any there.
//
// A leader that stands still, with its processor taken away or its machine suspended, finds that another one leads only when it tries to
// renew the lease, and ends ten seconds later. Until then it must not write: see fence.
type leaderLock struct {
	resourcelock.Interface
	// renewed is when this replica began to renew the lease, the last time that it could; nil when it has never held it.
	renewed atomic.Pointer[time.Time]
}

func newLeaderLock(config *rest.Config, lease string) (*leaderLock, error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("a name for this replica: %w", err)
	}
	identity := host + "_" + string(uuid.NewUUID())
	lock, err := resourcelock.NewFromKubeconfig(resourcelock.LeasesResourceLock, v1alpha1.HostNamespace, lease,
		resourcelock.ResourceLockConfig{Identity: identity}, config, renewDeadline)
	if err != nil {
		return nil, err
	}
	return &leaderLock{Interface: lock}, nil
}

// Get implements resourcelock.Interface.
func (l *leaderLock) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	record, raw, err := l.Interface.Get(ctx)
	if err == nil && record.HolderIdentity != l.Identity() && l.renewed.Load() != nil {
		l.renewed.Store(new(time.Time{}))
	}
	return record, raw, err
}

// Create implements resourcelock.Interface.
func (l *leaderLock) Create(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	return l.write(record, func() error { return l.Interface.Create(ctx, record) })
}

// Update implements resourcelock.Interface.
func (l *leaderLock) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	return l.write(record, func() error { return l.Interface.Update(ctx, record) })
}

func (l *leaderLock) write(record resourcelock.LeaderElectionRecord, write func() error) error {
	began := time.Now()
	err := write()
	if err == nil && record.HolderIdentity == l.Identity() {
		l.renewed.Store(&began)
	}
	return err
}

var errLeaseLost = errors.New("this replica does not lead any more, and writes nothing: it could not renew its lease in time")

// fence refuses the writes of a replica that has led and could not renew the lease in time: another one may lead. Others wait for
// longer than renewDeadline before they take a lease.
func (l *leaderLock) fence(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		if at := l.renewed.Load(); at != nil && r.Method != http.MethodGet && age(*at, time.Now()) > renewDeadline {
			if r.Body != nil {
				_ = r.Body.Close()
			}
			return nil, errLeaseLost
		}
		return next.RoundTrip(r)
	})
}

// age is how much time has passed, also where the machine was suspended, for which the monotonic clock stands still.
func age(at, now time.Time) time.Duration { return max(now.Sub(at), now.Round(0).Sub(at)) }

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
