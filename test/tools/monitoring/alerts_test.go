package monitoring

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
)

// step is the time between two samples, and between two evaluations. The first ones are at the beginning of 1970, so that a series
// "0+60x9" is the time.
const step = time.Minute

// manager are the series by which a manager is recognized, and discovery some of a discovery controller.
const (
	manager   = `kubefederate_journal_bytes{job="m", instance="a"} 0x200`
	discovery = `kubefederate_discovery_round_duration_seconds_count{job="d", instance="c"} 0+1x200`
)

// cases are series in promtool's notation, one sample a minute, and the labels of the alert that fires after them; none is that it
// does not.
var cases = []struct {
	alert, name string
	series      []string
	minutes     int
	want        []string
}{
	{"KubefederateDown", "nothing is scraped", nil, 5, []string{`{}`}},
	{"KubefederateDown", "for a moment", nil, 4, nil},
	{"KubefederateDown", "it runs", []string{`kubefederate_admission_decisions_total 0x20`}, 20, nil},

	{"KubefederateOneReplica", "one of two ends", []string{manager, `kubefederate_journal_bytes{instance="b"} 0x5 stale`}, 21, []string{`{}`}},
	{"KubefederateOneReplica", "a rolling restart", []string{manager, `kubefederate_journal_bytes{instance="b"} 0x5 stale _x12 0x20`}, 18, nil},

	{"KubefederateNotProbing", "the time stands still", []string{manager, `kubefederate_probes_renew_timestamp_seconds 0x20`, `kubefederate_probes_lease_duration_seconds 90x20`}, 8, []string{`{}`}},
	{"KubefederateNotProbing", "no replica leads", []string{manager}, 5, []string{`{}`}},
	{"KubefederateNotProbing", "it goes on", []string{manager, `kubefederate_probes_renew_timestamp_seconds 0+60x20`, `kubefederate_probes_lease_duration_seconds 90x20`}, 20, nil},
	{"KubefederateNotProbing", "probes once an hour", []string{manager, `kubefederate_probes_renew_timestamp_seconds 0x50`, `kubefederate_probes_lease_duration_seconds 10800x50`}, 50, nil},
	{"KubefederateNotProbing", "no manager runs, which KubefederateDown says", nil, 20, nil},

	{"KubefederateStatusNotWritten", "fails for long", []string{manager, `controller_runtime_reconcile_errors_total{job="m", instance="a", controller="member-status"} 0+1x60`}, 45, []string{`{controller="member-status"}`}},
	{"KubefederateStatusNotWritten", "failed once", []string{manager, `controller_runtime_reconcile_errors_total{job="m", instance="a", controller="member-status"} 0x39 9x20`}, 45, nil},
	{"KubefederateDown", "the discovery controller runs alone", []string{discovery}, 5, []string{`{}`}},
	{"KubefederateOneReplica", "the discovery controller runs beside one", []string{manager, discovery}, 15, []string{`{}`}},
	{"KubefederateNotProbing", "the discovery controller runs alone, which KubefederateDown says", []string{discovery}, 20, nil},
	{"KubefederateMemory", "the discovery controller", []string{manager, discovery, `go_gc_heap_live_bytes{job="d", instance="c"} 470x20`, `go_gc_gomemlimit_bytes{job="d", instance="c"} 575x20`}, 15, nil},
	{"KubefederateStatusNotWritten", "the discovery controller fails", []string{manager, discovery, `controller_runtime_reconcile_errors_total{job="d", instance="c", controller="member-status"} 0+1x60`}, 45, nil},
	{"KubefederateStatusNotWritten", "another program fails", []string{manager, `controller_runtime_reconcile_errors_total{job="o", instance="a", controller="member-status"} 0+1x60`}, 45, nil},

	{"KubefederateMemory", "near the limit", []string{manager, `go_gc_heap_live_bytes{job="m", instance="a"} 470x20`, `go_gc_gomemlimit_bytes{job="m", instance="a"} 575x20`}, 15, []string{`{instance="a", job="m"}`}},
	{"KubefederateMemory", "below", []string{manager, `go_gc_heap_live_bytes{job="m", instance="a"} 450x20`, `go_gc_gomemlimit_bytes{job="m", instance="a"} 575x20`}, 15, nil},
	{"KubefederateMemory", "another program", []string{manager, `go_gc_heap_live_bytes{job="o", instance="a"} 470x20`, `go_gc_gomemlimit_bytes{job="o", instance="a"} 575x20`}, 15, nil},

	{"KubefederateMembersNotReady", "both kinds, seen by two replicas", []string{
		`kubefederate_members{phase="Offline", instance="a"} 1x20`, `kubefederate_members{phase="Offline", instance="b"} 1x20`, `kubefederate_members{phase="NotReady"} 2x20`,
	}, 15, []string{`{phase="NotReady"}`, `{phase="Offline"}`}},
	{"KubefederateMembersNotReady", "away for a moment", []string{`kubefederate_members{phase="Offline"} 0x4 1x20`}, 15, nil},
	{"KubefederateMembersNotReady", "others", []string{`kubefederate_members{phase="Ready"} 9x20`, `kubefederate_members{phase="Suspended"} 9x20`}, 20, nil},

	{"KubefederateCredentialsNotRenewed", "fails", []string{`kubefederate_credentials{reason="CredentialRenewalFailed"} 1x20`}, 10, []string{`{}`}},
	{"KubefederateCredentialsNotRenewed", "failed a moment ago", []string{`kubefederate_credentials{reason="CredentialRenewalFailed"} 0x2 1x20`}, 10, nil},
	{"KubefederateCredentialsExpiring", "a fifth is left", []string{`kubefederate_credentials{reason="CredentialExpiring"} 1x20`}, 5, []string{`{}`}},
	{"KubefederateCredentialsExpiring", "none", []string{`kubefederate_credentials{reason="CredentialExpiring"} 0x20`, `kubefederate_credentials{reason="CredentialStored"} 9x20`}, 20, nil},
	{"KubefederateCredentialExpired", "one", []string{`kubefederate_credentials{reason="CredentialExpired"} 1x20`}, 5, []string{`{}`}},
	{"KubefederateCredentialExpired", "none", []string{`kubefederate_credentials{reason="CredentialExpired"} 0x20`}, 20, nil},

	{"KubefederateInventoryNotPublished", "two causes, seen by two replicas", []string{
		`kubefederate_inventories{reason="NamespaceMissing", instance="a"} 1x20`, `kubefederate_inventories{reason="NamespaceMissing", instance="b"} 1x20`,
		`kubefederate_inventories{reason="InventoryForbidden"} 2x20`,
	}, 15, []string{`{reason="InventoryForbidden"}`, `{reason="NamespaceMissing"}`}},
	{"KubefederateInventoryNotPublished", "granted a moment later", []string{`kubefederate_inventories{reason="NamespaceMissing"} 1x9 0x20`}, 20, nil},
	{"KubefederateInventoryNotPublished", "none", []string{`kubefederate_inventories{reason="Published"} 3x20`, `kubefederate_inventories{reason="NamespaceMissing"} 0x20`}, 20, nil},
	{"KubefederateMembersNotPublished", "taken", []string{`kubefederate_published{reason="ProfileTaken"} 1x40`}, 30, []string{`{reason="ProfileTaken"}`}},
	{"KubefederateMembersNotPublished", "away for a moment", []string{`kubefederate_published{reason="ConsumerCredentialFailed"} 1x20 0x20`}, 40, nil},
	{"KubefederateMembersNotPublished", "others", []string{
		`kubefederate_published{reason="Published"} 9x40`, `kubefederate_published{reason="NotAccepted"} 2x40`, `kubefederate_published{reason="InventoryUnavailable"} 9x40`,
	}, 40, nil},

	{"KubefederateServicesNotPublished", "may not write", []string{`kubefederate_services{reason="DNSForbidden"} 1x20`}, 15, []string{`{reason="DNSForbidden"}`}},
	{"KubefederateServicesNotPublished", "some are left out", []string{`kubefederate_services{reason="ServicesIncomplete"} 1x20`, `kubefederate_services{reason="DNSFailed"} 0x20`}, 20, nil},

	{"KubefederateDiscoveryStopped", "no replica leads", []string{
		`kubefederate_discovery_round_duration_seconds_count{instance="a"} 0+1x9 9x40`, `kubefederate_discovery_round_duration_seconds_count{instance="b"} 0x50`,
	}, 25, []string{`{}`}},
	{"KubefederateDiscoveryStopped", "the pods are gone", []string{`kubefederate_discovery_round_duration_seconds_count 0+1x9 stale`}, 25, []string{`{}`}},
	{"KubefederateDiscoveryStopped", "it goes on in another pod", []string{
		`kubefederate_discovery_round_duration_seconds_count{instance="a"} 0+1x9 stale`, `kubefederate_discovery_round_duration_seconds_count{instance="b"} _x14 0+1x20`,
	}, 30, nil},
	{"KubefederateDiscoveryStopped", "it has just begun", []string{`kubefederate_discovery_round_duration_seconds_count 1x1 2+1x20`}, 10, nil},
	{"KubefederateDiscoveryStopped", "it is not installed", []string{manager}, 50, nil},
	{"KubefederateDiscoveryErrors", "each round", []string{
		`kubefederate_discovery_round_errors_total{instance="a"} 0+5x40`, `kubefederate_discovery_round_duration_seconds_count{instance="a"} 0+5x40`,
		`kubefederate_discovery_round_errors_total{instance="b"} 0x40`, `kubefederate_discovery_round_duration_seconds_count{instance="b"} 0x40`,
	}, 30, []string{`{}`}},
	{"KubefederateDiscoveryErrors", "a few rounds", []string{`kubefederate_discovery_round_errors_total 0x5 4x40`, `kubefederate_discovery_round_duration_seconds_count 0+1x40`}, 30, nil},
	{"KubefederateDiscoveryErrors", "it rests", []string{`kubefederate_discovery_round_errors_total 0x40`, `kubefederate_discovery_round_duration_seconds_count 0x40`}, 40, nil},
	{"KubefederateDiscoveryJoinsFail", "one cluster, once an hour", []string{
		`kubefederate_discovery_clusters{state="WantsToJoin", instance="a"} 1x200`, `kubefederate_discovery_clusters{state="WantsToJoin", instance="b"} 0x200`,
		`kubefederate_discovery_joins_total{result="failed", instance="a"} 0x59 1x59 2x59`,
	}, 180, []string{`{}`}},
	{"KubefederateDiscoveryJoinsFail", "joined in the end", []string{
		`kubefederate_discovery_clusters{state="WantsToJoin"} 1x50 0x150`, `kubefederate_discovery_joins_total{result="failed"} 0+1x6 6x200`,
	}, 100, nil},
	{"KubefederateDiscoveryJoinsFail", "a rule refuses it", []string{
		`kubefederate_discovery_clusters{state="WantsToJoin"} 1x200`, `kubefederate_discovery_joins_total{result="failed"} 0x200`, `kubefederate_discovery_joins_total{result="refused"} 0+1x200`,
	}, 180, nil},
	{"KubefederateDiscoveryNotJoined", "two causes", []string{
		`kubefederate_discovery_clusters{state="NoAccess", instance="a"} 2x70`, `kubefederate_discovery_clusters{state="NoAccess", instance="b"} 0x70`,
		`kubefederate_discovery_clusters{state="WantsToJoin", instance="a"} 1x70`,
	}, 60, []string{`{state="NoAccess"}`, `{state="WantsToJoin"}`}},
	{"KubefederateDiscoveryNotJoined", "for a moment", []string{`kubefederate_discovery_clusters{state="Unreachable"} 1x50 0x50`}, 70, nil},
	{"KubefederateDiscoveryNotJoined", "others", []string{
		`kubefederate_discovery_clusters{state="Joined"} 9x70`, `kubefederate_discovery_clusters{state="Left"} 1x70`, `kubefederate_discovery_clusters{state="Gone"} 1x70`,
	}, 70, nil},

	{"KubefederateCertificateExpiring", "six days are left", []string{`kubefederate_webhook_certificate_expiry_timestamp_seconds{instance="a"} 518400x90`, `kubefederate_webhook_certificate_expiry_timestamp_seconds{instance="b"} 7776000x90`}, 60, []string{`{}`}},
	{"KubefederateCertificateExpiring", "there is none", []string{`kubefederate_webhook_certificate_expiry_timestamp_seconds 0x90`}, 60, []string{`{}`}},
	{"KubefederateCertificateExpiring", "ninety days are left", []string{`kubefederate_webhook_certificate_expiry_timestamp_seconds 7776000x90`}, 60, nil},

	{"KubefederateUndecided", "many", []string{`kubefederate_admission_decisions_total{outcome="undecided"} 0+2x20`}, 10, []string{`{}`}},
	{"KubefederateUndecided", "one", []string{`kubefederate_admission_decisions_total{outcome="undecided"} 0x5 1x20`}, 10, nil},
	{"KubefederateUndecided", "refusals", []string{`kubefederate_admission_decisions_total{outcome="refused"} 0+9x20`}, 10, nil},

	{"KubefederateReviewsTurnedAway", "too many reviews", []string{`kubefederate_webhook_rejected_total{reason="reviews"} 0+60x30`}, 20, []string{`{reason="reviews"}`}},
	{"KubefederateReviewsTurnedAway", "a burst", []string{`kubefederate_webhook_rejected_total{reason="reviews"} 0x5 60x30`}, 20, nil},
	{"KubefederateReviewsTurnedAway", "paths are tried", []string{`kubefederate_webhook_rejected_total{reason="path"} 0+600x30`}, 20, nil},
	{"KubefederateRequestsRejected", "paths are tried", []string{`kubefederate_webhook_rejected_total{reason="path"} 0+600x30`}, 20, []string{`{reason="path"}`}},
	{"KubefederateRequestsRejected", "too many reviews", []string{`kubefederate_webhook_rejected_total{reason="reviews"} 0+600x30`}, 20, nil},

	{"KubefederateWritesNeverSeen", "many", []string{`kubefederate_journal_entries_never_seen_total 0+1x20`}, 15, []string{`{}`}},
	{"KubefederateWritesNeverSeen", "a few", []string{`kubefederate_journal_entries_never_seen_total 0x5 3x20`}, 15, nil},
	{"KubefederateJournalBusy", "nearly full", []string{`kubefederate_journal_bytes 240000x20`}, 5, []string{`{}`}},
	{"KubefederateJournalBusy", "half of that", []string{`kubefederate_journal_bytes 100000x20`}, 20, nil},
	{"KubefederateJournalConflicts", "without end", []string{`kubefederate_journal_conflicts_total{instance="a"} 0+200x40`, `kubefederate_journal_conflicts_total{instance="b"} 0+200x40`}, 30, []string{`{}`}},
	{"KubefederateJournalConflicts", "while many join", []string{`kubefederate_journal_conflicts_total 0+600x8 4800x40`}, 30, nil},
}

// TestAlerts plays each case, and holds that each alert is seen to fire and not to.
func TestAlerts(t *testing.T) {
	t.Parallel()
	rules := alerts(t)
	fires, silent := map[string]bool{}, map[string]bool{}
	for _, c := range cases {
		if len(c.want) > 0 {
			fires[c.alert] = true
		} else {
			silent[c.alert] = true
		}
		t.Run(c.alert+"/"+c.name, func(t *testing.T) {
			t.Parallel()
			r, ok := rules[c.alert]
			if !ok {
				t.Fatal("there is no such alert")
			}
			var got []string
			for _, firing := range play(t, r, load(t, c.series), c.minutes) {
				got = append(got, firing.Metric.String())
				check(t, r, firing)
			}
			slices.Sort(got)
			if !slices.Equal(got, c.want) {
				t.Errorf("after %d minutes it fires for %v, want %v", c.minutes, got, c.want)
			}
		})
	}
	for name := range rules {
		if !fires[name] || !silent[name] {
			t.Errorf("alert %s: fires: %v, does not fire: %v; it takes a case of each", name, fires[name], silent[name])
		}
	}
}

// play evaluates a rule each minute, and gives what fires at the last one.
func play(t *testing.T, r rule, series memory, minutes int) (firing []promql.Sample) {
	t.Helper()
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 1e6, Timeout: time.Minute, EnableAtModifier: true, Parser: parser.NewParser(parser.Options{})})
	defer func() {
		if err := engine.Close(); err != nil {
			t.Error(err)
		}
	}()
	var hold model.Duration
	if r.For != "" {
		var err error
		if hold, err = model.ParseDuration(r.For); err != nil {
			t.Fatal(err)
		}
	}
	since := map[string]time.Time{}
	for i := range minutes + 1 {
		now := time.Unix(0, 0).Add(time.Duration(i) * step)
		query, err := engine.NewInstantQuery(t.Context(), series, nil, r.Expr, now)
		if err != nil {
			t.Fatal(err)
		}
		result := query.Exec(t.Context())
		vector, err := result.Vector()
		if err != nil {
			t.Fatal(err)
		}
		was := since
		since, firing = map[string]time.Time{}, nil
		for _, sample := range vector {
			sample.Metric = labels.NewBuilder(sample.Metric).Del(model.MetricNameLabel).Labels()
			key := sample.Metric.String()
			since[key] = now
			if at, active := was[key]; active {
				since[key] = at
			}
			if now.Sub(since[key]) >= time.Duration(hold) {
				firing = append(firing, sample)
			}
		}
		query.Close()
	}
	return firing
}

// check holds that the annotations of an alert that fires can be written.
func check(t *testing.T, r rule, firing promql.Sample) {
	t.Helper()
	for name, text := range r.Annotations {
		parsed, err := template.New(name).Option("missingkey=error").Parse(`{{ $labels := .Labels }}{{ $value := .Value }}` + text)
		if err == nil {
			err = parsed.Execute(&strings.Builder{}, map[string]any{"Labels": firing.Metric.Map(), "Value": firing.F})
		}
		if err != nil {
			t.Errorf("the annotation %s: %v", name, err)
		}
	}
}

// memory is what a Prometheus has stored.
type memory []*storage.SeriesEntry

func load(t *testing.T, series []string) memory {
	t.Helper()
	var m memory
	for _, line := range series {
		lset, values, err := parser.NewParser(parser.Options{}).ParseSeriesDesc(line)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		var samples []chunks.Sample
		for i, v := range values {
			if !v.Omitted {
				samples = append(samples, sample{int64(i) * step.Milliseconds(), v.Value})
			}
		}
		m = append(m, storage.NewListSeries(lset, samples))
	}
	slices.SortFunc(m, func(a, b *storage.SeriesEntry) int { return labels.Compare(a.Labels(), b.Labels()) })
	return m
}

// Querier implements storage.Queryable.
func (m memory) Querier(int64, int64) (storage.Querier, error) { return m, nil }

// Select implements storage.Querier.
func (m memory) Select(_ context.Context, _ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	var found []storage.Series
	for _, s := range m {
		if !slices.ContainsFunc(matchers, func(matcher *labels.Matcher) bool { return !matcher.Matches(s.Labels().Get(matcher.Name)) }) {
			found = append(found, s)
		}
	}
	return &set{series: found}
}

// LabelValues implements storage.Querier.
func (memory) LabelValues(context.Context, string, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, errors.New("no rule asks for labels")
}

// LabelNames implements storage.Querier.
func (memory) LabelNames(context.Context, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, errors.New("no rule asks for labels")
}

// Close implements storage.Querier.
func (memory) Close() error { return nil }

// set is a storage.SeriesSet.
type set struct {
	series []storage.Series
	at     int
}

func (s *set) Next() bool                        { s.at++; return s.at <= len(s.series) }
func (s *set) At() storage.Series                { return s.series[s.at-1] }
func (s *set) Err() error                        { return nil }
func (s *set) Warnings() annotations.Annotations { return nil }

// sample is a chunks.Sample of a number.
type sample struct {
	t int64
	v float64
}

func (s sample) T() int64                      { return s.t }
func (s sample) ST() int64                     { return 0 }
func (s sample) F() float64                    { return s.v }
func (s sample) H() *histogram.Histogram       { return nil }
func (s sample) FH() *histogram.FloatHistogram { return nil }
func (s sample) Type() chunkenc.ValueType      { return chunkenc.ValFloat }
func (s sample) Copy() chunks.Sample           { return s }
