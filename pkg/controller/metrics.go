package controller

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// metrics count probes. No label holds a name that a user chose, and every counter is there from the start.
type metrics struct {
	probes   *prometheus.CounterVec
	renewals *prometheus.CounterVec
	duration prometheus.Histogram
	// renewed is there on a replica that has renewed the Lease of probes.
	renewed *prometheus.GaugeVec
}

// Results of renewals.
const (
	renewalRenewed = "renewed"
	renewalFailed  = "failed"
	renewalDropped = "dropped"
)

func newMetrics(registry prometheus.Registerer, members client.Reader) (*metrics, error) {
	m := &metrics{
		probes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kubefederate_probes_total",
			Help: "Probes of members, by the reason of the condition Ready that follows. Only the leader probes.",
		}, []string{"outcome"}),
		renewals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kubefederate_credential_renewals_total",
			Help: "Renewals of members' credentials, by result: renewed, failed, or dropped since another credential was stored meanwhile. Only the leader renews.",
		}, []string{"result"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "kubefederate_probe_duration_seconds",
			Help:    "Time that a probe took, including the reading of nodes when that was due.",
			Buckets: []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30},
		}),
		renewed: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "kubefederate_probes_renew_timestamp_seconds",
			Help: "Until when every member whose turn had come has been probed, in seconds since 1970. Only the leader has it.",
		}, nil),
	}
	for _, reason := range probeReasons {
		m.probes.WithLabelValues(reason)
	}
	for _, result := range []string{renewalRenewed, renewalFailed, renewalDropped} {
		m.renewals.WithLabelValues(result)
	}
	for _, c := range []prometheus.Collector{m.probes, m.renewals, m.duration, m.renewed, memberCollector{members}} {
		if err := registry.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics of members: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) probed(o outcome, took time.Duration) {
	m.probes.WithLabelValues(o.reason).Inc()
	m.duration.Observe(took.Seconds())
}

// memberCollector counts members when metrics are scraped, from the cache, on every replica.
type memberCollector struct{ client.Reader }

var (
	membersDesc   = prometheus.NewDesc("kubefederate_members", "Members by phase.", []string{"phase"}, nil)
	violatingDesc = prometheus.NewDesc("kubefederate_members_violating", "Members that break a rule of their federation.", nil, nil)
	expiryDesc    = prometheus.NewDesc("kubefederate_credential_expiry_timestamp_seconds",
		"When the first of the stored credentials expires, in seconds since 1970. It is absent while no credential is stored.", nil, nil)
	phases = []v1alpha1.Phase{
		v1alpha1.PhaseJoining, v1alpha1.PhasePending, v1alpha1.PhaseReady, v1alpha1.PhaseNotReady, v1alpha1.PhaseOffline,
		v1alpha1.PhaseSuspended, v1alpha1.PhaseLeaving,
	}
)

// Describe implements prometheus.Collector.
func (memberCollector) Describe(into chan<- *prometheus.Desc) {
	into <- membersDesc
	into <- violatingDesc
	into <- expiryDesc
}

// Collect implements prometheus.Collector.
func (c memberCollector) Collect(into chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	var list v1alpha1.MemberClusterList
	if err := c.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		// The cache is not filled yet: no number is better than a wrong one.
		return
	}
	count, violating, first := tally(list.Items)
	for _, phase := range phases {
		into <- prometheus.MustNewConstMetric(membersDesc, prometheus.GaugeValue, float64(count[phase]), string(phase))
	}
	into <- prometheus.MustNewConstMetric(violatingDesc, prometheus.GaugeValue, float64(violating))
	if !first.IsZero() {
		into <- prometheus.MustNewConstMetric(expiryDesc, prometheus.GaugeValue, float64(first.Unix()))
	}
}

// tally counts members by phase and those that break rules, and finds the credential that expires first. A member without a
// status is joining.
func tally(members []v1alpha1.MemberCluster) (count map[v1alpha1.Phase]int, violating int, first time.Time) {
	count = map[v1alpha1.Phase]int{}
	for i := range members {
		phase := members[i].Status.Phase
		if phase == "" {
			phase = v1alpha1.PhaseJoining
		}
		count[phase]++
		if len(members[i].Status.Violations) > 0 {
			violating++
		}
		if end := members[i].Status.CredentialExpiry; end != nil && (first.IsZero() || end.Time.Before(first)) {
			first = end.Time
		}
	}
	return count, violating, first
}
