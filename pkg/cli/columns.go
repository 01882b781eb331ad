package cli

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cli/output"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
)

// phases are all phases; those that need attention come first.
var phases = []v1alpha1.Phase{
	v1alpha1.PhaseOffline, v1alpha1.PhaseNotReady, phaseUnknown, v1alpha1.PhaseJoining, v1alpha1.PhasePending,
	v1alpha1.PhaseLeaving, v1alpha1.PhaseSuspended, v1alpha1.PhaseReady,
}

// phaseUnknown is the phase of a member that the manager has not probed, or not for long. It is never stored.
const phaseUnknown v1alpha1.Phase = "Unknown"

// phaseOf is a member's phase. A member that is being deleted is Leaving, whatever its status says.
func phaseOf(m *v1alpha1.MemberCluster) v1alpha1.Phase {
	if m.DeletionTimestamp != nil {
		return v1alpha1.PhaseLeaving
	}
	return cmp.Or(m.Status.Phase, phaseUnknown)
}

// urgency is the place of a phase in phases. A phase that this release does not know comes before all.
func urgency(p v1alpha1.Phase) int { return slices.Index(phases, p) }

// cause is why a member is not healthy; it is zero for one that is.
type cause struct {
	Reason, Message string
	// Since is when it began; zero when unknown.
	Since time.Time
}

// decisive has, by phase, the condition that explains the phase when it is not True.
var decisive = map[v1alpha1.Phase]string{
	v1alpha1.PhaseJoining:  v1alpha1.ConditionCredentialValid,
	v1alpha1.PhasePending:  v1alpha1.ConditionAccepted,
	v1alpha1.PhaseNotReady: v1alpha1.ConditionReady,
	v1alpha1.PhaseOffline:  v1alpha1.ConditionReady,
	phaseUnknown:           v1alpha1.ConditionReady,
}

// causeOf is the cause that a member's conditions give: the one that explains its phase, or else the first that is not True.
func causeOf(m *v1alpha1.MemberCluster) cause {
	conditions := m.Status.Conditions
	of := func(c metav1.Condition) cause { return cause{c.Reason, c.Message, c.LastTransitionTime.Time} }
	if m.DeletionTimestamp != nil && len(m.Finalizers) > 0 {
		return cause{"Finalizers", "waiting for its finalizers: " + strings.Join(m.Finalizers, ", "), m.DeletionTimestamp.Time}
	}
	if text := m.SuspensionText(); text != "" && phaseOf(m) == v1alpha1.PhaseSuspended {
		return cause{Reason: string(v1alpha1.PhaseSuspended), Message: text}
	}
	if c := meta.FindStatusCondition(conditions, decisive[phaseOf(m)]); c != nil && c.Status != metav1.ConditionTrue {
		return of(*c)
	}
	for _, status := range []metav1.ConditionStatus{metav1.ConditionFalse, metav1.ConditionUnknown} {
		for _, c := range conditions {
			if c.Status == status && c.Type != v1alpha1.ConditionCompliant {
				return of(c)
			}
		}
	}
	if c := violating(m); c != nil {
		return of(*c)
	}
	if c := meta.FindStatusCondition(conditions, v1alpha1.ConditionCredentialValid); c != nil && slices.Contains(endingReasons, c.Reason) {
		return cause{Reason: c.Reason, Message: c.Message} // the condition is True for longer than for this reason
	}
	if m.Status.Phase == "" {
		return cause{v1alpha1.ReasonNotProbed, "the manager has not probed it yet", m.CreationTimestamp.Time}
	}
	return cause{}
}

// violating is the condition that says which rules a member breaks; nil when it breaks none.
func violating(m *v1alpha1.MemberCluster) *metav1.Condition {
	c := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionCompliant)
	if c == nil || c.Status != metav1.ConditionFalse {
		return nil
	}
	return c
}

// title is the reason, or what a person gave as one for a suspension.
func (c cause) title() string {
	if c.Reason == string(v1alpha1.PhaseSuspended) {
		return c.Message
	}
	return c.Reason
}

// short is the title and its age: "Unreachable (5m ago)"; empty without a cause.
func (c cause) short(now time.Time) string { return c.title() + c.age(now) }

// age is " (5m ago)"; empty when unknown.
func (c cause) age(now time.Time) string {
	if c.Reason == "" || c.Since.IsZero() {
		return ""
	}
	return " (" + duration.HumanDuration(now.Sub(c.Since)) + " ago)"
}

// long is short with the message.
func (c cause) long(now time.Time) string {
	if c.Message == "" || c.Message == c.title() {
		return c.short(now)
	}
	return c.short(now) + ": " + c.Message
}

// endingReasons are those of a credential that works, but perhaps not for long.
var endingReasons = []string{v1alpha1.ReasonCredentialExpiring, v1alpha1.ReasonCredentialRenewalFailed}

// credentialLeft is how long the stored credential is still valid.
func credentialLeft(m *v1alpha1.MemberCluster, now time.Time) string {
	if m.Status.CredentialExpiry == nil {
		return output.None
	}
	valid := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionCredentialValid)
	left := m.Status.CredentialExpiry.Sub(now)
	if left <= 0 {
		return "expired " + duration.HumanDuration(-left) + " ago"
	}
	switch {
	case valid == nil:
	case valid.Reason == v1alpha1.ReasonCredentialExpiring:
		return duration.HumanDuration(left) + " (rotate)"
	case valid.Reason == v1alpha1.ReasonCredentialRenewalFailed:
		return duration.HumanDuration(left) + " (not renewed)"
	}
	return duration.HumanDuration(left)
}

// age is how long ago t was.
func age(t metav1.Time, now time.Time) string {
	if t.IsZero() {
		return "<unknown>"
	}
	return duration.HumanDuration(now.Sub(t.Time))
}

// regionsOf are the regions of a member's nodes, or else that of its label; empty when unknown.
func regionsOf(m *v1alpha1.MemberCluster) []string {
	return places(m.KnownFacts().Regions, m.Labels[rules.LabelRegion])
}

// zonesOf are the zones of a member's nodes, or else that of its label; empty when unknown.
func zonesOf(m *v1alpha1.MemberCluster) []string {
	return places(m.KnownFacts().Zones, m.Labels[rules.LabelZone])
}

func places(known []string, label string) []string {
	if len(known) == 0 && label != "" {
		return []string{label}
	}
	known = slices.Clone(known)
	slices.Sort(known)
	return known
}

// nodesOf is how many nodes the manager has seen on a member; empty when unknown.
func nodesOf(m *v1alpha1.MemberCluster) string {
	if m.Status.Facts == nil {
		return ""
	}
	return strconv.Itoa(int(m.Status.Facts.Nodes))
}

// column is a column of get, which --sort-by knows by its header.
type column struct {
	header string
	cell   func(m *v1alpha1.MemberCluster, now time.Time) string
	// compare orders two members by the column; nil compares their cells.
	compare func(a, b *v1alpha1.MemberCluster) int
}

// timeless is a cell that does not change with time; <none> when it is empty.
func timeless(text func(m *v1alpha1.MemberCluster) string) func(*v1alpha1.MemberCluster, time.Time) string {
	return func(m *v1alpha1.MemberCluster, _ time.Time) string { return output.OrNone(text(m)) }
}

// Headers of the columns of phases and causes.
const phaseHeader, causeHeader = "PHASE", "CAUSE"

// lastContactHeader is the header of the column of last contacts.
const lastContactHeader = "LAST CONTACT"

// The columns of get. Causes come last: they are of any length.
var (
	columns = []column{
		{"NAME", timeless(func(m *v1alpha1.MemberCluster) string { return m.Name }), nil},
		{"FEDERATION", timeless(func(m *v1alpha1.MemberCluster) string { return string(m.Federation()) }), nil},
		{phaseHeader, timeless(func(m *v1alpha1.MemberCluster) string { return string(phaseOf(m)) }), comparePhases},
		{"VERSION", timeless(func(m *v1alpha1.MemberCluster) string { return m.KnownFacts().KubernetesVersion }), nil},
		{"REGION", timeless(func(m *v1alpha1.MemberCluster) string { return strings.Join(regionsOf(m), ",") }), nil},
		{"CREDENTIAL", credentialLeft, func(a, b *v1alpha1.MemberCluster) int {
			return compareTimes(a.Status.CredentialExpiry, b.Status.CredentialExpiry)
		}},
		{"AGE", func(m *v1alpha1.MemberCluster, now time.Time) string { return age(m.CreationTimestamp, now) },
			func(a, b *v1alpha1.MemberCluster) int {
				return compareTimes(&b.CreationTimestamp, &a.CreationTimestamp)
			}},
	}
	wideColumns = []column{
		{"ZONES", timeless(func(m *v1alpha1.MemberCluster) string { return strings.Join(zonesOf(m), ",") }), nil},
		{"NODES", timeless(nodesOf), nil},
		{lastContactHeader, func(m *v1alpha1.MemberCluster, now time.Time) string {
			if at := m.Status.LastProbeTime; at != nil {
				return age(*at, now)
			}
			return output.None
		}, func(a, b *v1alpha1.MemberCluster) int {
			return compareTimes(a.Status.LastProbeTime, b.Status.LastProbeTime)
		}},
		{"SERVER", timeless(func(m *v1alpha1.MemberCluster) string { return m.Spec.Server }), nil},
		{"CLUSTER ID", timeless(func(m *v1alpha1.MemberCluster) string { return m.Spec.ClusterID }), nil},
	}
	causeColumn     = column{causeHeader, func(m *v1alpha1.MemberCluster, now time.Time) string { return causeOf(m).short(now) }, nil}
	longCauseColumn = column{causeHeader, func(m *v1alpha1.MemberCluster, now time.Time) string { return causeOf(m).long(now) }, nil}
	violationColumn = column{"VIOLATION", timeless(func(m *v1alpha1.MemberCluster) string {
		c := violating(m)
		if c == nil {
			return ""
		}
		return c.Message
	}), nil}
	labelsColumn = column{"LABELS", timeless(func(m *v1alpha1.MemberCluster) string { return strings.Join(sortedLabels(m.Labels), ",") }), nil}
)

// dispensable are the columns that a narrow terminal does without, the first of them first.
var dispensable = []string{"AGE", "CREDENTIAL", "REGION", "VERSION"}

// labelColumn is the column of one label, with the header that kubectl gives it.
func labelColumn(key string) column {
	return column{strings.ToUpper(key[strings.LastIndex(key, "/")+1:]), timeless(func(m *v1alpha1.MemberCluster) string { return m.Labels[key] }), nil}
}

// levelOf is how good a phase is.
func levelOf(p v1alpha1.Phase) output.Level {
	switch p {
	case v1alpha1.PhaseReady:
		return output.Good
	case v1alpha1.PhaseOffline, v1alpha1.PhaseNotReady:
		return output.Bad
	}
	return output.Waiting
}

// comparePhases orders members by the urgency of their phases.
func comparePhases(a, b *v1alpha1.MemberCluster) int {
	return urgency(phaseOf(a)) - urgency(phaseOf(b))
}

// name is what --sort-by takes for the column.
func (c column) name() string { return strings.ToLower(strings.ReplaceAll(c.header, " ", "-")) }

// order compares two members by the column.
func (c column) order(a, b *v1alpha1.MemberCluster) int {
	if c.compare != nil {
		return c.compare(a, b)
	}
	var never time.Time
	return compareKnown(c.cell(a, never), c.cell(b, never))
}

// compareTrue orders what is false before what is true.
func compareTrue(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// compareKnown compares cells in natural order, "" and <none> last.
func compareKnown(a, b string) int {
	unknown := func(s string) bool { return s == "" || s == output.None }
	return cmp.Or(compareTrue(unknown(a), unknown(b)), compareNatural(a, b))
}

// compareNatural compares text in which runs of digits count as numbers: v1.9.0 comes before v1.10.0.
func compareNatural(a, b string) int {
	isDigit := func(r rune) bool { return r >= '0' && r <= '9' }
	start, end := a, b
	for a != "" && b != "" {
		if isDigit(rune(a[0])) && isDigit(rune(b[0])) {
			na, nb := len(a)-len(strings.TrimLeftFunc(a, isDigit)), len(b)-len(strings.TrimLeftFunc(b, isDigit))
			da, db := strings.TrimLeft(a[:na], "0"), strings.TrimLeft(b[:nb], "0")
			if c := cmp.Or(len(da)-len(db), strings.Compare(da, db)); c != 0 {
				return c
			}
			a, b = a[na:], b[nb:]
			continue
		}
		if a[0] != b[0] {
			return cmp.Compare(a[0], b[0])
		}
		a, b = a[1:], b[1:]
	}
	// Break ties (01 vs 1) by plain text, so that the order is total.
	return cmp.Or(len(a)-len(b), strings.Compare(start, end))
}

// compareTimes compares times, unknown ones last.
func compareTimes(a, b *metav1.Time) int {
	if a.IsZero() || b.IsZero() {
		return compareTrue(a.IsZero(), b.IsZero())
	}
	return a.Compare(b.Time)
}

// tally counts members by phase: "3 members: 1 Offline, 2 Ready".
func tally(members []*v1alpha1.MemberCluster) string {
	counts := phaseCounts(members)
	if len(counts) == 0 {
		return "no members"
	}
	return output.Count(len(members), "member", "members") + ": " + strings.Join(counts, ", ")
}

// phaseCounts are the counts by phase, "1 Offline", in the order of phases.
func phaseCounts(members []*v1alpha1.MemberCluster) []string {
	count := map[v1alpha1.Phase]int{}
	for _, m := range members {
		count[phaseOf(m)]++
	}
	order := func(a, b v1alpha1.Phase) int { return cmp.Or(urgency(a)-urgency(b), cmp.Compare(a, b)) }
	var counts []string
	for _, p := range slices.SortedFunc(maps.Keys(count), order) {
		counts = append(counts, fmt.Sprintf("%d %s", count[p], p))
	}
	return counts
}
