package cli

import (
	"cmp"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
)

// memberText is all that is known of a member. Plugin is how a person calls the plugin.
func memberText(plugin string, m *v1alpha1.MemberCluster, book rulebook, now time.Time) string {
	s := &sheet{}
	why := causeOf(m)
	s.line("Name", m.Name)
	s.line("Federation", string(m.Federation()))
	s.line("Phase", string(phaseOf(m)))
	if why.Reason != "" {
		s.line("Cause", why.long(now))
	}
	if next := nextStep(plugin, m, why.Reason); next != "" {
		s.line("Next", next)
	}
	s.line("Joined", joined(m, now))
	s.line("Accepted", accepted(m, book.federation, now))
	s.line("Cluster ID", m.Spec.ClusterID)
	s.list("Labels", sortedLabels(m.Labels))

	s.b.WriteString("Endpoint:\n")
	s.under("Server", m.Spec.Server)
	s.under("CA", authorities(m.Spec.CABundle, now))
	s.under("Proxy", m.Spec.ProxyURL)
	if m.Spec.InsecureSkipTLSVerify {
		s.under("Certificate", "not verified (spec.insecureSkipTLSVerify)")
	}
	s.b.WriteString("Credential:\n")
	s.under("Secret", v1alpha1.CredentialsNamespace+"/"+m.Name)
	s.under("Ends", ends(m.Status.CredentialExpiry, now))

	source := "unknown"
	switch {
	case m.Status.Facts != nil:
		source = "as the manager saw them"
	case m.Spec.JoinedWith != nil:
		source = "as the joiner saw them"
	}
	facts := m.KnownFacts()
	s.line("Facts", source)
	s.under("Version", facts.KubernetesVersion)
	s.under("Nodes", nodesOf(m))
	s.under("Capacity", capacity(m.Status.Facts))
	s.under("Regions", strings.Join(regionsOf(m), ", "))
	s.under("Zones", strings.Join(zonesOf(m), ", "))
	s.under("Last probe", moment(m.Status.LastProbeTime, now))

	s.table("Conditions", conditionRows(m.Status.Conditions, now))
	if book.federation == nil {
		s.line("Violations", "not judged: "+book.missing)
	} else {
		s.list("Violations", violations(m, book.federation, now))
	}
	return s.String()
}

// nextStep is the command that goes on from the reason why a member is not as it should be; empty where nothing is to
// do. CONTEXT is the member's context, which the host does not know.
func nextStep(plugin string, m *v1alpha1.MemberCluster, reason string) string {
	federation := string(m.Federation())
	switch phaseOf(m) {
	case v1alpha1.PhaseReady:
		if reason == v1alpha1.ReasonCredentialExpiring {
			return plugin + " rotate " + m.Name + " --member-context CONTEXT"
		}
		return ""
	case v1alpha1.PhaseLeaving:
		return ""
	case v1alpha1.PhaseSuspended:
		return plugin + " resume " + m.Name
	case phaseUnknown:
		return plugin + " check"
	}
	switch reason {
	case v1alpha1.ReasonAwaitingApproval:
		return plugin + " approve " + m.Name
	case v1alpha1.ReasonFederationMissing:
		return plugin + " create federation " + federation
	case v1alpha1.ReasonCredentialMissing, v1alpha1.ReasonCredentialNotOwned, v1alpha1.ReasonCredentialMalformed,
		v1alpha1.ReasonCredentialMismatch, v1alpha1.ReasonCredentialWithoutExpiry, v1alpha1.ReasonCertificateInvalid, v1alpha1.ReasonForbidden:
		return plugin + " join " + m.Name + " --federation " + federation + " --member-context CONTEXT"
	case v1alpha1.ReasonCredentialExpired, v1alpha1.ReasonUnauthorized:
		return plugin + " rotate " + m.Name + " --member-context CONTEXT"
	}
	if phaseOf(m) == v1alpha1.PhaseJoining {
		return ""
	}
	return plugin + " check --member-contexts CONTEXT"
}

// joined is who joined a member, and when.
func joined(m *v1alpha1.MemberCluster, now time.Time) string {
	who, when, ok := cutLast(m.Annotations[v1alpha1.AnnotationJoinedBy])
	at, err := time.Parse(time.RFC3339, when)
	if !ok || err != nil {
		return "not finished; created " + moment(&m.CreationTimestamp, now)
	}
	t := metav1.NewTime(at)
	return moment(&t, now) + " by " + who
}

// cutLast cuts at the last blank: user names may hold blanks.
func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, ' ')
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// accepted says since when a member is accepted, and by whose word.
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
	case federation.Spec.Acceptance == v1alpha1.AcceptManual:
		return text + ", by an approver"
	}
	return text + ", by the federation itself, which takes every cluster that joins"
}

// authorities are the certificates that verify an endpoint, and when the first of them ends.
func authorities(bundle []byte, now time.Time) string {
	if len(bundle) == 0 {
		return "the roots that the host trusts"
	}
	var names []string
	var first time.Time
	for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return "a certificate cannot be read: " + err.Error()
		}
		names = append(names, c.Subject.String())
		if first.IsZero() || c.NotAfter.Before(first) {
			first = c.NotAfter
		}
	}
	if len(names) == 0 {
		return "no certificate (spec.caBundle is not PEM)"
	}
	end := metav1.NewTime(first)
	return strings.Join(names, "; ") + ", ends " + ends(&end, now)
}

// moment is a time and how long ago it was.
func moment(t *metav1.Time, now time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339) + " (" + duration.HumanDuration(now.Sub(t.Time)) + " ago)"
}

// ends is a time to come and how long it takes.
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

// violations are what the rules of its federation have against a member, as far as that needs no other member.
func violations(m *v1alpha1.MemberCluster, federation *v1alpha1.Federation, now time.Time) (said []string) {
	x := rules.NewIndex()
	x.SetFederation(federation)
	x.SetMember(m)
	snapshot := rules.Snapshot{Now: now, Host: x}
	for _, rule := range rules.MemberRules {
		found, reads := rule.Ask(snapshot, rules.MemberChange{New: m})
		if reads.Has(rules.ReadsIdentity | rules.ReadsMembers) {
			continue
		}
		for _, e := range found.Refusals {
			if rule.Soft && federation.Spec.Enforcement == v1alpha1.EnforceWarn {
				said = append(said, "warning: "+rules.WarningText(e))
			} else {
				said = append(said, e.Error())
			}
		}
		for _, e := range found.Warnings {
			said = append(said, "warning: "+rules.WarningText(e))
		}
	}
	return said
}

// federationText is all that is known of a federation.
func federationText(f *v1alpha1.Federation, members []*v1alpha1.MemberCluster, now time.Time) string {
	s := &sheet{}
	s.line("Name", f.Name)
	s.line("Description", f.Spec.Description)
	s.line("Created", moment(&f.CreationTimestamp, now))
	if f.DeletionTimestamp != nil {
		s.line("Deleted", moment(f.DeletionTimestamp, now))
	}
	s.line("Acceptance", string(cmp.Or(f.Spec.Acceptance, v1alpha1.AcceptAutomatic)))
	s.line("Enforcement", string(cmp.Or(f.Spec.Enforcement, v1alpha1.EnforceDeny)))
	s.line("Members", tally(members))
	s.line("Regions", counted(members, regionsOf))
	s.line("Versions", counted(members, func(m *v1alpha1.MemberCluster) []string {
		if v := m.KnownFacts().KubernetesVersion; v != "" {
			return []string{v}
		}
		return nil
	}))
	s.list("Rules", ruleLines(&f.Spec))
	if f.Spec.Access != nil {
		s.line("Access", "readers of the inventory have ClusterRole "+f.Spec.Access.ClusterRole+" on members")
	} else {
		s.line("Access", "")
	}
	if f.Spec.Inventory != nil {
		s.line("Inventory", "namespace "+f.Spec.Inventory.Namespace)
	} else {
		s.line("Inventory", "")
	}
	if len(f.Status.Conditions) > 0 {
		s.table("Conditions", conditionRows(f.Status.Conditions, now))
	}
	wrong := [][]string{{"NAME", "STATUS", "CAUSE"}}
	slices.SortFunc(members, byFederation)
	slices.SortStableFunc(members, func(a, b *v1alpha1.MemberCluster) int { return urgency(phaseOf(a)) - urgency(phaseOf(b)) })
	for _, m := range members {
		if why := causeOf(m); why.Reason != "" || phaseOf(m) != v1alpha1.PhaseReady {
			wrong = append(wrong, []string{m.Name, string(phaseOf(m)), why.short(now)})
		}
	}
	s.table("Not well", wrong)
	return s.String()
}

// counted says how many members are in each of the places that they are in, and of how many that is not known.
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
			parts = append(parts, fmt.Sprintf("all of it matches %q", l.Pattern))
		}
		if l.Immutable {
			parts = append(parts, "set once")
		}
		lines = append(lines, "label "+l.Key+": "+strings.Join(parts, "; ")+remark(l.Message))
	}
	for _, l := range spec.Limits {
		line := fmt.Sprintf("at most %s", countOf(int(l.Max), "member", "members"))
		if l.PerLabel != "" {
			line += " with one value of label " + l.PerLabel
		}
		lines = append(lines, line)
	}
	if spec.KubernetesVersions != "" {
		lines = append(lines, "Kubernetes "+spec.KubernetesVersions)
	}
	for _, r := range spec.Rules {
		line := r.Name + ": " + r.Expression + remark(r.Message)
		if r.Enforcement == v1alpha1.EnforceWarn && spec.Enforcement != v1alpha1.EnforceWarn {
			line += ", only a warning"
		}
		lines = append(lines, line)
	}
	if spec.AllowInsecureTLS {
		lines = append(lines, "the certificate of a member's server need not be verified")
	}
	return lines
}

func remark(message string) string {
	if message == "" {
		return ""
	}
	return " (" + message + ")"
}
