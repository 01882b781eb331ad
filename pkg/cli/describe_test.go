package cli

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/command"
)

// federation is prod with every kind of rule.
func federation() *v1alpha1.Federation {
	return &v1alpha1.Federation{
		ObjectMeta: metav1.ObjectMeta{Name: "prod", CreationTimestamp: ago(9 * day)},
		Spec: v1alpha1.FederationSpec{
			Description: "Production\nclusters", Acceptance: v1alpha1.AcceptAutomatic, Enforcement: v1alpha1.EnforceDeny,
			Labels: []v1alpha1.LabelRule{
				{Key: "topology.kubernetes.io/region", Required: true, Values: []string{"us-east-1", "eu-west-1"}, Immutable: true},
				{Key: "example.com/team", Required: true, Pattern: "[a-z]+", Message: "name the owning team"},
			},
			Limits:             []v1alpha1.Limit{{Max: 1}, {PerLabel: "topology.kubernetes.io/region", Max: 100}},
			KubernetesVersions: ">=1.33 <1.38",
			Rules: []v1alpha1.Rule{
				{Name: "two-nodes", Expression: "cluster.name != 'eu-west'", Message: "not there", Enforcement: v1alpha1.EnforceWarn},
				{Name: "named", Expression: "cluster.name != ''"},
			},
			Access: &v1alpha1.Access{ClusterRole: "view"}, Inventory: &v1alpha1.Inventory{Namespaces: []string{"federation-prod", "fleet"}, CredentialsNamespace: "federation-prod-credentials"}, AllowInsecureTLS: true,
			Health: &v1alpha1.Health{Interval: "1m", Failures: 3},
		},
	}
}

func authority(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "eu-west-ca"}, NotBefore: noon, NotAfter: noon.Add(365 * day), IsCA: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestDescribeMember(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		member *v1alpha1.MemberCluster
		book   rulebook
		want   string
	}{
		{"offline, and against the rules", ready("eu-west", offline, at("eu-west-1", "eu-west-1c eu-west-1a"), func(m *v1alpha1.MemberCluster) {
			m.Annotations = map[string]string{v1alpha1.AnnotationJoinedBy: "alice smith 2026-11-19T12:00:00Z"}
			m.Spec.CABundle, m.Spec.ProxyURL, m.Spec.InsecureSkipTLSVerify = authority(t), "http://proxy:3128", true
			m.Labels["example.com/team"] = "Web"
		}), rulebook{federation: federation()}, `
Name:          eu-west
Federation:    prod
Phase:         Offline
Cause:         Unreachable (5m ago): https://eu-west.example.com:6443: connection refused
Next:          kubectl federate check --member-contexts CONTEXT
Joined:        2026-11-19T12:00:00Z (4d ago) by alice smith
Accepted:      since 2026-11-19T12:00:00Z (4d ago), automatically (spec.acceptance of the federation)
Cluster ID:    id-eu-west
Labels:
  example.com/team=Web
  kubefederate.io/federation=prod
Endpoint:
  Server:      https://eu-west.example.com:6443
  CA:          CN=eu-west-ca, expires 2027-11-23T12:00:00Z (in 365d)
  Proxy:       http://proxy:3128
  Certificate: not verified (spec.insecureSkipTLSVerify)
Credential:
  Secret:      kubefederate-credentials/eu-west
  Expires:     2027-02-20T13:00:00Z (in 89d)
Facts:         as seen by the manager
  Version:     v1.37.0
  Nodes:       5
  Capacity:    cpu 40, memory 160Gi, pods 550
  Regions:     eu-west-1
  Zones:       eu-west-1a, eu-west-1c
  Last answer: 2026-11-23T11:59:40Z (20s ago)
Conditions:
  TYPE              STATUS   REASON             AGE   MESSAGE
  Accepted          True     Accepted           4d    the cluster is a member of the federation
  CredentialValid   True     CredentialStored   4d    a credential for the member's endpoint is stored
  Ready             False    Unreachable        5m    https://eu-west.example.com:6443: connection refused
Violations:
  metadata.labels[topology.kubernetes.io/region]: Required value: is required by federation "prod"; supported values: "us-east-1", "eu-west-1"
  metadata.labels[example.com/team]: Invalid value: "Web": must match "[a-z]+" in federation "prod"; name the owning team
  warning: metadata.labels[kubefederate.io/federation]: Forbidden: rule "two-nodes" of federation "prod" is violated; not there
  spec.insecureSkipTLSVerify: Forbidden: may not be set together with spec.caBundle
`},
		{"ready, and nothing more is known", ready("us-east", unknown, phase(v1alpha1.PhaseReady), func(m *v1alpha1.MemberCluster) { m.Spec.CABundle = []byte("no") }), rulebook{missing: `you may not read federation "prod"`}, `
Name:          us-east
Federation:    prod
Phase:         Ready
Joined:        not finished; created 2026-11-19T12:00:00Z (4d ago)
Accepted:      unknown
Cluster ID:    id-us-east
Labels:
  example.com/team=web
  kubefederate.io/federation=prod
Endpoint:
  Server:      https://us-east.example.com:6443
  CA:          invalid spec.caBundle: it holds no PEM certificate
  Proxy:       <none>
Credential:
  Secret:      kubefederate-credentials/us-east
  Expires:     <none>
Facts:         unknown
  Version:     <none>
  Nodes:       <none>
  Capacity:    <none>
  Regions:     <none>
  Zones:       <none>
  Last answer: <none>
Conditions:    <none>
Violations:
  not judged: you may not read federation "prod"
`},
	} {
		if diff := cmp.Diff(strings.TrimPrefix(tt.want, "\n"), memberText(command.Host{}, tt.member, tt.book, nil, noon)); diff != "" {
			t.Errorf("%s:\n%s", tt.name, diff)
		}
	}
}

// TestDescribePending holds the lines of a member that waits for an approver.
func TestDescribePending(t *testing.T) {
	t.Parallel()
	m := ready("us-east", phase(v1alpha1.PhasePending),
		condition(v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonAwaitingApproval, "federation \"prod\" accepts members manually", time.Hour))
	m.Annotations = map[string]string{v1alpha1.AnnotationJoinedBy: "alice 2026-11-23T11:00:00Z"}
	manual := &v1alpha1.Federation{ObjectMeta: metav1.ObjectMeta{Name: "prod"}, Spec: v1alpha1.FederationSpec{Acceptance: v1alpha1.AcceptManual}}
	text := memberText(command.Host{}, m, rulebook{federation: manual}, nil, noon)
	for _, want := range []string{
		`Cause:         AwaitingApproval (60m ago): federation "prod" accepts members manually`,
		"Next:          kubectl federate approve us-east",
		"Joined:        2026-11-23T11:00:00Z (60m ago) by alice",
		`Accepted:      no: federation "prod" accepts members manually`,
		"  CA:          the CAs that the host trusts",
		`  Accepted          False    AwaitingApproval   60m   federation "prod" accepts members manually`,
		"Violations:    <none>",
	} {
		if !strings.Contains(text, "\n"+want+"\n") {
			t.Errorf("no line %q in\n%s", want, text)
		}
	}
}

func TestDescribeFederation(t *testing.T) {
	t.Parallel()
	members := []*v1alpha1.MemberCluster{
		ready("us-east"), ready("us-east-2"), ready("new", unknown),
		ready("eu-west", offline, at("eu-west-1", "")), ready("both", at("us-east-1 eu-west-1", "")),
	}
	empty := &v1alpha1.Federation{ObjectMeta: metav1.ObjectMeta{Name: "empty", CreationTimestamp: ago(time.Hour)}}
	empty.DeletionTimestamp = new(ago(time.Minute))
	empty.Status.Conditions = []metav1.Condition{{Type: "Published", Status: metav1.ConditionTrue, Reason: "Published", LastTransitionTime: ago(time.Hour), Message: "all is well"}}
	for _, tt := range []struct {
		name, got, want string
	}{
		{"every rule", federationText(command.Host{}, federation(), members, nil, noon), `
Name:          prod
Description:   Production clusters
Created:       2026-11-14T12:00:00Z (9d ago)
Acceptance:    Automatic
Enforcement:   Deny
Members:       5 members: 1 Offline, 1 Unknown, 3 Ready
Regions:       eu-west-1 (2), us-east-1 (3), unknown (1)
Versions:      v1.37.0 (4), unknown (1)
Rules:
  label topology.kubernetes.io/region: required; one of us-east-1, eu-west-1; immutable
  label example.com/team: required; must match "[a-z]+" (name the owning team)
  at most 1 member
  at most 100 members per value of label topology.kubernetes.io/region
  Kubernetes >=1.33 <1.38
  two-nodes: cluster.name != 'eu-west' (not there), warning only
  named: cluster.name != ''
  TLS verification may be skipped
Access:        readers of the inventory have ClusterRole view on members
Inventory:     namespaces federation-prod, fleet; credentials in federation-prod-credentials
Health:        probed every 1m; Offline after 3 failures in a row
Services:      kubectl federate services --all-namespaces --federation prod
Unhealthy:
  NAME      PHASE     CAUSE
  eu-west   Offline   Unreachable (5m ago)
  new       Unknown   NotProbed (4d ago)
Violating:     <none>
`},
		{"none", federationText(command.Host{}, empty, nil, nil, noon), `
Name:          empty
Description:   <none>
Created:       2026-11-23T11:00:00Z (60m ago)
Deleted:       2026-11-23T11:59:00Z (60s ago)
Acceptance:    Automatic
Enforcement:   Deny
Members:       no members
Regions:       <none>
Versions:      <none>
Rules:         <none>
Access:        <none>
Inventory:     <none>
Health:        probed at the manager's interval
Services:      kubectl federate services --all-namespaces --federation empty
Conditions:
  TYPE        STATUS   REASON      AGE   MESSAGE
  Published   True     Published   60m   all is well
Unhealthy:     <none>
Violating:     <none>
`},
	} {
		if diff := cmp.Diff(strings.TrimPrefix(tt.want, "\n"), tt.got); diff != "" {
			t.Errorf("%s:\n%s", tt.name, diff)
		}
	}
}

// TestNextStep holds the command to run next, for every reason why a member is not healthy.
func TestNextStep(t *testing.T) {
	t.Parallel()
	const join, rotate = "kubectl federate join us-east --federation prod --member-context CONTEXT", "kubectl federate rotate us-east"
	const check = "kubectl federate check --member-contexts CONTEXT"
	for _, tt := range []struct {
		phase   v1alpha1.Phase
		want    string
		reasons []string
	}{
		{v1alpha1.PhaseReady, "", []string{""}},
		{v1alpha1.PhaseReady, rotate, []string{v1alpha1.ReasonCredentialExpiring, v1alpha1.ReasonCredentialRenewalFailed}},
		{v1alpha1.PhaseReady, join, []string{v1alpha1.ReasonRenewalForbidden, v1alpha1.ReasonMembershipMissing, v1alpha1.ReasonPropertyForbidden}},
		{v1alpha1.PhaseReady, check, []string{v1alpha1.ReasonMembershipDiffers, v1alpha1.ReasonPropertyForeign}},
		{v1alpha1.PhaseLeaving, "", []string{"Finalizers"}},
		{v1alpha1.PhaseSuspended, "kubectl federate resume us-east", []string{""}},
		{"", "kubectl federate check", []string{"NotProbed"}},
		{v1alpha1.PhaseJoining, join, []string{v1alpha1.ReasonCredentialMissing}},
		{v1alpha1.PhaseJoining, "", []string{v1alpha1.ReasonNotProbed}},
		{v1alpha1.PhasePending, "kubectl federate approve us-east", []string{v1alpha1.ReasonAwaitingApproval}},
		{v1alpha1.PhasePending, "kubectl federate create federation prod", []string{v1alpha1.ReasonFederationMissing}},
		{v1alpha1.PhaseNotReady, join, []string{
			v1alpha1.ReasonCredentialMissing, v1alpha1.ReasonCredentialNotOwned, v1alpha1.ReasonCredentialMalformed,
			v1alpha1.ReasonCredentialWithoutExpiry, v1alpha1.ReasonForbidden, v1alpha1.ReasonCertificateInvalid,
			v1alpha1.ReasonUnauthorized,
		}},
		{v1alpha1.PhaseNotReady, join + " --reset-endpoint --trust-context", []string{v1alpha1.ReasonCredentialMismatch}},
		{v1alpha1.PhaseNotReady, "kubectl edit federations.kubefederate.io prod", []string{v1alpha1.ReasonEndpointNotAllowed}},
		{v1alpha1.PhaseNotReady, "kubectl federate unjoin us-east", []string{v1alpha1.ReasonEndpointNeverAllowed}},
		{v1alpha1.PhaseNotReady, rotate, []string{v1alpha1.ReasonCredentialExpired}},
		{v1alpha1.PhaseNotReady, check, []string{v1alpha1.ReasonServerError, v1alpha1.ReasonIdentityMismatch}},
		{v1alpha1.PhaseOffline, check, []string{v1alpha1.ReasonTimedOut}},
	} {
		for _, reason := range tt.reasons {
			got := ""
			if next := nextStep(ready("us-east", phase(tt.phase)), reason, federation()); next != nil {
				got = command.Host{}.Line(next)
			}
			if got != tt.want {
				t.Errorf("%s, %s: %q, want %q", tt.phase, reason, got, tt.want)
			}
		}
	}
}

// violates makes a member break rules.
func violates(violations ...v1alpha1.Violation) func(m *v1alpha1.MemberCluster) {
	return func(m *v1alpha1.MemberCluster) {
		m.Status.Violations = violations
		message := violations[0].Message
		if len(violations) > 1 {
			message += fmt.Sprintf("; and %d more", len(violations)-1)
		}
		m.Status.Conditions = append(m.Status.Conditions, metav1.Condition{
			Type: v1alpha1.ConditionCompliant, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonRulesBroken, LastTransitionTime: ago(time.Hour), Message: message,
		})
	}
}

// TestDescribeViolating holds what a federation's description says of members that break rules: they are not unhealthy for that,
// and of many members and violations the first are shown.
func TestDescribeViolating(t *testing.T) {
	t.Parallel()
	violation := func(enforcement v1alpha1.Enforcement, text string) v1alpha1.Violation {
		return v1alpha1.Violation{Rule: "labels", Enforcement: enforcement, Message: text}
	}
	deny, warn := violation(v1alpha1.EnforceDeny, "no team"), violation(v1alpha1.EnforceWarn, "no region")
	members := []*v1alpha1.MemberCluster{ready("b", violates(warn, deny, warn, warn)), ready("kept"), ready("a", violates(deny))}
	tail := func(members []*v1alpha1.MemberCluster) string {
		text := federationText(command.Host{}, &v1alpha1.Federation{ObjectMeta: metav1.ObjectMeta{Name: "prod"}}, members, nil, noon)
		_, unhealthy, _ := strings.Cut(text, "Unhealthy:")
		return "Unhealthy:" + unhealthy
	}
	want := `Unhealthy:     <none>
Violating:
  NAME   ENFORCEMENT   VIOLATION
  a      Deny          no team
  b      Warn          no region
  b      Deny          no team
  b      Warn          no region
  b                    and more
`
	if diff := cmp.Diff(want, tail(members)); diff != "" {
		t.Error(diff)
	}
	members = nil
	for i := range 200 {
		members = append(members, ready(fmt.Sprintf("m-%03d", i), violates(deny)))
	}
	text := tail(members)
	if lines := strings.Count(text, "\n"); lines != 54 {
		t.Errorf("%d lines", lines)
	}
	if end := "  m-049   Deny          no team\nMore:          150 violating members: kubectl federate get --federation prod --violating\n"; !strings.HasSuffix(text, end) {
		t.Errorf("it ends in %q", text[len(text)-200:])
	}
}

// TestDescribeViolations holds what a member's description says of rules, without its federation and with it.
func TestDescribeViolations(t *testing.T) {
	t.Parallel()
	f := &v1alpha1.Federation{ObjectMeta: metav1.ObjectMeta{Name: "prod"}}
	f.Spec.Labels = []v1alpha1.LabelRule{{Key: "region", Required: true, Values: []string{"us"}}}
	f.Spec.KubernetesVersions = ">=1.38"
	old := ready("us-east", violates(v1alpha1.Violation{Enforcement: v1alpha1.EnforceWarn, Message: "too old"}))
	for name, tt := range map[string]struct {
		member *v1alpha1.MemberCluster
		book   rulebook
		want   []string
	}{
		"as the manager found": {old, rulebook{missing: "you may not read it"}, []string{
			"Cause:         RulesBroken (60m ago): too old", "Violations:\n  warning: too old\n  not judged: you may not read it"}},
		"as it is now": {old, rulebook{federation: f}, []string{
			"Next:          kubectl label memberclusters.kubefederate.io us-east region=us", `Violations:
  metadata.labels[region]: Required value: is required by federation "prod"; supported values: "us"
  status.facts.kubernetesVersion: Invalid value: "v1.37.0": federation "prod" takes >=1.38`}},
		"not seen": {ready("us-east", unknown), rulebook{federation: f}, []string{`Violations:
  metadata.labels[region]: Required value: is required by federation "prod"; supported values: "us"
  not judged: status.facts.kubernetesVersion: the version is unknown; federation "prod" takes >=1.38`}},
	} {
		text := "\n" + memberText(command.Host{}, tt.member, tt.book, nil, noon)
		for _, want := range tt.want {
			if !strings.Contains(text, "\n"+want+"\n") {
				t.Errorf("%s: no %q in\n%s", name, want, text)
			}
		}
	}
}
