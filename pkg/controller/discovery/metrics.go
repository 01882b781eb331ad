package discovery

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kubefederate/kubectl-federate/pkg/discover"
)

// Results of joins.
const (
	resultJoined  = "joined"
	resultRefused = "refused"
	resultFailed  = "failed"
)

// metrics count what is discovered. No label holds a name that a user chose.
type metrics struct {
	joined   *prometheus.CounterVec
	left     prometheus.Counter
	errors   prometheus.Counter
	clusters *prometheus.GaugeVec
	duration prometheus.Histogram
}

// states are those of clusters that the metrics name.
var states = []discover.State{
	discover.Joined, discover.Wants, discover.Left, discover.Conflict, discover.Refused, discover.NotYetProved, discover.Unreachable,
	discover.NoAccess, discover.Gone,
}

func newMetrics(registry prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		joined: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kubefederate_discovery_joins_total",
			Help: "Joins that discovery tried, by result: joined, refused, or failed.",
		}, []string{"result"}),
		left: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "kubefederate_discovery_leaves_total",
			Help: "Members that discovery let leave since their object was gone.",
		}),
		errors: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "kubefederate_discovery_round_errors_total",
			Help: "Looks at all objects that were not complete, since the host could not be read or written.",
		}),
		clusters: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "kubefederate_discovery_clusters",
			Help: "Clusters whose objects ask a federation with spec.discovery for membership, by their state as discover prints it; Gone is members whose object is gone.",
		}, []string{"state"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "kubefederate_discovery_round_duration_seconds",
			Help:    "Time that a look at all objects took, with the joins that followed.",
			Buckets: []float64{0.01, 0.05, 0.25, 1, 2.5, 5, 10, 30, 60, 300},
		}),
	}
	for _, result := range []string{resultJoined, resultRefused, resultFailed} {
		m.joined.WithLabelValues(result)
	}
	for _, state := range states {
		m.clusters.WithLabelValues(string(state))
	}
	for _, c := range []prometheus.Collector{m.joined, m.left, m.errors, m.clusters, m.duration} {
		if err := registry.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics of discovery: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) round(took time.Duration) { m.duration.Observe(took.Seconds()) }
