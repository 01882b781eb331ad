package rules

import (
	"strings"

	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/rules/expression"
)

// ExpressionRules: the CEL expressions of a federation can be evaluated.
//
// Reads: spec.rules and spec.enforcement.
// Allows: at most twenty rules, each with a name of its own that is a DNS label and an expression that compiles, gives a
// bool and costs at most expression.MaxCost. A rule with enforcement Deny in a federation that warns only warns, and a warning says so.
// Does not promise: that an expression always has an answer; see Expressions.
const ExpressionRules ID = "expressionRules"

// maxRules bounds what one member can cost.
const maxRules = 20

func expressionRules(_ Snapshot, f *v1alpha1.Federation) (found Findings) {
	if n := len(f.Spec.Rules); n > maxRules {
		found.refuse(field.TooMany(specPath.Child("rules"), n, maxRules))
	}
	seen := sets.New[string]()
	for i, rule := range f.Spec.Rules {
		path := specPath.Child("rules").Index(i)
		if faults := validation.IsDNS1123Label(rule.Name); len(faults) > 0 {
			found.refuse(field.Invalid(path.Child("name"), rule.Name, strings.Join(faults, "; ")))
		}
		if seen.Has(rule.Name) {
			found.refuse(field.Duplicate(path.Child("name"), rule.Name))
		}
		seen.Insert(rule.Name)
		if _, err := expression.Compile(rule.Expression); err != nil {
			found.refuse(field.Invalid(path.Child("expression"), rule.Expression, err.Error()))
		}
		if rule.Enforcement == v1alpha1.EnforceDeny && f.Spec.Enforcement == v1alpha1.EnforceWarn {
			found.warn(advice(path.Child("enforcement"), "it only warns, as all rules of this federation do"))
		}
	}
	return found
}
