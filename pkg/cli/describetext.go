package cli

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/check"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/cli/targets"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
)

// memberText describes a member. Commands renders the command to run next.
func memberText(commands command.Host, m *v1alpha1.MemberCluster, book rulebook, events *eventList, now time.Time) string {
	s := &output.Sheet{}
	why := causeOf(m)
	s.Line("Name", m.Name)
	s.Line("Federation", string(m.Federation()))
	s.Line("Phase", string(phaseOf(m)))
	if why.Reason != "" {
		s.Line("Cause", why.long(now))
	}
	if next := nextStep(m, why.Reason, book.federation); next != nil && commands.Line(next) != "" {
		s.Line("Next", commands.Line(next))
	}
	if text := m.SuspensionText(); text != "" {
		if !m.SuspendedAt(now) {
			text += " (ended)"
		}
		s.Line("Suspension", text)
	}
	s.Line("Joined", joined(m, now))
	if m.Spec.Discovered != nil {
		s.Line("Discovered", discoveredText(m.Spec.Discovered))
	}
	s.Line("Accepted", accepted(m, book.federation, now))
	s.Line("Cluster ID", m.Spec.ClusterID)
	s.List("Labels", sortedLabels(m.Labels))

	s.Head("Endpoint")
	s.Under("Server", m.Spec.Server)
	s.Under("CA", authorities(m.Spec.CABundle, now))
	s.Under("Proxy", m.Spec.ProxyURL)
	if m.Spec.TLSServerName != "" {
		s.Under("TLS name", m.Spec.TLSServerName)
	}
	if m.Spec.InsecureSkipTLSVerify {
		s.Under("Certificate", "not verified (spec.insecureSkipTLSVerify)")
	}
	s.Head("Credential")
	s.Under("Secret", v1alpha1.CredentialsNamespace+"/"+m.Name)
	s.Under("Expires", ends(m.Status.CredentialExpiry, now))

	source := "unknown"
	switch {
	case m.Status.Facts != nil:
		source = "as seen by the manager"
	case m.Spec.JoinedWith != nil:
		source = "as seen at the join"
	}
	facts := m.KnownFacts()
	s.Line("Facts", source)
	s.Under("Version", facts.KubernetesVersion)
	s.Under("Nodes", nodesOf(m))
	s.Under("Capacity", capacity(m.Status.Facts))
	s.Under("Regions", strings.Join(regionsOf(m), ", "))
	s.Under("Zones", strings.Join(zonesOf(m), ", "))
	s.Under("Last answer", moment(m.Status.LastProbeTime, now))

	s.Table("Conditions", conditionRows(m.Status.Conditions, now))
	s.List("Violations", violations(m, book))
	events.describe(s, m.UID, now)
	return s.String()
}

// nextStep is the command to run next for a member with a reason; nil when there is nothing to do. The host does not know
// the member's context, which its endpoint may show.
func nextStep(m *v1alpha1.MemberCluster, reason string, federation *v1alpha1.Federation) command.Command {
	name, at := v1alpha1.MemberName(m.Name), command.Cluster{ServerKey: endpoint.Of(m).ServerKey()}
	if reason == v1alpha1.ReasonRulesBroken {
		if federation == nil {
			return nil
		}
		return check.MendRules(federation, m)
	}
	switch phaseOf(m) {
	case v1alpha1.PhaseReady:
		switch reason {
		case v1alpha1.ReasonCredentialExpiring, v1alpha1.ReasonCredentialRenewalFailed:
			return command.Rotate{Member: name}
		case v1alpha1.ReasonRenewalForbidden, v1alpha1.ReasonMembershipMissing, v1alpha1.ReasonPropertyForbidden:
			return command.Join{Member: name, Federation: m.Federation(), Cluster: at}
		case v1alpha1.ReasonMembershipDiffers, v1alpha1.ReasonPropertyForeign:
			return command.Check{Cluster: &at}
		}
		return nil
	case v1alpha1.PhaseLeaving:
		return nil
	case v1alpha1.PhaseSuspended:
		return command.Resume{Member: name}
	case phaseUnknown:
		return command.Check{}
	}
	switch reason {
	case v1alpha1.ReasonAwaitingApproval:
		return command.Approve{Member: name}
	case v1alpha1.ReasonFederationMissing:
		return command.CreateFederation{Name: m.Federation()}
	case v1alpha1.ReasonFactsUnknown:
		return nil
	case v1alpha1.ReasonCredentialMissing, v1alpha1.ReasonCredentialNotOwned, v1alpha1.ReasonCredentialMalformed,
		v1alpha1.ReasonCredentialWithoutExpiry, v1alpha1.ReasonCertificateInvalid, v1alpha1.ReasonForbidden,
		v1alpha1.ReasonUnauthorized:
		return command.Join{Member: name, Federation: m.Federation(), Cluster: at}
	case v1alpha1.ReasonCredentialMismatch:
		return command.Join{Member: name, Federation: m.Federation(), Cluster: at, ResetEndpoint: true, TrustContext: true}
	case v1alpha1.ReasonEndpointNotAllowed:
		return command.KubectlEdit{Object: host.FederationRef(m.Federation()).Object()}
	case v1alpha1.ReasonEndpointNeverAllowed:
		return command.Unjoin{Member: name}
	case v1alpha1.ReasonCredentialExpired:
		return command.Rotate{Member: name}
	}
	if phaseOf(m) == v1alpha1.PhaseJoining {
		return nil
	}
	return command.Check{Cluster: &at}
}

// joined is who joined a member, and when.
func joined(m *v1alpha1.MemberCluster, now time.Time) string {
	text := m.Annotations[v1alpha1.AnnotationJoinedBy]
	i := strings.LastIndexByte(text, ' ') // names of users may hold blanks, too
	at, err := time.Parse(time.RFC3339, text[i+1:])
	if i < 0 || err != nil {
		return "not finished; created " + moment(&m.CreationTimestamp, now)
	}
	return moment(new(metav1.NewTime(at)), now) + " by " + text[:i]
}

// accepted says since when a member is accepted, and how.
func accepted(m *v1alpha1.MemberCluster, federation *v1alpha1.Federation, now time.Time) string {
	c := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionAccepted)
	switch {
	case c == nil:
		return "unknown"
	case c.Status != metav1.ConditionTrue:
		return "no: " + c.Message
	}
	text := "since " + moment(&c.LastTransitionTime, now)
	switch {
	case federation == nil:
		return text
	case federation.AcceptanceOf(m.Spec.Discovered) == v1alpha1.AcceptManual:
		return text + ", by an approver"
	}
	return text + ", automatically (spec.acceptance of the federation)"
}

// authorities are the CAs that verify an endpoint, and when the first of them expires.
func authorities(bundle []byte, now time.Time) string {
	if len(bundle) == 0 {
		return "the CAs that the host trusts"
	}
	certificates, err := endpoint.ReadCertificates(bundle)
	if err != nil {
		return "invalid spec.caBundle: " + err.Error()
	}
	var names []string
	var first time.Time
	for _, c := range certificates {
		names = append(names, c.Subject.String())
		if first.IsZero() || c.NotAfter.Before(first) {
			first = c.NotAfter
		}
	}
	return strings.Join(names, "; ") + ", expires " + ends(new(metav1.NewTime(first)), now)
}

// moment is a time and how long ago it was.
func moment(t *metav1.Time, now time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339) + " (" + duration.HumanDuration(now.Sub(t.Time)) + " ago)"
}

// ends is a time and how long it is until then, or since.
func ends(t *metav1.Time, now time.Time) string {
	if t.IsZero() || !t.After(now) {
		return moment(t, now)
	}
	return t.UTC().Format(time.RFC3339) + " (in " + duration.HumanDuration(t.Sub(now)) + ")"
}

func capacity(facts *v1alpha1.Facts) string {
	if facts == nil {
		return ""
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(facts.Capacity)) {
		q := facts.Capacity[name]
		parts = append(parts, string(name)+" "+q.String())
	}
	return strings.Join(parts, ", ")
}

func conditionRows(conditions []metav1.Condition, now time.Time) [][]string {
	rows := [][]string{{"TYPE", "STATUS", "REASON", "AGE", "MESSAGE"}}
	for _, c := range conditions {
		rows = append(rows, []string{c.Type, string(c.Status), c.Reason, age(c.LastTransitionTime, now), c.Message})
	}
	return rows
}

// violations are the rules that a member breaks, and those that cannot be judged: by its federation as it is now, or else as the
// manager found.
func violations(m *v1alpha1.MemberCluster, book rulebook) (lines []string) {
	judged := rules.Compliance{Violations: m.Status.Violations, Unknown: []rules.UnknownFact{{Text: book.missing}}}
	if book.federation != nil {
		judged = rules.JudgeCompliance(book.federation, m)
	}
	for _, v := range judged.Violations {
		lines = append(lines, violation(v))
	}
	for _, u := range judged.Unknown {
		lines = append(lines, "not judged: "+u.Text)
	}
	return lines
}

// violation is one in a line.
func violation(v v1alpha1.Violation) string {
	if v.Enforcement == v1alpha1.EnforceWarn {
		return "warning: " + v.Message
	}
	return v.Message
}

// federationText describes a federation.
func federationText(commands command.Host, f *v1alpha1.Federation, members []*v1alpha1.MemberCluster, events *eventList, now time.Time) string {
	s := &output.Sheet{}
	s.Line("Name", f.Name)
	s.Line("Description", f.Spec.Description)
	s.Line("Created", moment(&f.CreationTimestamp, now))
	if f.DeletionTimestamp != nil {
		s.Line("Deleted", moment(f.DeletionTimestamp, now))
	}
	s.Line("Acceptance", string(cmp.Or(f.Spec.Acceptance, v1alpha1.AcceptAutomatic)))
	s.Line("Enforcement", string(cmp.Or(f.Spec.Enforcement, v1alpha1.EnforceDeny)))
	s.Line("Members", tally(members))
	s.Line("Regions", counted(members, regionsOf))
	s.Line("Versions", counted(members, func(m *v1alpha1.MemberCluster) []string {
		if v := m.KnownFacts().KubernetesVersion; v != "" {
			return []string{v}
		}
		return nil
	}))
	s.List("Rules", ruleLines(&f.Spec))
	access, inventory := "", ""
	if f.Spec.Access != nil {
		access = "readers of the inventory have ClusterRole " + f.Spec.Access.ClusterRole + " on members"
	}
	if f.Spec.Inventory != nil {
		inventory = "namespaces " + strings.Join(f.Spec.Inventory.Namespaces, ", ")
		if len(f.Spec.Inventory.Namespaces) == 1 {
			inventory = "namespace " + f.Spec.Inventory.Namespaces[0]
		}
		if ns := f.Spec.Inventory.CredentialsNamespace; ns != "" {
			inventory += "; credentials in " + ns
		}
	}
	s.Line("Access", access)
	s.Line("Inventory", inventory)
	describeServices(s, f)
	s.Line("Health", healthText(f.Spec.Health))
	describeDiscovery(s, f)
	s.Line("Services", commands.Line(command.Services{Federation: v1alpha1.FederationName(f.Name)}))
	if len(f.Status.Conditions) > 0 {
		s.Table("Conditions", conditionRows(f.Status.Conditions, now))
	}
	unhealthy := [][]string{{"NAME", phaseHeader, "CAUSE"}}
	slices.SortFunc(members, targets.ByFederation)
	slices.SortStableFunc(members, comparePhases)
	for _, m := range members {
		why, ready := causeOf(m), phaseOf(m) == v1alpha1.PhaseReady
		if !ready || why.Reason != "" && why.Reason != v1alpha1.ReasonRulesBroken {
			unhealthy = append(unhealthy, []string{m.Name, string(phaseOf(m)), why.short(now)})
		}
	}
	s.Table("Unhealthy", unhealthy[:min(len(unhealthy), maxUnhealthy+1)])
	if more := len(unhealthy) - 1 - maxUnhealthy; more > 0 {
		s.Line("More", commands.To(fmt.Sprintf("%d unhealthy members", more), command.Get{Federation: v1alpha1.FederationName(f.Name), ByPhase: true}))
	}
	rows, more := violatingRows(members)
	s.Table("Violating", rows)
	if more > 0 {
		s.Line("More", commands.To(fmt.Sprintf("%d violating members", more), command.Get{Federation: v1alpha1.FederationName(f.Name), Violating: true}))
	}
	events.describe(s, f.UID, now)
	return s.String()
}

// maxUnhealthy is how many unhealthy members a federation's description names.
const maxUnhealthy = 50

// Bounds on what a federation's description says of violations.
const maxViolating, maxViolationsShown = 50, 3

// violatingRows are the violations of members, by name, and how many members are left out.
func violatingRows(members []*v1alpha1.MemberCluster) (rows [][]string, more int) {
	rows = [][]string{{"NAME", "ENFORCEMENT", "VIOLATION"}}
	members = slices.DeleteFunc(slices.Clone(members), func(m *v1alpha1.MemberCluster) bool { return violating(m) == nil })
	slices.SortFunc(members, targets.ByFederation)
	more = max(len(members)-maxViolating, 0)
	for _, m := range members[:len(members)-more] {
		all := m.Status.Violations
		for _, v := range all[:min(len(all), maxViolationsShown)] {
			rows = append(rows, []string{m.Name, string(v.Enforcement), v.Message})
		}
		if len(all) > maxViolationsShown {
			rows = append(rows, []string{m.Name, "", "and more"})
		}
	}
	return rows, more
}

// counted counts members by a property that may have several values, or none: "us-east-1 (3), unknown (1)".
func counted(members []*v1alpha1.MemberCluster, in func(m *v1alpha1.MemberCluster) []string) string {
	count, unknown := map[string]int{}, 0
	for _, m := range members {
		at := in(m)
		if len(at) == 0 {
			unknown++
		}
		for _, place := range at {
			count[place]++
		}
	}
	var parts []string
	for _, place := range slices.SortedFunc(maps.Keys(count), compareNatural) {
		parts = append(parts, fmt.Sprintf("%s (%d)", place, count[place]))
	}
	if unknown > 0 {
		parts = append(parts, fmt.Sprintf("unknown (%d)", unknown))
	}
	return strings.Join(parts, ", ")
}

// ruleLines are the rules of a federation in words.
func ruleLines(spec *v1alpha1.FederationSpec) (lines []string) {
	for _, l := range spec.Labels {
		var parts []string
		if l.Required {
			parts = append(parts, "required")
		}
		if len(l.Values) > 0 {
			parts = append(parts, "one of "+strings.Join(l.Values, ", "))
		}
		if l.Pattern != "" {
			parts = append(parts, fmt.Sprintf("must match %q", l.Pattern))
		}
		if l.Immutable {
			parts = append(parts, "immutable")
		}
		lines = append(lines, "label "+l.Key+": "+strings.Join(parts, "; ")+remark(l.Message))
	}
	for _, l := range spec.Limits {
		line := fmt.Sprintf("at most %s", output.Count(int(l.Max), "member", "members"))
		if l.PerLabel != "" {
			line += " per value of label " + l.PerLabel
		}
		lines = append(lines, line)
	}
	if spec.KubernetesVersions != "" {
		lines = append(lines, "Kubernetes "+spec.KubernetesVersions)
	}
	for _, r := range spec.Rules {
		line := r.Name + ": " + r.Expression + remark(r.Message)
		if r.Enforcement == v1alpha1.EnforceWarn && spec.Enforcement != v1alpha1.EnforceWarn {
			line += ", warning only"
		}
		lines = append(lines, line)
	}
	if spec.AllowInsecureTLS {
		lines = append(lines, "TLS verification may be skipped")
	}
	return lines
}

// healthText is how a federation has its members probed.
func healthText(h *v1alpha1.Health) string {
	interval, failures := "at the manager's interval", ""
	if h != nil && h.Interval != "" {
		interval = "every " + h.Interval
	}
	if h != nil && h.Failures > 0 {
		failures = fmt.Sprintf("; Offline after %s in a row", output.Count(int(h.Failures), "failure", "failures"))
	}
	return "probed " + interval + failures
}

func remark(message string) string {
	if message == "" {
		return ""
	}
	return " (" + message + ")"
}
