package controller

import (
	"context"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/version"
)

const (
	// patienceIntervals is how many intervals of probes pass before nothing is known of members any more, and minPatience the
	// shortest such time: another replica takes as long to lead the controllers.
	patienceIntervals, minPatience = 3, 15 * time.Second
	// leaseRetry is how soon the Lease is tried again that stays as it is, since a member waits.
	leaseRetry = 200 * time.Millisecond
	// leaseTimeout bounds one renewal.
	leaseTimeout = 10 * time.Second
	// clockTolerance is by how much the clock of the host may seem to differ: it shows whole seconds, and answers take time.
	clockTolerance = 2 * time.Second
)

// lease renews the Lease kubefederate-probes, by which readers know how old the statuses of members are.
//
// # What it says
//
// Every member whose turn to be probed came before spec.renewTime has been probed since then, by the manager that
// spec.holderIdentity names. So it stands still while the manager does not run, does not lead, is stuck, or is so late that a
// member waits for its turn, and is never set back. Members that have nothing to probe do not count, and one that is being
// probed does not wait, however slowly it answers. When spec.leaseDurationSeconds have passed since, three times the shortest
// interval of probes, nothing is known of members any more.
//
// What it says is of the past and stays true, so it does no harm if a manager writes it that has stood still meanwhile or does not
// lead any more. The time is that of the host's clock, by which readers judge it: this machine's is corrected when it differs.
//
// A renewal is one read and one write. It takes place three times in that duration, however many members there are.
type lease struct {
	client client.Client
	// direct reads past the cache, and sets a cluster.Clock.
	direct  client.Reader
	prober  *prober
	holder  string
	log     logr.Logger
	metrics *metrics
}

// Start renews the Lease until ctx ends. Only the leader does.
func (l *lease) Start(ctx context.Context) error {
	var members v1alpha1.MemberClusterList
	// Names are taken from the list, so it need not be copied out of the cache.
	if err := l.client.List(ctx, &members, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("list the members that are to be probed: %w", err)
	}
	names := make([]string, len(members.Items))
	for i := range members.Items {
		names[i] = members.Items[i].Name
	}
	l.prober.expect(names, l.renewedLast(ctx))
	for delay := leaseRetry; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(delay):
		}
		renewed, err := l.renew(ctx)
		if err != nil && ctx.Err() == nil {
			l.log.Error(err, "could not renew the Lease", "lease", manifests.ProbesLease)
		}
		delay = leaseRetry
		if renewed || err != nil {
			delay = l.prober.patience() / patienceIntervals
		}
	}
}

// renewedLast is the time that the Lease has when this manager begins; zero when it cannot be read.
func (l *lease) renewedLast(ctx context.Context) time.Time {
	ctx, cancel := context.WithTimeout(ctx, leaseTimeout)
	defer cancel()
	live := manifests.NewProbesLease(version.Version)
	if err := l.direct.Get(ctx, client.ObjectKeyFromObject(live), live); err != nil || live.Spec.RenewTime == nil {
		return time.Time{}
	}
	if now := time.Now(); live.Spec.RenewTime.After(now) {
		return now // a clock was wrong
	}
	return live.Spec.RenewTime.Time
}

// renew moves the time of the Lease on; it is false when it stays, since a member waits, or another manager has written it.
func (l *lease) renew(ctx context.Context) (renewed bool, err error) {
	until, ok := l.prober.probedUntil(time.Now())
	if !ok {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, leaseTimeout)
	defer cancel()
	var clock cluster.Clock
	live := manifests.NewProbesLease(version.Version)
	err = l.direct.Get(clock.Of(ctx), client.ObjectKeyFromObject(live), live)
	if apierrors.IsNotFound(err) {
		return false, l.client.Create(ctx, live, client.FieldOwner(v1alpha1.ManagerFieldOwner))
	}
	if err != nil {
		return false, err
	}
	now := time.Now()
	if ahead := clock.Now().Sub(now); !clock.Now().IsZero() && ahead.Abs() > clockTolerance {
		until, now = until.Add(ahead), clock.Now()
	}
	until = until.Truncate(time.Microsecond) // as it is stored
	// A time that is still to come was written by a clock that was wrong.
	if at := live.Spec.RenewTime; at != nil && !until.After(at.Time) && !at.After(now.Add(clockTolerance)) {
		return false, nil
	}
	live.Spec.RenewTime = new(metav1.NewMicroTime(until))
	duration := int32((l.prober.patience() + time.Second - 1) / time.Second)
	live.Spec.LeaseDurationSeconds = &duration
	live.Spec.HolderIdentity = &l.holder
	err = l.client.Update(ctx, live, client.FieldOwner(v1alpha1.ManagerFieldOwner))
	if apierrors.IsConflict(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	l.metrics.renewed.WithLabelValues().Set(float64(until.UnixMilli()) / 1000)
	l.metrics.patience.WithLabelValues().Set(float64(duration))
	return true, nil
}
