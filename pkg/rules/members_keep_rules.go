package rules

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// MembersKeepRules: a rule does not become one that members break already.
//
// Reads: spec.labels, limits, kubernetesVersions, rules, allowInsecureTLS and enforcement before and after, and every
// member.
// Allows: rules that all members keep, or that were broken in the same way before. Under enforcement Warn, or when it
// is set to Warn by the same change, it warns. From Warn to Deny every broken rule counts. An expression that needs a
// fact which is not known warns.
// Does not promise: anything about members whose version is unknown, nor about immutable and expressions that read
// oldCluster, which only judge changes.
const MembersKeepRules ID = "membersKeepRules"

func membersKeepRules(s Snapshot, c FederationChange) (found Findings) {
	if c.New == nil || c.Old == nil {
		return found
	}
	survey := newSurvey(c)
	if len(survey.questions) == 0 && sameRules(&c.Old.Spec, &c.New.Spec) {
		return found
	}
	before, after := newRuleBook(c.Old), newRuleBook(c.New)
	hardened := hardened(c)

	broken := map[breach][]string{}
	var insecure []string
	var members []*v1alpha1.MemberCluster
	counts := map[Bucket][]string{}
	for m := range s.Memberships.Members(v1alpha1.FederationName(c.New.Name)) {
		if now := after.breaches(m); len(now) > 0 {
			was := before.breaches(m)
			for _, b := range now {
				if hardened || !slices.Contains(was, b) {
					broken[b] = append(broken[b], m.Name)
				}
			}
		}
		for _, limit := range c.New.Spec.Limits {
			if bucket, counted := bucketOf(limit, m); counted {
				counts[bucket] = append(counts[bucket], m.Name)
			}
		}
		members = append(members, m)
		if m.Spec.InsecureSkipTLSVerify {
			insecure = append(insecure, m.Name)
		}
	}

	var soft Findings
	after.all(func(b breach, path *field.Path) {
		if names := broken[b]; len(names) > 0 {
			soft.breakers(path, names)
		}
	})
	for i, limit := range c.New.Spec.Limits {
		if kept := limitOf(c.Old, limit.PerLabel); kept != nil && kept.Max <= limit.Max && !hardened {
			continue
		}
		if faults := over(specPath.Child("limits").Index(i).Child("max"), limit, counts); len(faults) > 0 {
			soft.add(Findings{Refusals: faults, Grounds: OnMembers})
		}
	}
	survey.ask(members)
	soft.add(survey.findings())
	if c.New.Spec.Enforcement == v1alpha1.EnforceWarn {
		found.Warnings = slices.Concat(soft.Refusals, soft.Warnings)
	} else {
		found = soft
		if hardened && len(soft.Refusals) > 0 {
			found.refuse(field.Forbidden(specPath.Child("enforcement"), keepWarn))
		}
	}
	if c.Old.Spec.AllowInsecureTLS && !c.New.Spec.AllowInsecureTLS && len(insecure) > 0 {
		found.breakers(specPath.Child("allowInsecureTLS"), insecure)
	}
	return found
}

// keepWarn is the way from Warn to Deny.
const keepWarn = "members break the rules above: keep Warn, fix them, then Deny"

// hardened says that a federation refuses from now on what it warned of.
func hardened(c FederationChange) bool {
	return c.Old.Spec.Enforcement == v1alpha1.EnforceWarn && c.New.Spec.Enforcement != v1alpha1.EnforceWarn
}

// sameRules says that there is nothing to ask the members, but for expressions.
func sameRules(a, b *v1alpha1.FederationSpec) bool {
	return a.Enforcement == b.Enforcement && a.KubernetesVersions == b.KubernetesVersions && a.AllowInsecureTLS == b.AllowInsecureTLS &&
		slices.Equal(a.Limits, b.Limits) && slices.EqualFunc(a.Labels, b.Labels, func(a, b v1alpha1.LabelRule) bool {
		return a.Key == b.Key && a.Required == b.Required && a.Pattern == b.Pattern && slices.Equal(a.Values, b.Values)
	})
}

// breakers refuses for members that would break a rule.
func (f *Findings) breakers(path *field.Path, names []string) {
	slices.Sort(names)
	f.refuse(field.Forbidden(path, fmt.Sprintf("%s would break it: %s", count(len(names), "member"), some(names))))
	f.name(first(names))
}

// over lists the buckets of a limit that hold more than its max, by value.
func over(path *field.Path, limit v1alpha1.Limit, counts map[Bucket][]string) (found field.ErrorList) {
	byValue := func(a, b Bucket) int { return cmp.Compare(a.Key+"="+a.Value, b.Key+"="+b.Value) }
	for _, bucket := range slices.SortedFunc(maps.Keys(counts), byValue) {
		if bucket.Key != limit.PerLabel || len(counts[bucket]) <= int(limit.Max) {
			continue
		}
		which := ""
		if bucket.Key != "" {
			which = fmt.Sprintf(" with %s=%s", bucket.Key, bucket.Value)
		}
		names := counts[bucket]
		slices.Sort(names)
		found = append(found, field.Invalid(path, limit.Max, fmt.Sprintf("there are %s%s: %s", count(len(names), "member"), which, some(names))))
	}
	return found
}

func limitOf(f *v1alpha1.Federation, key string) *v1alpha1.Limit {
	for i := range f.Spec.Limits {
		if f.Spec.Limits[i].PerLabel == key {
			return &f.Spec.Limits[i]
		}
	}
	return nil
}

// ruleBook is a Federation's rules on single members, ready to be asked about thousands.
type ruleBook struct {
	labels   []labelRule
	versions *versions
}

// breach is a part of a rule that a member breaks. It does not say where the rule stands, so that a rule that
// only moves in its list is the same rule.
type breach struct{ key, part string }

func newRuleBook(f *v1alpha1.Federation) *ruleBook {
	b := &ruleBook{labels: compile(f.Spec.Labels)}
	if r, err := parseRange(f.Spec.KubernetesVersions); err == nil {
		b.versions = &r
	}
	return b
}

// breaches of one member.
func (b *ruleBook) breaches(m *v1alpha1.MemberCluster) (found []breach) {
	for i := range b.labels {
		for _, fault := range b.labels[i].judge(m) {
			found = append(found, breach{b.labels[i].Key, string(fault)})
		}
	}
	if at, _, known := parseVersion(m.KnownFacts().KubernetesVersion); known && b.versions != nil && !b.versions.has(at) {
		found = append(found, breach{part: "kubernetesVersions"})
	}
	return found
}

// all parts of rules that can be broken, in the order of the spec, and where they stand.
func (b *ruleBook) all(each func(breach, *field.Path)) {
	for i := range b.labels {
		for _, fault := range []labelFault{faultRequired, faultValues, faultPattern} {
			each(breach{b.labels[i].Key, string(fault)}, specPath.Child("labels").Index(i).Child(string(fault)))
		}
	}
	each(breach{part: "kubernetesVersions"}, specPath.Child("kubernetesVersions"))
}
