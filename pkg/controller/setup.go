package controller

import (
	"fmt"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

// Options of the reconcilers.
type Options struct {
	// Interval is the longest time between two probes of a member whose federation does not say.
	Interval time.Duration
	// Timeout is how long a probe waits for the answer. Reading all nodes may take three times as long.
	Timeout time.Duration
	// RenewalShare is the share of its life after which a credential is renewed: more than 0 and less than 1.
	RenewalShare float64
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
	hostAddresses, err := cluster.NewHostAddresses(mgr.GetConfig())
	if err != nil {
		return err
	}
	p := newProber(o.Interval, o.Timeout, mgr.GetLogger().WithName("prober"), metrics)
	p.host = hostAddresses
	if err := mgr.Add(p); err != nil {
		return fmt.Errorf("add the prober: %w", err)
	}
	r := &renewer{
		client: mgr.GetClient(), direct: mgr.GetAPIReader(), schedule: schedule{o.RenewalShare}, timeout: o.Timeout, host: hostAddresses,
		log: mgr.GetLogger().WithName("renewer"), metrics: metrics, recorder: mgr.GetEventRecorder(v1alpha1.ManagerFieldOwner),
		changes: p.changes, queue: workqueue.NewTypedDelayingQueue[string](),
	}
	if err := mgr.Add(r); err != nil {
		return fmt.Errorf("add the renewer: %w", err)
	}
	holder, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("name this manager: %w", err)
	}
	l := &lease{
		client: mgr.GetClient(), direct: mgr.GetAPIReader(), prober: p, holder: holder, log: mgr.GetLogger().WithName("lease"), metrics: metrics,
	}
	if err := mgr.Add(l); err != nil {
		return fmt.Errorf("add the Lease: %w", err)
	}
	inventory, err := setupInventory(mgr, o, p.changes)
	if err != nil {
		return err
	}
	inventory.consumers.host = hostAddresses
	judged := &judgements{of: map[string]judgement{}}
	services, err := setupServices(mgr, o, hostAddresses, p.changes)
	if err != nil {
		return err
	}
	if err := setupMember(mgr, p, r, judged, inventory, services); err != nil {
		return err
	}
	return setupFederation(mgr, judged, inventory, services)
}
