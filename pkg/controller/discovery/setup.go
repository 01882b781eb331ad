package discovery

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/host"
)

// Options of discovery.
type Options struct {
	// Timeout is how long the clusters of a round have to answer, all together.
	Timeout time.Duration
	// Registry gets the metrics.
	Registry prometheus.Registerer
}

// Setup adds discovery to mgr, whose cache must see MemberClusters and Federations.
func Setup(mgr ctrl.Manager, o Options) error {
	metrics, err := newMetrics(o.Registry)
	if err != nil {
		return err
	}
	h, err := host.Connect(mgr.GetConfig())
	if err != nil {
		return err
	}
	own, err := cluster.NewHostAddresses(mgr.GetConfig())
	if err != nil {
		return err
	}
	watcher, err := client.NewWithWatch(mgr.GetConfig(), client.Options{Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper(), HTTPClient: mgr.GetHTTPClient()})
	if err != nil {
		return fmt.Errorf("watch the host: %w", err)
	}
	bell := newAlarm()
	c := &controller{
		client: mgr.GetClient(), host: h, own: own, recorder: mgr.GetEventRecorder(v1alpha1.DiscoveryFieldOwner), log: mgr.GetLogger().WithName("discovery"),
		metrics: metrics, timeout: o.Timeout, alarm: bell, watches: &watches{client: watcher, alarm: bell, of: map[watched]*watching{}},
		memory: &keptMemory{}, ledger: ledger{}, gone: map[types.UID]time.Time{}, leaving: map[types.UID]bool{}, tried: map[types.UID]attempt{},
		leaves: map[v1alpha1.FederationName][]time.Time{}, reported: map[string]string{},
	}
	for _, kind := range []client.Object{&v1alpha1.Federation{}, &v1alpha1.MemberCluster{}} {
		informer, err := mgr.GetCache().GetInformer(context.Background(), kind, cache.BlockUntilSynced(false))
		if err != nil {
			return fmt.Errorf("watch the host: %w", err)
		}
		if _, err := informer.AddEventHandler(bell.onChange()); err != nil {
			return fmt.Errorf("watch the host: %w", err)
		}
	}
	return mgr.Add(c)
}
