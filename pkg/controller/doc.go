// Package controller holds the reconcilers of the manager. They write the status of our objects, from what is on the
// host and what members answer, and never a spec.
//
// # What is written, and how often
//
// One reconciler writes the status of a MemberCluster and computes its phase. The prober beside it only remembers: it
// wakes the reconciler when what it found differs from what it found before, and the reconciler writes when that
// changes the status. So a member that stays as it is costs one write an hour, for lastProbeTime; a change of its nodes
// costs one in five minutes at most, and one that comes and goes costs one in Options.Interval.
//
// # What a member is asked
//
// Each probe is a get of the namespace kube-system: it takes the token, a right that every join gives, and etcd, and tells
// which cluster answers. On a new connection the version is read as well, and the nodes when it changed. Nodes are
// counted every five minutes, by a list of one, and all of them are read when their number changed, or an hour has
// passed. A connection is kept between probes.
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
