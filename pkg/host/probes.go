package host

import (
	"cmp"
	"context"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

// ProbesRef names the Lease that the manager renews while it probes members.
func ProbesRef() cluster.Ref {
	return cluster.Ref{Resource: cluster.Leases, Namespace: v1alpha1.HostNamespace, Name: manifests.ProbesLease}
}

// Probes say until when the manager has looked at members, by the clock of the host's API server.
type Probes struct {
	// Until is when every member whose turn had come had been probed; zero when the manager has not said so yet, or Err is set.
	Until time.Time
	// Installed is when the Lease was made.
	Installed time.Time
	// Patience is how long after Until nothing is known any more.
	Patience time.Duration
	// Now is the time on the host when it answered.
	Now time.Time
	// Err is why it is not known; nil when it is.
	Err error
}

// defaultPatience is that of a Lease that was never renewed: three intervals of the manager's default.
const defaultPatience = 90 * time.Second

// Probes reads until when members have been probed. It is one request, which goes well with a list of members at the same time.
func (c *Cluster) Probes(ctx context.Context) Probes {
	var clock cluster.Clock
	o, err := c.Get(clock.Of(ctx), ProbesRef())
	lease, err := typed[coordinationv1.Lease](c, o, err)
	if err != nil {
		return Probes{Err: err}
	}
	p := Probes{Installed: lease.CreationTimestamp.Time, Patience: defaultPatience, Now: clock.Now()}
	if p.Now.IsZero() { // a proxy took the header away
		p.Now = time.Now()
	}
	if at := lease.Spec.RenewTime; at != nil {
		p.Until = at.Time
	}
	if s := lease.Spec.LeaseDurationSeconds; s != nil && *s > 0 {
		p.Patience = time.Duration(*s) * time.Second
	}
	return p
}

// Since is until when members were probed, or where that has not begun, since when they are not.
func (p Probes) Since() time.Time {
	if p.Until.IsZero() {
		return p.Installed
	}
	return p.Until
}

// Stopped says that members are not being probed, so that the phase that is stored of one may have become wrong.
func (p Probes) Stopped() bool {
	return p.Err == nil && p.Now.Sub(p.Since()) > p.Patience
}

// NotInstalled says that the host has no such Lease: an earlier release installed it.
func (p Probes) NotInstalled() bool { return p.Err != nil && apierrors.IsNotFound(p.Err) }

// Interval is after what time to read again, to see in time that probes have stopped, or go on.
func (p Probes) Interval() time.Duration { return cmp.Or(p.Patience, defaultPatience) / 3 }
