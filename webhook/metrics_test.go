package webhook

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
)

// instrumented is a server that counts in a registry of its own.
func instrumented(t *testing.T, g *Server) (*Server, *prometheus.Registry) {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	if err := g.Instrument(registry); err != nil {
		t.Fatal(err)
	}
	return g, registry
}

// series are the names of all series of a registry, sorted, and those that are not zero with what they count.
func series(t *testing.T, registry *prometheus.Registry) (all, counted []string) {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			name := family.GetName() + "{" + strings.Join(labels, ",") + "}"
			all = append(all, name)
			n := m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
			if n > 0 {
				counted = append(counted, fmt.Sprint(name, " ", n))
			}
		}
	}
	slices.Sort(all)
	slices.Sort(counted)
	return all, counted
}

// TestEachAnswerIsCounted holds what is counted of a pass, a refusal with two faults, a warning and of what could not be judged.
func TestEachAnswerIsCounted(t *testing.T) {
	t.Parallel()
	hosts := &server{federations: []v1alpha1.Federation{federation("f")}}
	g, registry := instrumented(t, serverOf(t, hosts, hosts))
	ask := func(dryRun bool, edit func(*v1alpha1.MemberCluster)) {
		m := cluster("m", "f", "x")
		edit(&m)
		answer(t, g, review(t, &m, dryRun))
	}
	ask(false, func(*v1alpha1.MemberCluster) {})
	ask(true, func(m *v1alpha1.MemberCluster) { m.Spec.Server = "https://u@h?q" })
	ask(false, func(m *v1alpha1.MemberCluster) { m.Spec.Server = "https://localhost" })
	hosts.err = errors.New("connection refused")
	ask(false, func(m *v1alpha1.MemberCluster) { m.Labels[v1alpha1.LabelFederation] = "g" })

	_, counted := series(t, registry)
	if diff := cmp.Diff([]string{
		"kubefederate_admission_decisions_total{dry_run=false,operation=CREATE,outcome=allowed,resource=memberclusters} 2",
		"kubefederate_admission_decisions_total{dry_run=false,operation=CREATE,outcome=undecided,resource=memberclusters} 1",
		"kubefederate_admission_decisions_total{dry_run=true,operation=CREATE,outcome=refused,resource=memberclusters} 1",
		"kubefederate_admission_duration_seconds{operation=CREATE,resource=memberclusters} 4",
		"kubefederate_admission_findings_total{outcome=refused,resource=memberclusters,rule=endpoint} 2",
		"kubefederate_admission_findings_total{outcome=warned,resource=memberclusters,rule=endpoint} 1",
	}, counted); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestSeriesAreBounded holds that reviews create no series beyond those of the tables and one named unknown: neither by an
// operation, nor by a name, nor by a rule.
func TestSeriesAreBounded(t *testing.T) {
	t.Parallel()
	g, registry := instrumented(t, serverOf(t, &server{}, &server{}))
	before, _ := series(t, registry)
	members, federations := len(rules.MemberRules), len(rules.FederationRules)
	// Two operations on members and three on federations: with three outcomes, as a dry run or not, and a duration.
	// And three of the journal.
	if want := 2*(members+federations) + 5*(3*2+1) + 3; len(before) != want {
		t.Errorf("%d series, want %d:\n%s", len(before), want, strings.Join(before, "\n"))
	}
	for i := range 50 {
		odd := fmt.Sprint("odd-", i)
		ctx := admission.NewContextWithRequest(t.Context(), admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
			Operation: admissionv1.Operation(odd), Name: odd,
		}})
		for _, r := range []resource{resourceMembers, resourceFederations} {
			_, _ = g.metrics.count(ctx, r, func() (rules.Verdict, error) {
				e := field.Invalid(field.NewPath(odd), odd, odd)
				e.Origin = odd
				return rules.Verdict{Findings: rules.Findings{Refusals: field.ErrorList{e}, Warnings: field.ErrorList{e}}}, nil
			})
		}
		m := cluster(odd, odd, odd)
		answer(t, g, review(t, &m, i%2 == 0))
	}
	after, _ := series(t, registry)
	var grown []string
	for _, name := range after {
		if !slices.Contains(before, name) {
			grown = append(grown, name)
		}
	}
	if diff := cmp.Diff([]string{
		"kubefederate_admission_decisions_total{dry_run=false,operation=unknown,outcome=allowed,resource=federations}",
		"kubefederate_admission_decisions_total{dry_run=false,operation=unknown,outcome=allowed,resource=memberclusters}",
		"kubefederate_admission_duration_seconds{operation=unknown,resource=federations}",
		"kubefederate_admission_duration_seconds{operation=unknown,resource=memberclusters}",
		"kubefederate_admission_findings_total{outcome=refused,resource=federations,rule=unknown}",
		"kubefederate_admission_findings_total{outcome=refused,resource=memberclusters,rule=unknown}",
		"kubefederate_admission_findings_total{outcome=warned,resource=federations,rule=unknown}",
		"kubefederate_admission_findings_total{outcome=warned,resource=memberclusters,rule=unknown}",
	}, grown); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestOutcome(t *testing.T) {
	t.Parallel()
	members := schema.GroupResource{Resource: "memberclusters"}
	for want, errs := range map[string][]error{
		outcomeAllowed: {nil},
		outcomeRefused: {
			apierrors.NewInvalid(schema.GroupKind{}, "m", nil), apierrors.NewForbidden(members, "m", nil), apierrors.NewConflict(members, "m", nil),
		},
		outcomeUndecided: {
			errors.New("x"), apierrors.NewInternalError(errors.New("x")), apierrors.NewTooManyRequests("later", 1), apierrors.NewTimeoutError("x", 1),
		},
	} {
		for _, err := range errs {
			if got := outcome(err); got != want {
				t.Errorf("%v: %s, want %s", err, got, want)
			}
		}
	}
}
