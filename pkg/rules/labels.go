package rules

import (
	"fmt"
	"regexp"
	"slices"

	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/lru"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// Labels: members have the labels that their federation requires.
//
// Reads: metadata.labels, and spec.labels of the Federation.
// Allows: a label that is there if it is required, has one of the values if the rule lists any, and matches the pattern
// as a whole (RE2) if the rule has one. An empty value is a value.
// Does not promise: that a label is true; see Topology.
const Labels ID = "labels"

// ImmutableLabels: labels that a federation makes immutable are set once.
//
// Reads: metadata.labels before and after, and spec.labels of the Federation.
// Allows: setting the label where there is none.
// Does not promise: that the federation label stays; ValidatingAdmissionPolicy membership.kubefederate.io does.
const ImmutableLabels ID = "immutableLabels"

func labels(s Snapshot, m *v1alpha1.MemberCluster) (found Findings) {
	federation := federationOf(s, m)
	if federation == nil {
		return found
	}
	for _, rule := range compile(federation.Spec.Labels) {
		for _, fault := range rule.judge(m) {
			found.refuse(fault.error(federation, rule, m))
		}
	}
	return found
}

func immutableLabels(s Snapshot, c MemberChange) (found Findings) {
	if c.Old == nil {
		return found
	}
	federation := federationOf(s, c.New)
	if federation == nil {
		return found
	}
	for _, rule := range federation.Spec.Labels {
		was, had := c.Old.Labels[rule.Key]
		if !rule.Immutable || !had {
			continue
		}
		if value, has := c.New.Labels[rule.Key]; !has || value != was {
			found.refuse(withMessage(field.Forbidden(labelsPath.Key(rule.Key), fmt.Sprintf(
				"it is %q and is immutable in federation %q", was, federation.Name)), rule.Message))
		}
	}
	return found
}

// labelRule is a LabelRule with its pattern compiled.
type labelRule struct {
	v1alpha1.LabelRule
	// pattern is nil when there is none, or when it does not compile.
	pattern *regexp.Regexp
}

func compile(rules []v1alpha1.LabelRule) []labelRule {
	compiled := make([]labelRule, len(rules))
	for i, rule := range rules {
		compiled[i].LabelRule = rule
		if rule.Pattern != "" {
			compiled[i].pattern, _ = wholeValue(rule.Pattern)
		}
	}
	return compiled
}

// patterns keeps what was compiled last: all patterns of 8 federations with 64 each.
var patterns = lru.New(512)

// wholeValue compiles a pattern twice: alone, so that "a)|(b" is refused, and as the whole of a text.
func wholeValue(pattern string) (*regexp.Regexp, error) {
	if known, ok := patterns.Get(pattern); ok {
		if whole, ok := known.(*regexp.Regexp); ok {
			return whole, nil
		}
	}
	if _, err := regexp.Compile(pattern); err != nil {
		return nil, err
	}
	whole, err := regexp.Compile(`\A(?:` + pattern + `)\z`)
	if err == nil {
		patterns.Add(pattern, whole)
	}
	return whole, err
}

// labelFault is one way in which a member breaks a label rule. Its value is the name of the rule's field.
type labelFault string

const (
	faultRequired labelFault = "required"
	faultValues   labelFault = "values"
	faultPattern  labelFault = "pattern"
)

func (r *labelRule) judge(m *v1alpha1.MemberCluster) (faults []labelFault) {
	value, has := m.Labels[r.Key]
	if !has {
		if r.Required {
			faults = append(faults, faultRequired)
		}
		return faults
	}
	if len(r.Values) > 0 && !slices.Contains(r.Values, value) {
		faults = append(faults, faultValues)
	}
	// A pattern that does not compile was stored before LabelRules refused it. A check that cannot run has not passed.
	if r.Pattern != "" && (r.pattern == nil || !r.pattern.MatchString(value)) {
		faults = append(faults, faultPattern)
	}
	return faults
}

func (fault labelFault) error(federation *v1alpha1.Federation, rule labelRule, m *v1alpha1.MemberCluster) *field.Error {
	path, value := labelsPath.Key(rule.Key), m.Labels[rule.Key]
	var e *field.Error
	switch fault {
	case faultRequired:
		e = field.Required(path, fmt.Sprintf("is required by federation %q", federation.Name))
		if len(rule.Values) > 0 {
			e.Detail += "; " + field.NotSupported(path, "", rule.Values).Detail
		}
		if rule.Pattern != "" && rule.Message == "" {
			e.Detail += fmt.Sprintf("; it must match %q", rule.Pattern)
		}
	case faultValues:
		e = field.NotSupported(path, value, rule.Values)
	case faultPattern:
		e = field.Invalid(path, value, fmt.Sprintf("must match %q in federation %q", rule.Pattern, federation.Name))
		if rule.pattern == nil {
			e.Detail = fmt.Sprintf("it cannot be judged: the pattern %q of federation %q does not compile", rule.Pattern, federation.Name)
		}
	}
	return withMessage(e, rule.Message)
}
