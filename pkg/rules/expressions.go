package rules

import (
	"fmt"
	"maps"
	"slices"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/rules/expression"
)

// Expressions: members keep the CEL expressions of their federation.
//
// Reads: metadata.name and labels, spec, what is known of the cluster, and name, labels and spec of the Federation.
// Allows: a member of which every expression is true. One that is false refuses, and so does one that gives no answer
// because of what the object says, such as a label that is not there. One that needs a fact which is not known warns.
// An update is judged when labels or spec change, and may leave an expression broken that was broken before; one
// that reads oldCluster judges the change itself, so that every update has to keep it.
// Does not promise: that facts still are what the manager saw last, or before that the joiner.
const Expressions ID = "expressions"

func expressions(s Snapshot, c MemberChange) (found Findings) {
	federation := federationOf(s, c.New)
	if federation == nil || len(federation.Spec.Rules) == 0 || sameToExpressions(c) {
		return found
	}
	j := expressionJudge{federation: federation, now: expression.NewCluster(c.New, c.New.KnownFacts()), budget: s.budget}
	if c.Old != nil {
		old := expression.NewCluster(c.Old, c.Old.KnownFacts())
		j.before = &old
	}
	for _, rule := range federation.Spec.Rules {
		e := j.judge(rule)
		switch {
		case e == nil:
		case e.Type == unknownFact:
			found.warn(e)
		default:
			e = withMessage(e, rule.Message)
			if rule.Enforcement == v1alpha1.EnforceWarn {
				found.warn(e)
			} else {
				found.refuse(e)
			}
		}
	}
	return found
}

// sameToExpressions says that an update changes nothing that expressions are about.
func sameToExpressions(c MemberChange) bool {
	return c.Old != nil && maps.Equal(c.Old.Labels, c.New.Labels) && apiequality.Semantic.DeepEqual(c.Old.Spec, c.New.Spec)
}

// expressionJudge judges one change of a member by the expressions of its federation.
type expressionJudge struct {
	federation *v1alpha1.Federation
	before     *expression.Cluster
	now        expression.Cluster
	budget     *budget

	// in is the federation as expressions read it, when one has been asked that reads it.
	in *expression.Federation
}

func (j *expressionJudge) run(program *expression.Program, before *expression.Cluster, now expression.Cluster) expression.Outcome {
	if j.in == nil && program.ReadsFederation {
		in := expression.NewFederation(j.federation)
		j.in = &in
	}
	in := expression.Federation{}
	if j.in != nil {
		in = *j.in
	}
	o := program.Judge(in, before, now)
	j.budget.spend(o.Cost)
	return o
}

// judge is what one rule says, without its message; nil when it says nothing. The value of a finding, which is not
// printed, is the name of the rule: see breach.
func (j *expressionJudge) judge(rule v1alpha1.Rule) *field.Error {
	named := func(e *field.Error) *field.Error {
		e.Detail = fmt.Sprintf("rule %q of federation %q %s", rule.Name, j.federation.Name, e.Detail)
		e.BadValue = rule.Name
		return e
	}
	forbidden := func(detail string) *field.Error { return named(field.Forbidden(federationPath, detail)) }
	program, err := expression.Compile(rule.Expression)
	if err != nil {
		// It is older than the rule that refuses it. What cannot be checked has not passed.
		if j.before != nil {
			return nil
		}
		return forbidden("does not compile: " + err.Error())
	}
	o := j.run(program, j.before, j.now)
	if o.Kept {
		return nil
	}
	if j.before != nil && !program.ReadsOld {
		if was := j.run(program, nil, *j.before); !was.Kept && was.Broken() == o.Broken() {
			return nil
		}
	}
	switch {
	case o.Unknown != nil:
		return named(unknown(federationPath, "was not evaluated: %s", o.Unknown))
	case o.Err != nil && j.before == nil && program.ReadsOld:
		return forbidden("could not be evaluated: " + o.Err.Error() + "; oldCluster is null when a cluster joins")
	case o.Err != nil:
		return forbidden("could not be evaluated: " + o.Err.Error())
	case rule.Message != "":
		return forbidden("is violated")
	}
	return forbidden("is violated: " + rule.Expression)
}

// expressionsToAsk are the expressions of a federation, before and after a change, that may say something else of its
// members than before: new and changed ones, those that read a federation that changed, and those that are enforced from
// now on. The others are left out: they may cost more than a change of them could.
func expressionsToAsk(c FederationChange) (before, after []v1alpha1.Rule) {
	sameFederation := maps.Equal(c.Old.Labels, c.New.Labels) && apiequality.Semantic.DeepEqual(c.Old.Spec, c.New.Spec)
	for _, rule := range c.New.Spec.Rules {
		program, err := expression.Compile(rule.Expression)
		// ExpressionRules refuses what does not compile; what reads oldCluster only judges changes.
		if err != nil || program.ReadsOld {
			continue
		}
		at := slices.IndexFunc(c.Old.Spec.Rules, func(old v1alpha1.Rule) bool { return old.Name == rule.Name })
		if at >= 0 {
			old := c.Old.Spec.Rules[at]
			sameEnforcement := !hardened(c) && (old.Enforcement == rule.Enforcement || rule.Enforcement == v1alpha1.EnforceWarn)
			if sameEnforcement && old.Expression == rule.Expression && (sameFederation || !program.ReadsFederation) {
				continue
			}
			if was, err := expression.Compile(old.Expression); err == nil && !was.ReadsOld {
				before = append(before, old)
			}
		}
		after = append(after, rule)
	}
	return before, after
}
