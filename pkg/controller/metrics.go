package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// metrics count probes. No label holds a name that a user chose, and every counter is there from the start.
type metrics struct {
	probes   *prometheus.CounterVec
	renewals *prometheus.CounterVec
	duration prometheus.Histogram
	// renewed and patience are there on a replica that has renewed the Lease of probes.
	renewed, patience *prometheus.GaugeVec
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
		patience: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "kubefederate_probes_lease_duration_seconds",
			Help: "How long after kubefederate_probes_renew_timestamp_seconds nothing is known of members any more. Only the leader has it.",
		}, nil),
	}
	for _, reason := range probeReasons {
		m.probes.WithLabelValues(reason)
	}
	for _, result := range []string{renewalRenewed, renewalFailed, renewalDropped} {
		m.renewals.WithLabelValues(result)
	}
	for _, c := range []prometheus.Collector{m.probes, m.renewals, m.duration, m.renewed, m.patience, memberCollector{members}} {
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
	membersDesc     = prometheus.NewDesc("kubefederate_members", "Members by phase.", []string{"phase"}, nil)
	violatingDesc   = prometheus.NewDesc("kubefederate_members_violating", "Members that break a rule of their federation.", nil, nil)
	credentialsDesc = prometheus.NewDesc("kubefederate_credentials", "Members by the reason of their condition CredentialValid.", []string{"reason"}, nil)
	expiryDesc      = prometheus.NewDesc("kubefederate_credential_expiry_timestamp_seconds",
		"When the first of the stored credentials expires, in seconds since 1970. It is absent while no credential is stored.", nil, nil)
	publishedDesc   = prometheus.NewDesc("kubefederate_published", "Members of federations with an inventory, by the reason of their condition Published.", []string{"reason"}, nil)
	inventoriesDesc = prometheus.NewDesc("kubefederate_inventories", "Federations with an inventory, by the reason of their condition InventoryPublished.", []string{"reason"}, nil)
	servicesDesc    = prometheus.NewDesc("kubefederate_services", "Federations with spec.services, by the reason of their condition ServicesPublished.", []string{"reason"}, nil)
	recordsDesc     = prometheus.NewDesc("kubefederate_service_records", "Record sets of DNS that exported services have.", nil, nil)
	phases          = []v1alpha1.Phase{
		v1alpha1.PhaseJoining, v1alpha1.PhasePending, v1alpha1.PhaseReady, v1alpha1.PhaseNotReady, v1alpha1.PhaseOffline,
		v1alpha1.PhaseSuspended, v1alpha1.PhaseLeaving,
	}
	credentialReasons = []string{
		v1alpha1.ReasonCredentialStored, v1alpha1.ReasonCredentialExpiring, v1alpha1.ReasonCredentialRenewalFailed, v1alpha1.ReasonCredentialExpired,
		v1alpha1.ReasonCredentialMissing, v1alpha1.ReasonCredentialNotOwned, v1alpha1.ReasonCredentialMalformed, v1alpha1.ReasonCredentialMismatch,
		v1alpha1.ReasonCredentialRevoked, v1alpha1.ReasonCredentialWithoutExpiry,
	}
	publishedReasons = []string{
		v1alpha1.ReasonPublished, v1alpha1.ReasonNotAccepted, v1alpha1.ReasonInventoryUnavailable, v1alpha1.ReasonProfileTaken,
		v1alpha1.ReasonProfileRefused, v1alpha1.ReasonConsumerCredentialFailed,
	}
	inventoryReasons = []string{
		v1alpha1.ReasonPublished, v1alpha1.ReasonNamespaceMissing, v1alpha1.ReasonNamespaceNotLabeled, v1alpha1.ReasonNamespaceReplaced,
		v1alpha1.ReasonProfilesNotServed, v1alpha1.ReasonInventoryForbidden, v1alpha1.ReasonInventoryUnreadable,
	}
	servicesReasons = []string{
		v1alpha1.ReasonPublished, v1alpha1.ReasonServicesIncomplete, v1alpha1.ReasonNamespaceMissing, v1alpha1.ReasonDNSEndpointsNotServed,
		v1alpha1.ReasonDNSForbidden, v1alpha1.ReasonDNSFailed,
	}
)

// Describe implements prometheus.Collector.
func (memberCollector) Describe(into chan<- *prometheus.Desc) {
	into <- membersDesc
	into <- violatingDesc
	into <- credentialsDesc
	into <- expiryDesc
	into <- publishedDesc
	into <- inventoriesDesc
	into <- servicesDesc
	into <- recordsDesc
}

// Collect implements prometheus.Collector.
func (c memberCollector) Collect(into chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	var (
		list        v1alpha1.MemberClusterList
		federations v1alpha1.FederationList
	)
	if errors.Join(c.List(ctx, &list, client.UnsafeDisableDeepCopy), c.List(ctx, &federations, client.UnsafeDisableDeepCopy)) != nil {
		// The cache is not filled yet: no number is better than a wrong one.
		return
	}
	t := tallyOf(list.Items)
	inventories, services := reasonsOf(federations.Items, v1alpha1.ConditionInventoryPublished), reasonsOf(federations.Items, v1alpha1.ConditionServicesPublished)
	for _, phase := range phases {
		into <- prometheus.MustNewConstMetric(membersDesc, prometheus.GaugeValue, float64(t.phases[phase]), string(phase))
	}
	for _, reason := range credentialReasons {
		into <- prometheus.MustNewConstMetric(credentialsDesc, prometheus.GaugeValue, float64(t.credentials[reason]), reason)
	}
	for _, reason := range publishedReasons {
		into <- prometheus.MustNewConstMetric(publishedDesc, prometheus.GaugeValue, float64(t.published[reason]), reason)
	}
	for _, reason := range inventoryReasons {
		into <- prometheus.MustNewConstMetric(inventoriesDesc, prometheus.GaugeValue, float64(inventories[reason]), reason)
	}
	for _, reason := range servicesReasons {
		into <- prometheus.MustNewConstMetric(servicesDesc, prometheus.GaugeValue, float64(services[reason]), reason)
	}
	var records int32
	for i := range federations.Items {
		if status := federations.Items[i].Status.Services; status != nil {
			records += status.Records
		}
	}
	into <- prometheus.MustNewConstMetric(recordsDesc, prometheus.GaugeValue, float64(records))
	into <- prometheus.MustNewConstMetric(violatingDesc, prometheus.GaugeValue, float64(t.violating))
	if !t.expiry.IsZero() {
		into <- prometheus.MustNewConstMetric(expiryDesc, prometheus.GaugeValue, float64(t.expiry.Unix()))
	}
}

// tally is what the statuses of members add up to.
type tally struct {
	phases map[v1alpha1.Phase]int
	// credentials are members by the reason of CredentialValid, and published by that of Published.
	credentials, published map[string]int
	// violating are those that break rules.
	violating int
	// expiry is when the first credential expires; zero when none is stored.
	expiry time.Time
}

// tallyOf adds up. A member without a status is joining.
func tallyOf(members []v1alpha1.MemberCluster) tally {
	t := tally{phases: map[v1alpha1.Phase]int{}, credentials: map[string]int{}, published: map[string]int{}}
	for i := range members {
		status := &members[i].Status
		phase := status.Phase
		if phase == "" {
			phase = v1alpha1.PhaseJoining
		}
		t.phases[phase]++
		if c := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionCredentialValid); c != nil {
			t.credentials[c.Reason]++
		}
		if c := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionPublished); c != nil {
			t.published[c.Reason]++
		}
		if len(status.Violations) > 0 {
			t.violating++
		}
		if end := status.CredentialExpiry; end != nil && (t.expiry.IsZero() || end.Time.Before(t.expiry)) {
			t.expiry = end.Time
		}
	}
	return t
}

// reasonsOf are federations by the reason of a condition.
func reasonsOf(federations []v1alpha1.Federation, condition string) map[string]int {
	reasons := map[string]int{}
	for i := range federations {
		if c := meta.FindStatusCondition(federations[i].Status.Conditions, condition); c != nil {
			reasons[c.Reason]++
		}
	}
	return reasons
}
