package controller

import (
	"fmt"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
	"github.com/kubefederate/kubectl-federate/pkg/text"
)

// maxViolations is how many violations a status lists, and maxViolation how long the message of one is, in bytes.
const maxViolations, maxViolation = 10, 1024

// compliance judges the member with these facts by the rules of its federation.
func (o memberState) compliance(facts *v1alpha1.Facts) (c rules.Compliance) {
	if o.federation == nil {
		return c
	}
	m := *o.member
	m.Status.Facts = facts
	c = rules.JudgeCompliance(o.federation, &m)
	for i := range c.Violations {
		c.Violations[i].Message = printable(c.Violations[i].Message)
	}
	for i := range c.Unknown {
		c.Unknown[i].Text = printable(c.Unknown[i].Text)
	}
	return c
}

// printable is a text that a status may hold: rules print what a federation, a member and its cluster say.
func printable(violation string) string { return text.Cut(cluster.Printable(violation), maxViolation) }

// compliant is the condition Compliant.
func (o memberState) compliant(judged rules.Compliance) metav1.Condition {
	c := metav1.Condition{Type: v1alpha1.ConditionCompliant}
	switch {
	case o.federation == nil:
		c.Status, c.Reason = metav1.ConditionUnknown, v1alpha1.ReasonFederationMissing
		c.Message = fmt.Sprintf("federation %q does not exist", o.member.Federation())
	case len(judged.Violations) > 0:
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, v1alpha1.ReasonRulesBroken, broken(judged.Violations)
	case len(judged.Unknown) > 0:
		c.Status, c.Reason, c.Message = metav1.ConditionUnknown, v1alpha1.ReasonFactsUnknown, firstOf(judged.Unknown[0].Text, len(judged.Unknown))
	default:
		c.Status, c.Reason = metav1.ConditionTrue, v1alpha1.ReasonRulesKept
		c.Message = fmt.Sprintf("the member keeps the rules of federation %q", o.federation.Name)
	}
	return c
}

// broken sums violations up.
func broken(violations []v1alpha1.Violation) string {
	return firstOf(violations[0].Message, len(violations))
}

// firstOf is the first of some texts, and how many more there are.
func firstOf(text string, of int) string {
	if of == 1 {
		return text
	}
	return fmt.Sprintf("%s; and %d more", text, of-1)
}

// judgement is what a member was judged by last, and whether it broke a rule.
type judgement struct {
	member, federation types.UID
	// generation is that of the federation.
	generation int64
	violating  bool
}

// judgements are those of this manager, by member. A status does not say under which rules it was found: it would have to be
// written for each change of the rules that changes nothing for the member.
type judgements struct {
	mu sync.Mutex
	of map[string]judgement
}

// note keeps what a member's status says now.
func (j *judgements) note(o memberState, violating bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if o.federation == nil {
		delete(j.of, o.member.Name)
		return
	}
	j.of[o.member.Name] = judgement{o.member.UID, o.federation.UID, o.federation.Generation, violating}
}

func (j *judgements) forget(name string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.of, name)
}

// judged says whether a member breaks a rule, and whether it was judged by the rules that its federation has now. Its status may
// be behind in the cache.
func (j *judgements) judged(federation *v1alpha1.Federation, m *v1alpha1.MemberCluster) (violating, current bool) {
	j.mu.Lock()
	last, known := j.of[m.Name]
	j.mu.Unlock()
	if !known || last.member != m.UID || last.federation != federation.UID {
		return len(m.Status.Violations) > 0, false
	}
	return last.violating, last.generation >= federation.Generation
}
