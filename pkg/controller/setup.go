package controller

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	ctrl "sigs.k8s.io/controller-runtime"
)

// Options of the reconcilers.
type Options struct {
	// Interval is the longest time between two probes of a member.
	Interval time.Duration
	// Timeout is how long a probe waits for the answer. Reading all nodes may take three times as long.
	Timeout time.Duration
	// Registry gets the metrics.
	Registry prometheus.Registerer
}

// Setup adds every reconciler to mgr. Its cache must see MemberClusters, Federations, and Secrets of the
// namespace kubefederate-credentials.
func Setup(mgr ctrl.Manager, o Options) error {
	metrics, err := newMetrics(o.Registry, mgr.GetClient())
	if err != nil {
		return err
	}
	p := newProber(o.Interval, o.Timeout, mgr.GetLogger().WithName("prober"), metrics)
	if err := mgr.Add(p); err != nil {
		return fmt.Errorf("add the prober: %w", err)
	}
	if err := setupMember(mgr, p); err != nil {
		return err
	}
	return setupFederation(mgr)
}
