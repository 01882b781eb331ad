package controller

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/inventory"
)

// TestFirstLook plays a member through what it and its federation may become, one step after the other, and holds phase,
// acceptance, compliance, violations and whether it is published after each.
func TestFirstLook(t *testing.T) {
	t.Parallel()
	const (
		old    = `status.facts.kubernetesVersion: Invalid value: "v1.32.9": federation "prod" takes >=1.33`
		noTeam = `metadata.labels[team]: Required value: is required by federation "prod"`
		kept   = "True RulesKept: the member keeps the rules of federation \"prod\""
		yes    = "True Accepted: the cluster is a member of the federation"
	)
	facts := func(version string) *v1alpha1.Facts {
		return &v1alpha1.Facts{JoinFacts: v1alpha1.JoinFacts{KubernetesVersion: version}}
	}
	in := func(regions ...string) *v1alpha1.Facts {
		f := facts("v1.33.0")
		f.Regions = regions
		return f
	}
	const (
		inUS      = `metadata.labels[kubefederate.io/federation]: Forbidden: rule "eu-only" of federation "prod" is violated: cluster.facts.regions.all(r, r.startsWith('eu-'))`
		nowhere   = `metadata.labels[kubefederate.io/federation]: rule "eu-only" of federation "prod" was not evaluated: cluster.facts.regions is not known`
		waits     = "False FactsUnknown: " + nowhere + "; the member waits for that: label the nodes of the cluster, or ask has() in the rule"
		noRegion  = "metadata.labels[topology.kubernetes.io/region]: no region of the nodes is known to compare it with"
		unlocated = "True FactsUnknown: the cluster is a member of the federation; " + noRegion + ": if a node contradicts it, the member is Pending"
		wrong     = `metadata.labels[topology.kubernetes.io/region]: Invalid value: "eu-west-1": the nodes of this cluster are in region "us-east-1"`
		revoked   = `False AwaitingApproval: federation "prod" accepts members manually; to accept it, with the verb approve on federations/prod: kubectl federate approve us-east`
	)
	euOnly := func(enforcement v1alpha1.Enforcement) []v1alpha1.Rule {
		return []v1alpha1.Rule{{Name: "eu-only", Expression: "cluster.facts.regions.all(r, r.startsWith('eu-'))", Enforcement: enforcement}}
	}
	unprobed := outcome{reason: v1alpha1.ReasonUnreachable, cause: "no route"}
	type step struct {
		name                string
		do                  func(*seen)
		phase               v1alpha1.Phase
		accepted, compliant string
		violations          int
	}
	for _, steps := range [][]step{
		{
			{"not seen", func(o *seen) { o.federation.Spec.KubernetesVersions = ">=1.33" }, v1alpha1.PhaseJoining,
				"Unknown FactsUnknown: the manager has not seen the cluster's version and nodes yet, by which it is judged",
				`Unknown FactsUnknown: status.facts.kubernetesVersion: the version is unknown; federation "prod" takes >=1.33`, 0},
			{"not reached", func(o *seen) { o.probe.outcome = unprobed }, v1alpha1.PhaseOffline,
				"Unknown FactsUnknown: the manager has not seen the cluster's version and nodes yet, by which it is judged",
				`Unknown FactsUnknown: status.facts.kubernetesVersion: the version is unknown; federation "prod" takes >=1.33`, 0},
			{"seen", func(o *seen) { o.probe.outcome, o.probe.facts = reachable, facts("v1.32.9") }, v1alpha1.PhasePending,
				"False RulesBroken: " + old, "False RulesBroken: " + old, 1},
			{"suspended", func(o *seen) { o.member.Spec.Suspended = true }, v1alpha1.PhasePending, "False RulesBroken: " + old, "False RulesBroken: " + old, 1},
			{"not reached any more", func(o *seen) { o.member.Spec.Suspended, o.probe.outcome = false, unprobed }, v1alpha1.PhasePending,
				"False RulesBroken: " + old, "False RulesBroken: " + old, 1},
			{"one more rule", func(o *seen) {
				o.probe.outcome = reachable
				o.federation.Spec.Labels = []v1alpha1.LabelRule{{Key: "team", Required: true}}
			}, v1alpha1.PhasePending, "False RulesBroken: " + noTeam + "; and 1 more", "False RulesBroken: " + noTeam + "; and 1 more", 2},
			{"a rule that only warns", func(o *seen) { o.federation.Spec.Enforcement = v1alpha1.EnforceWarn }, v1alpha1.PhaseReady,
				yes, "False RulesBroken: " + noTeam + "; and 1 more", 2},
			{"enforced again", func(o *seen) { o.federation.Spec.Enforcement = v1alpha1.EnforceDeny }, v1alpha1.PhaseReady,
				yes, "False RulesBroken: " + noTeam + "; and 1 more", 2},
			{"labeled", func(o *seen) { o.member.Labels["team"] = "web" }, v1alpha1.PhaseReady, yes, "False RulesBroken: " + old, 1},
			{"upgraded", func(o *seen) { o.probe.facts = facts("v1.33.1") }, v1alpha1.PhaseReady, yes, kept, 0},
			{"drifted", func(o *seen) { delete(o.member.Labels, "team") }, v1alpha1.PhaseReady, yes, "False RulesBroken: " + noTeam, 1},
			{"without its federation", func(o *seen) { o.federation = nil }, v1alpha1.PhasePending,
				`False FederationMissing: federation "prod" does not exist`, `Unknown FederationMissing: federation "prod" does not exist`, 0},
		},
		{
			{"a rule that needs no facts", func(o *seen) { o.federation.Spec.Labels = []v1alpha1.LabelRule{{Key: "team", Required: true}} },
				v1alpha1.PhasePending, "False RulesBroken: " + noTeam, "False RulesBroken: " + noTeam, 1},
			{"kept, and not seen", func(o *seen) { o.member.Labels["team"] = "web" }, v1alpha1.PhaseReady, yes, kept, 0},
			{"seen for the first time under another rule", func(o *seen) {
				o.federation.Spec.KubernetesVersions, o.probe.facts = ">=1.33", facts("v1.32.9")
			}, v1alpha1.PhasePending, "False RulesBroken: " + old, "False RulesBroken: " + old, 1},
			{"the cluster is upgraded", func(o *seen) { o.probe.facts = facts("v1.33.0") }, v1alpha1.PhaseReady, yes, kept, 0},
		},
		{
			{"by hand, and against the rules", func(o *seen) {
				o.federation.Spec.Acceptance, o.federation.Spec.KubernetesVersions, o.probe.facts = v1alpha1.AcceptManual, ">=1.33", facts("v1.32.9")
			}, v1alpha1.PhasePending,
				`False AwaitingApproval: federation "prod" accepts members manually; to accept it, with the verb approve on federations/prod: kubectl federate approve us-east`,
				"False RulesBroken: " + old, 1},
			{"approved", func(o *seen) { o.member.Spec.Accepted = true }, v1alpha1.PhasePending, "False RulesBroken: " + old, "False RulesBroken: " + old, 1},
			{"upgraded", func(o *seen) { o.probe.facts = facts("v1.33.0") }, v1alpha1.PhaseReady, yes, kept, 0},
			{"revoked", func(o *seen) { o.member.Spec.Accepted = false }, v1alpha1.PhasePending,
				`False AwaitingApproval: federation "prod" accepts members manually; to accept it, with the verb approve on federations/prod: kubectl federate approve us-east`, kept, 0},
		},
		{
			{"nodes without a region", func(o *seen) { o.federation.Spec.Rules, o.probe.facts = euOnly(""), in() }, v1alpha1.PhasePending, waits, "Unknown FactsUnknown: " + nowhere, 0},
			{"not reached", func(o *seen) { o.probe.outcome = unprobed }, v1alpha1.PhasePending, waits, "Unknown FactsUnknown: " + nowhere, 0},
			{"labeled, and elsewhere", func(o *seen) { o.probe.outcome, o.probe.facts = reachable, in("us-east-1") }, v1alpha1.PhasePending,
				"False RulesBroken: " + inUS, "False RulesBroken: " + inUS, 1},
			{"labeled, and there", func(o *seen) { o.probe.facts = in("eu-west-1") }, v1alpha1.PhaseReady, yes, kept, 0},
			{"without nodes", func(o *seen) { o.probe.facts = in() }, v1alpha1.PhaseReady, yes, "Unknown FactsUnknown: " + nowhere, 0},
			{"drifted", func(o *seen) { o.probe.facts = in("us-east-1") }, v1alpha1.PhaseReady, yes, "False RulesBroken: " + inUS, 1},
		},
		{
			{"nodes without a region, and a rule that warns", func(o *seen) { o.federation.Spec.Rules, o.probe.facts = euOnly(v1alpha1.EnforceWarn), in() },
				v1alpha1.PhaseReady, yes, "Unknown FactsUnknown: " + nowhere, 0},
			{"labeled, and elsewhere", func(o *seen) { o.probe.facts = in("us-east-1") }, v1alpha1.PhaseReady, yes, "False RulesBroken: " + inUS, 1},
		},
		{
			{"a region that no node has", func(o *seen) { o.member.Labels["topology.kubernetes.io/region"], o.probe.facts = "eu-west-1", in() },
				v1alpha1.PhaseReady, unlocated, "Unknown FactsUnknown: " + noRegion, 0},
			{"drifted otherwise", func(o *seen) { o.federation.Spec.Labels = []v1alpha1.LabelRule{{Key: "team", Required: true}} },
				v1alpha1.PhaseReady, unlocated, "False RulesBroken: " + noTeam, 1},
			{"a node contradicts it", func(o *seen) { o.probe.facts, o.federation.Spec.Labels = in("us-east-1"), nil }, v1alpha1.PhasePending,
				"False RulesBroken: " + wrong, "False RulesBroken: " + wrong, 1},
			{"a node has it", func(o *seen) { o.probe.facts = in("eu-west-1") }, v1alpha1.PhaseReady, yes, kept, 0},
			{"without nodes", func(o *seen) { o.probe.facts = in() }, v1alpha1.PhaseReady, yes, "Unknown FactsUnknown: " + noRegion, 0},
			{"drifted", func(o *seen) { o.probe.facts = in("us-east-1") }, v1alpha1.PhaseReady, yes, "False RulesBroken: " + wrong, 1},
		},
		{
			{"a region that no node has", func(o *seen) {
				o.member.Labels["topology.kubernetes.io/region"], o.probe.facts = "eu-west-1", in()
				o.federation.Spec.Acceptance, o.member.Spec.Accepted = v1alpha1.AcceptManual, true
			}, v1alpha1.PhaseReady, unlocated, "Unknown FactsUnknown: " + noRegion, 0},
			{"revoked", func(o *seen) { o.member.Spec.Accepted = false }, v1alpha1.PhasePending, revoked, "Unknown FactsUnknown: " + noRegion, 0},
			{"a node contradicts it", func(o *seen) { o.probe.facts = in("us-east-1") }, v1alpha1.PhasePending, revoked, "False RulesBroken: " + wrong, 1},
			{"approved", func(o *seen) { o.member.Spec.Accepted = true }, v1alpha1.PhasePending, "False RulesBroken: " + wrong, "False RulesBroken: " + wrong, 1},
		},
	} {
		o := good(t)
		for _, s := range steps {
			s.do(&o)
			status := o.status(o.judgeCredential())
			said := func(kind string) string {
				c := meta.FindStatusCondition(status.Conditions, kind)
				return fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message)
			}
			m := *o.member
			m.Status = status
			for what, is := range map[string][2]string{
				"phase":      {string(s.phase), string(status.Phase)},
				"published":  {fmt.Sprint(strings.HasPrefix(s.accepted, "True ") && status.Facts != nil), fmt.Sprint(inventory.Publishable(&m))},
				"accepted":   {s.accepted, said(v1alpha1.ConditionAccepted)},
				"compliant":  {s.compliant, said(v1alpha1.ConditionCompliant)},
				"violations": {fmt.Sprint(s.violations), fmt.Sprint(len(status.Violations))},
			} {
				if is[0] != is[1] {
					t.Errorf("%s: %s:\ngot  %s\nwant %s", s.name, what, is[1], is[0])
				}
			}
			o.member.Status = status
			o.now = o.now.Add(time.Second)
		}
	}
}

// TestAcceptedTimeStays holds that the first time counts.
func TestAcceptedTimeStays(t *testing.T) {
	t.Parallel()
	o := good(t)
	o.probe.facts = &v1alpha1.Facts{}
	for range 2 {
		o.member.Status = o.status(o.judgeCredential())
		if got := o.member.Status.AcceptedTime; got == nil || !got.Time.Equal(now) {
			t.Fatalf("accepted at %v, want %v", got, now)
		}
		o.now = o.now.Add(time.Minute)
	}
}

// TestViolationsAreBounded holds what a status keeps of many violations with hostile texts.
func TestViolationsAreBounded(t *testing.T) {
	t.Parallel()
	o := good(t)
	for i := range 64 {
		o.federation.Spec.Labels = append(o.federation.Spec.Labels, v1alpha1.LabelRule{
			Key: fmt.Sprintf("key-%02d", i), Required: true, Message: "\x1b[2J\n\u202e" + strings.Repeat("é", 2000),
		})
	}
	status := o.status(o.judgeCredential())
	if len(status.Violations) != maxViolations {
		t.Errorf("%d violations", len(status.Violations))
	}
	compliant := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionCompliant)
	if compliant.Status != metav1.ConditionFalse || !strings.HasSuffix(compliant.Message, "…; and 63 more") {
		t.Errorf("compliant: %+v", compliant)
	}
	for _, text := range append([]string{compliant.Message}, status.Violations[9].Message) {
		if want := `metadata.labels[key-0`; !strings.HasPrefix(text, want) || strings.ContainsAny(text, "\x1b\n\u202e") || len(text) > 1100 {
			t.Errorf("%d bytes: %q", len(text), text)
		}
	}
}
