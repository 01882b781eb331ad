package rules

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// MembersKeepRules: a rule does not become one that members break already.
//
// Reads: the fields of spec that a row of MemberRules names, and spec.enforcement, before and after; every member.
// Allows: rules that all members keep, or that were broken in the same way before: with a finding of the same rule, field
// and type. Under enforcement Warn, or when it is set to Warn by the same change, it warns. From Warn to Deny every
// broken rule counts.
// Does not promise: anything about rules that only judge changes, such as immutable labels and expressions that read
// oldCluster.
const MembersKeepRules ID = "membersKeepRules"

// maxSurveyCost bounds what the expressions of all members may cost, in units of the API server's: three seconds when
// it was chosen. An admission webhook has five.
const maxSurveyCost = 5_000_000

func membersKeepRules(s Snapshot, c FederationChange) (found Findings) {
	if c.New == nil || c.Old == nil {
		return found
	}
	v := newSurvey(s, c)
	if len(v.rules) == 0 {
		return found
	}
	v.ask(slices.Collect(s.Members(v1alpha1.FederationName(c.New.Name))))
	if v.after.budget.exceeded() {
		found.refuse(field.Forbidden(specPath.Child("rules"), fmt.Sprintf(
			"the expressions cost more than %d over all members, so they cannot be judged: write cheaper expressions, or change fewer at a time", maxSurveyCost)))
		return found
	}
	return v.findings()
}

// survey asks the rules on members about every member of a federation, under its spec before and after a change.
type survey struct {
	before, after Snapshot
	// rules are those that the change may have made stricter.
	rules []Rule[MemberChange]
	// hardened says that the federation refuses from now on what it warned of, and warns the reverse.
	hardened, warns bool
	refused, warned map[breach]*breakers
}

// breach is a way in which members break a rule.
type breach struct {
	// rule is its place in the survey.
	rule  int
	field string
	kind  field.ErrorType
	// expression is the name of a CEL rule: their findings are alike otherwise.
	expression string
}

func breachOf(rule int, e *field.Error) breach {
	b := breach{rule: rule, field: e.Field, kind: e.Type}
	b.expression, _ = e.BadValue.(string)
	if e.Type != field.ErrorTypeForbidden && e.Type != unknownFact {
		b.expression = "" // the value that the member has
	}
	return b
}

// breakers are the members with a breach, and the finding on the first of them by name: they come in any order.
type breakers struct {
	names     []string
	first     *field.Error
	firstName string
}

func newSurvey(s Snapshot, c FederationChange) *survey {
	// What is read of the host has been recorded, and several goroutines ask now.
	if r, is := s.Host.(*recorder); is {
		r.record(ReadsMembers)
		s.Host = r.host
	}
	s.budget = &budget{max: maxSurveyCost}
	old, changed := *c.Old, *c.New
	old.Spec.Rules, changed.Spec.Rules = expressionsToAsk(c)
	v := &survey{
		before: s, after: s,
		hardened: hardened(c), warns: c.New.Spec.Enforcement == v1alpha1.EnforceWarn,
		refused: map[breach]*breakers{}, warned: map[breach]*breakers{},
	}
	v.before.Host, v.after.Host = underSpec{s.Host, &old}, underSpec{s.Host, &changed}
	for _, rule := range MemberRules {
		if rule.Spec == "" {
			continue
		}
		if rule.Soft && v.hardened || rule.ID == Expressions && len(changed.Spec.Rules) > 0 || !reflect.DeepEqual(specField(&old, rule.Spec), specField(&changed, rule.Spec)) {
			v.rules = append(v.rules, rule)
		}
	}
	return v
}

// hardened says that a federation refuses from now on what it warned of.
func hardened(c FederationChange) bool {
	return c.Old.Spec.Enforcement == v1alpha1.EnforceWarn && c.New.Spec.Enforcement != v1alpha1.EnforceWarn
}

// specField is a field of a Federation's spec by its name in JSON.
func specField(f *v1alpha1.Federation, name string) any {
	spec := reflect.ValueOf(f.Spec)
	for i := range spec.NumField() {
		if tag, _, _ := strings.Cut(spec.Type().Field(i).Tag.Get("json"), ","); tag == name {
			return spec.Field(i).Interface()
		}
	}
	panic("a Federation has no spec." + name)
}

// underSpec is a host on which a federation is another one.
type underSpec struct {
	Host
	federation *v1alpha1.Federation
}

// Federation implements Host.
func (u underSpec) Federation(name v1alpha1.FederationName) *v1alpha1.Federation {
	if u.federation.Name == string(name) {
		return u.federation
	}
	return u.Host.Federation(name)
}

// chunkSize is how many members are worth a goroutine of their own.
const chunkSize = 256

// ask asks about all members, about as many at a time as there are processors.
func (v *survey) ask(members []*v1alpha1.MemberCluster) {
	size := max(chunkSize, (len(members)+runtime.GOMAXPROCS(0)-1)/runtime.GOMAXPROCS(0))
	var mu sync.Mutex
	var wait sync.WaitGroup
	for chunk := range slices.Chunk(members, size) {
		wait.Go(func() {
			refused, warned := map[breach]*breakers{}, map[breach]*breakers{}
			for _, m := range chunk {
				if v.after.budget.exceeded() {
					return
				}
				v.askOne(m, refused, warned)
			}
			mu.Lock()
			defer mu.Unlock()
			merge(v.refused, refused)
			merge(v.warned, warned)
		})
	}
	wait.Wait()
}

func merge(into, from map[breach]*breakers) {
	for b, more := range from {
		add(into, b, more.firstName, more.first, more.names...)
	}
}

// add notes a finding on the first of some members.
func add(into map[breach]*breakers, b breach, first string, e *field.Error, names ...string) {
	known := into[b]
	if known == nil {
		known = &breakers{first: e, firstName: first}
		into[b] = known
	}
	if first < known.firstName {
		known.first, known.firstName = e, first
	}
	known.names = append(known.names, names...)
}

// askOne asks about a member as if it was created now: that is what all of its labels, its endpoint and its place in
// the federation are judged by.
func (v *survey) askOne(m *v1alpha1.MemberCluster, refused, warned map[breach]*breakers) {
	for i, rule := range v.rules {
		now := rule.Judge(v.after, MemberChange{New: m})
		if len(now.Refusals)+len(now.Warnings) == 0 {
			continue
		}
		if !rule.Soft || !v.hardened {
			was := rule.Judge(v.before, MemberChange{New: m})
			now.Refusals = withoutBreaches(now.Refusals, was.Refusals)
			now.Warnings = withoutBreaches(now.Warnings, slices.Concat(was.Refusals, was.Warnings))
		}
		for _, e := range now.Refusals {
			add(refused, breachOf(i, e), m.Name, e, m.Name)
		}
		for _, e := range now.Warnings {
			add(warned, breachOf(i, e), m.Name, e, m.Name)
		}
	}
}

// withoutBreaches leaves out what was found before as well, as often as it was found.
func withoutBreaches(now, before field.ErrorList) field.ErrorList {
	known := map[breach]int{}
	for _, e := range before {
		known[breachOf(0, e)]++
	}
	return slices.DeleteFunc(now, func(e *field.Error) bool {
		b := breachOf(0, e)
		known[b]--
		return known[b] >= 0
	})
}

// findings are what the rules found, in the order of their table.
func (v *survey) findings() (found Findings) {
	refusesSoft := false
	v.each(v.refused, func(rule Rule[MemberChange], path *field.Path, detail string) {
		e := field.Forbidden(path, detail)
		if rule.Soft && v.warns {
			found.warn(e)
			return
		}
		found.refuse(e)
		refusesSoft = refusesSoft || rule.Soft
	})
	if v.hardened && refusesSoft {
		found.refuse(field.Forbidden(specPath.Child("enforcement"), "members break the rules above: keep Warn, change the members, then set Deny"))
	}
	v.each(v.warned, func(_ Rule[MemberChange], path *field.Path, detail string) { found.warn(advice(path, "%s", detail)) })
	return found
}

func (v *survey) each(breaches map[breach]*breakers, add func(rule Rule[MemberChange], path *field.Path, detail string)) {
	order := func(a, b breach) int {
		return cmp.Or(cmp.Compare(a.rule, b.rule), cmp.Compare(a.expression, b.expression), cmp.Compare(a.field, b.field), cmp.Compare(a.kind, b.kind))
	}
	for _, b := range slices.SortedFunc(maps.Keys(breaches), order) {
		names, rule := breaches[b].names, v.rules[b.rule]
		slices.Sort(names)
		verb := "would break it"
		if b.kind == unknownFact {
			verb = "cannot be judged"
		}
		// The detail of these two names the rule; others are about the field.
		text := breaches[b].first.Detail
		if b.kind != unknownFact && b.kind != field.ErrorTypeForbidden {
			text = breaches[b].first.Error()
		}
		add(rule, specPath.Child(rule.Spec), fmt.Sprintf("%s %s: %s; %s", count(len(names), "member"), verb, some(names), text))
	}
}

// budget is what expressions may cost together.
type budget struct {
	max   uint64
	spent atomic.Uint64
}

func (b *budget) spend(cost uint64) {
	if b != nil {
		b.spent.Add(cost)
	}
}

func (b *budget) exceeded() bool { return b != nil && b.spent.Load() > b.max }
