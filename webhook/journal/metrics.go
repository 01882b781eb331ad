package journal

import "github.com/prometheus/client_golang/prometheus"

// metrics show what holds places and identities in vain, which is what a client that forges reviews can do.
type metrics struct {
	bytes     prometheus.Gauge
	neverSeen prometheus.Counter
	conflicts prometheus.Counter
}

func newMetrics() metrics {
	return metrics{
		bytes: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "kubefederate_journal_bytes",
			Help: "What the entries of the journal of admitted writes take. At 500000 it is full, and at half of that for one federation.",
		}),
		neverSeen: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "kubefederate_journal_entries_never_seen_total",
			Help: "Admitted writes that never came, which held a place or an identity for 45 seconds: another admission plugin refused " +
				"them, or a client forged their reviews.",
		}),
		conflicts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "kubefederate_journal_conflicts_total",
			Help: "Writes of the journal that were tried again, since another replica had written it.",
		}),
	}
}
