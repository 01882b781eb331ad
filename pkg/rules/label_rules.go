package rules

import (
	"errors"
	"fmt"
	"regexp/syntax"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// LabelRules: members can keep the rules on labels.
//
// Reads: spec.labels.
// Allows: one rule per key, valid label keys and values, patterns that compile (RE2), and at least one value that the
// pattern matches where both are set. A rule without any requirement warns.
// Does not promise: that a pattern without values matches anything.
const LabelRules ID = "labelRules"

func labelRules(_ Snapshot, f *v1alpha1.Federation) (found Findings) {
	seen := sets.New[string]()
	for i, rule := range f.Spec.Labels {
		path := specPath.Child("labels").Index(i)
		if seen.Has(rule.Key) {
			found.refuse(field.Duplicate(path.Child("key"), rule.Key))
		}
		seen.Insert(rule.Key)
		found.labelKey(path.Child("key"), rule.Key)

		values := sets.New[string]()
		for j, value := range rule.Values {
			at := path.Child("values").Index(j)
			if values.Has(value) {
				found.refuse(field.Duplicate(at, value))
			}
			values.Insert(value)
			if faults := validation.IsValidLabelValue(value); len(faults) > 0 {
				found.refuse(field.Invalid(at, value, strings.Join(faults, "; ")))
			}
		}
		if rule.Pattern != "" {
			pattern, err := wholeValue(rule.Pattern)
			switch {
			case err != nil:
				found.refuse(field.Invalid(path.Child("pattern"), rule.Pattern, where(rule.Pattern, err)))
			case len(rule.Values) > 0 && !slices.ContainsFunc(rule.Values, pattern.MatchString):
				found.refuse(field.Invalid(path.Child("pattern"), rule.Pattern, "it matches none of the values, so no member can keep this rule"))
			}
		}
		if !rule.Required && !rule.Immutable && len(rule.Values) == 0 && rule.Pattern == "" {
			found.warn(advice(path, "the rule on %s asks for nothing", rule.Key))
		}
	}
	return found
}

// labelKey refuses what is not a label key, and keys under kubefederate.io/.
func (f *Findings) labelKey(path *field.Path, key string) {
	if strings.HasPrefix(key, v1alpha1.Prefix) {
		f.refuse(field.Invalid(path, key, fmt.Sprintf("keys under %s are reserved", v1alpha1.Prefix)))
		return
	}
	if faults := validation.IsQualifiedName(key); len(faults) > 0 {
		f.refuse(field.Invalid(path, key, strings.Join(faults, "; ")))
	}
}

// where describes the position and the cause of a pattern's fault.
func where(pattern string, err error) string {
	var fault *syntax.Error
	if !errors.As(err, &fault) {
		return err.Error()
	}
	at := strings.Index(pattern, fault.Expr)
	if at < 0 || fault.Expr == "" {
		return fault.Code.String()
	}
	return fmt.Sprintf("at character %d: %s: %q", at+1, fault.Code, fault.Expr)
}
