package rules

import (
	"slices"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/rules/expression"
)

// Compliance is what the rules say of a member as it is.
type Compliance struct {
	// Violations are the rules that the member breaks, in the order of MemberRules.
	Violations []v1alpha1.Violation
	// Unknown are the rules that need a fact which is not known, in the same order.
	Unknown []UnknownFact
}

// UnknownFact is a rule that cannot be judged, since it needs a fact which is not known.
type UnknownFact struct {
	Rule        ID
	Enforcement v1alpha1.Enforcement
	// Text says which fact.
	Text string
}

// Denied says that the member breaks a rule with enforcement Deny.
func (c Compliance) Denied() bool {
	return slices.ContainsFunc(c.Violations, func(v v1alpha1.Violation) bool { return v.Enforcement == v1alpha1.EnforceDeny })
}

// Undecided are the texts of the rules with enforcement Deny that cannot be judged. Topology is not one of them: it rules what a
// member says of itself, which holds until the facts contradict it.
func (c Compliance) Undecided() (texts []string) {
	for _, u := range c.Unknown {
		if u.Rule != Topology && u.Enforcement == v1alpha1.EnforceDeny {
			texts = append(texts, u.Text)
		}
	}
	return texts
}

// Unlocated is what a member says of its place that no fact is known to compare with: the first of it; empty for none.
func (c Compliance) Unlocated() string {
	i := slices.IndexFunc(c.Unknown, func(u UnknownFact) bool { return u.Rule == Topology })
	if i < 0 {
		return ""
	}
	return c.Unknown[i].Text
}

// Contradicted says that the facts contradict what a member says of its place.
func (c Compliance) Contradicted() bool {
	return slices.ContainsFunc(c.Violations, func(v v1alpha1.Violation) bool { return v.Rule == string(Topology) })
}

// JudgeCompliance judges a member by the facts that the manager saw, as if it was created now. What its joiner says to have seen
// does not count. Rules that judge other members, the time, or a change are left out; an expression that reads oldCluster counts
// until the member is accepted, as when a cluster joins.
func JudgeCompliance(federation *v1alpha1.Federation, member *v1alpha1.MemberCluster) (c Compliance) {
	m, f := *member, federation
	if m.Status.Facts == nil {
		m.Status.Facts = &v1alpha1.Facts{}
	}
	if m.Status.AcceptedTime != nil {
		f = withoutChanges(federation)
	}
	s := Snapshot{Host: underSpec{noHost, f}}
	for _, rule := range MemberRules {
		if !rule.Lasting {
			continue
		}
		found := rule.Judge(s, MemberChange{New: &m})
		enforcement := v1alpha1.EnforceDeny
		if rule.Soft && f.Spec.Enforcement == v1alpha1.EnforceWarn {
			enforcement = v1alpha1.EnforceWarn
		}
		for _, e := range found.Refusals {
			c.add(rule.ID, enforcement, e.Error())
		}
		for _, e := range found.Warnings {
			switch e.Type {
			case warning: // advice, which no rule rests on
			case unknownFact:
				u := UnknownFact{rule.ID, enforcement, WarningText(e)}
				if rule.ID == Expressions && warns(f, e) {
					u.Enforcement = v1alpha1.EnforceWarn
				}
				c.Unknown = append(c.Unknown, u)
			default:
				c.add(rule.ID, v1alpha1.EnforceWarn, e.Error())
			}
		}
	}
	return c
}

// warns says that the expression which a finding is of only warns.
func warns(f *v1alpha1.Federation, e *field.Error) bool {
	return slices.ContainsFunc(f.Spec.Rules, func(r v1alpha1.Rule) bool { return r.Name == e.BadValue && r.Enforcement == v1alpha1.EnforceWarn })
}

func (c *Compliance) add(rule ID, enforcement v1alpha1.Enforcement, message string) {
	c.Violations = append(c.Violations, v1alpha1.Violation{Rule: string(rule), Enforcement: enforcement, Message: message})
}

// noHost has nothing. It is only read.
var noHost = NewIndex()

// withoutChanges is a federation without the expressions that judge changes.
func withoutChanges(f *v1alpha1.Federation) *v1alpha1.Federation {
	judgesChanges := func(rule v1alpha1.Rule) bool {
		program, err := expression.Compile(rule.Expression)
		return err == nil && program.ReadsOld
	}
	if !slices.ContainsFunc(f.Spec.Rules, judgesChanges) {
		return f
	}
	changed := *f
	changed.Spec.Rules = slices.DeleteFunc(slices.Clone(f.Spec.Rules), judgesChanges)
	return &changed
}

// anyValue stands for a value that a person has to choose.
const anyValue = "VALUE"

// LabelToSet is the first label that a member must have, and the value that it must have for the rules on labels and places;
// VALUE where several would do. The key is empty when no label is wrong, or when it must not be changed.
func LabelToSet(federation *v1alpha1.Federation, m *v1alpha1.MemberCluster) (key, value string) {
	only := func(values []string) string {
		if len(values) == 1 {
			return values[0]
		}
		return anyValue
	}
	for _, rule := range compile(federation.Spec.Labels) {
		_, has := m.Labels[rule.Key]
		if len(rule.judge(m)) > 0 && (!has || !rule.Immutable) {
			return rule.Key, only(rule.Values)
		}
	}
	facts := m.KnownFacts()
	for _, place := range []struct {
		key   string
		known []string
	}{{LabelRegion, facts.Regions}, {LabelZone, facts.Zones}} {
		value, has := m.Labels[place.key]
		immutable := slices.ContainsFunc(federation.Spec.Labels, func(l v1alpha1.LabelRule) bool { return l.Key == place.key && l.Immutable })
		if has && !immutable && len(place.known) > 0 && !slices.Contains(place.known, value) {
			return place.key, only(place.known)
		}
	}
	return "", ""
}
