package rules

import (
	"fmt"
	"maps"

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
	in := expression.NewFederation(federation)
	now := expression.NewCluster(c.New, c.New.KnownFacts())
	var before *expression.Cluster
	if c.Old != nil {
		old := expression.NewCluster(c.Old, c.Old.KnownFacts())
		before = &old
	}
	for _, rule := range federation.Spec.Rules {
		e := judgeExpression(rule, in, before, now, fmt.Sprintf("rule %q of federation %q", rule.Name, federation.Name))
		switch {
		case e == nil:
		case e.Type == warning:
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

// judgeExpression is what one rule says of a change, without its message; nil when it says nothing. of names the rule.
func judgeExpression(rule v1alpha1.Rule, in expression.Federation, before *expression.Cluster, now expression.Cluster, of string) *field.Error {
	program, err := expression.Compile(rule.Expression)
	if err != nil {
		// It is older than the rule that refuses it. What cannot be checked has not passed.
		if before != nil {
			return nil
		}
		return field.Forbidden(federationPath, fmt.Sprintf("%s cannot be judged: %s", of, err))
	}
	o := program.Judge(in, before, now)
	if o.Kept {
		return nil
	}
	if before != nil && !program.ReadsOld {
		if was := program.Judge(in, nil, *before); !was.Kept && was.Broken() == o.Broken() {
			return nil
		}
	}
	switch {
	case o.Unknown != nil:
		return advice(federationPath, "%s is not judged: %s", of, o.Unknown)
	case o.Err != nil:
		text := fmt.Sprintf("%s gives no answer: %s", of, o.Err)
		if before == nil && program.ReadsOld {
			text += "; oldCluster is null when a cluster joins"
		}
		return field.Forbidden(federationPath, text)
	case rule.Message != "":
		return field.Forbidden(federationPath, of+" is broken")
	}
	return field.Forbidden(federationPath, fmt.Sprintf("%s is broken: %s", of, rule.Expression))
}
