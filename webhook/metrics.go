package webhook

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/kubefederate/kubectl-federate/pkg/rules"
)

// resource is a kind's resource, as the metrics name it.
type resource string

const (
	resourceMembers     resource = "memberclusters"
	resourceFederations resource = "federations"
)

// Outcomes of a request, and of what a rule found in one.
const (
	outcomeAllowed   = "allowed"
	outcomeRefused   = "refused"
	outcomeUndecided = "undecided"
	outcomeWarned    = "warned"
)

// unknown is the label of a value that is in no table: a client that sends reviews cannot make series of its own.
const unknown = "unknown"

// metrics count what is answered. The labels take the values of tables, and every series is there from the start, so
// that a rate is right from the first refusal on. Nil metrics count nothing.
type metrics struct {
	decisions, findings *prometheus.CounterVec
	duration            *prometheus.HistogramVec
	operations          map[resource][]string
	rules               map[resource][]string
}

// Instrument counts from now on, in a registry. It is an error to do so twice with one registry.
func (s *Server) Instrument(registry prometheus.Registerer) error {
	m := newMetrics()
	for _, c := range []prometheus.Collector{m.decisions, m.findings, m.duration} {
		if err := registry.Register(c); err != nil {
			return fmt.Errorf("register metrics of admission: %w", err)
		}
	}
	s.metrics = m
	return s.journal.Instrument(registry)
}

func newMetrics() *metrics {
	m := &metrics{
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kubefederate_admission_decisions_total",
			Help: "Reviews of members and federations. Undecided ones were neither allowed nor refused by a rule: the manager could not judge them.",
		}, []string{"resource", "operation", "outcome", "dry_run"}),
		findings: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kubefederate_admission_findings_total",
			Help: "Faults that a rule refused, or only warned of. One review may have several; dry runs count.",
		}, []string{"resource", "rule", "outcome"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "kubefederate_admission_duration_seconds",
			Help: "Time to judge a review, live reads included. API servers wait for five seconds.",
			// From a judgement in memory to the deadline of live reads.
			Buckets: []float64{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 4},
		}, []string{"resource", "operation"}),
		operations: map[resource][]string{
			resourceMembers:     {string(admissionv1.Create), string(admissionv1.Update)},
			resourceFederations: {string(admissionv1.Create), string(admissionv1.Update), string(admissionv1.Delete)},
		},
		rules: map[resource][]string{resourceMembers: ids(rules.MemberRules), resourceFederations: ids(rules.FederationRules)},
	}
	for r, operations := range m.operations {
		for _, operation := range operations {
			m.duration.WithLabelValues(string(r), operation)
			for _, outcome := range []string{outcomeAllowed, outcomeRefused, outcomeUndecided} {
				for _, dryRun := range []string{"false", "true"} {
					m.decisions.WithLabelValues(string(r), operation, outcome, dryRun)
				}
			}
		}
		for _, rule := range m.rules[r] {
			m.findings.WithLabelValues(string(r), rule, outcomeRefused)
			m.findings.WithLabelValues(string(r), rule, outcomeWarned)
		}
	}
	return m
}

func ids[C any](table []rules.Rule[C]) []string {
	list := make([]string, len(table))
	for i, rule := range table {
		list[i] = string(rule.ID)
	}
	return list
}

// count makes a decision and counts it.
func (m *metrics) count(ctx context.Context, r resource, decide func() (rules.Verdict, error)) (admission.Warnings, error) {
	began := time.Now()
	verdict, err := decide()
	if m != nil {
		m.add(ctx, r, verdict, err, time.Since(began))
	}
	return verdict.WarningTexts(), err
}

func (m *metrics) add(ctx context.Context, r resource, verdict rules.Verdict, err error, took time.Duration) {
	operation, dryRun := unknown, false
	if request, e := admission.RequestFromContext(ctx); e == nil {
		operation = known(m.operations[r], string(request.Operation))
		dryRun = request.DryRun != nil && *request.DryRun
	}
	m.duration.WithLabelValues(string(r), operation).Observe(took.Seconds())
	m.decisions.WithLabelValues(string(r), operation, outcome(err), strconv.FormatBool(dryRun)).Inc()
	for _, list := range []struct {
		outcome string
		faults  field.ErrorList
	}{{outcomeRefused, verdict.Refusals}, {outcomeWarned, verdict.Warnings}} {
		for _, e := range list.faults {
			m.findings.WithLabelValues(string(r), known(m.rules[r], e.Origin), list.outcome).Inc()
		}
	}
}

func known(table []string, value string) string {
	if slices.Contains(table, value) {
		return value
	}
	return unknown
}

// outcome distinguishes a refusal from a failure to judge. Being asked to try again later is not a refusal.
func outcome(err error) string {
	var status apierrors.APIStatus
	switch {
	case err == nil:
		return outcomeAllowed
	case errors.As(err, &status) && status.Status().Code < http.StatusInternalServerError && status.Status().Code != http.StatusTooManyRequests:
		return outcomeRefused
	}
	return outcomeUndecided
}
