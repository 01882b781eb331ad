package rules

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/rules/expression"
)

// maxSurvey is what asking all members may cost, in units of the API server's: three seconds when it was chosen. An
// admission webhook has five.
const maxSurvey = 5_000_000

// survey asks every member about the expressions that a change of a Federation makes stricter, as far as it can tell:
// new ones, changed ones, those of a changed Federation that read it, and those that refuse from now on.
type survey struct {
	before, after expression.Federation
	questions     []*question
	cost          *atomic.Uint64
}

// question is one rule of the new Federation.
type question struct {
	path *field.Path
	rule v1alpha1.Rule
	now  *expression.Program
	// was is what it said before. It is nil when it said nothing, or only warned and refuses now.
	was *expression.Program
	// hardened is set when the rule itself goes from Warn to Deny.
	hardened bool

	broken, failed, unknown group
}

// group is members of which the same is to be said, and why it is of the first one by name: they come in any order.
type group struct {
	names      []string
	first, why string
}

func (g *group) add(name string, why error) {
	if why != nil && (g.first == "" || name < g.first) {
		g.first, g.why = name, why.Error()
	}
	g.names = append(g.names, name)
}

// join adds what another part of the members said.
func (g *group) join(other group) {
	if other.first != "" && (g.first == "" || other.first < g.first) {
		g.first, g.why = other.first, other.why
	}
	g.names = append(g.names, other.names...)
}

func newSurvey(c FederationChange) *survey {
	s := &survey{before: expression.NewFederation(c.Old), after: expression.NewFederation(c.New), cost: &atomic.Uint64{}}
	sameFederation := maps.Equal(c.Old.Labels, c.New.Labels) && apiequality.Semantic.DeepEqual(c.Old.Spec, c.New.Spec)
	for i, rule := range c.New.Spec.Rules {
		now, err := expression.Compile(rule.Expression)
		// ExpressionRules refuses what does not compile; what reads oldCluster only judges changes.
		if err != nil || now.ReadsOld {
			continue
		}
		q := &question{path: specPath.Child("rules").Index(i), rule: rule, now: now}
		at := slices.IndexFunc(c.Old.Spec.Rules, func(old v1alpha1.Rule) bool { return old.Name == rule.Name })
		if at >= 0 {
			old := c.Old.Spec.Rules[at]
			q.hardened = old.Enforcement == v1alpha1.EnforceWarn && rule.Enforcement != v1alpha1.EnforceWarn
			stays := old.Expression == rule.Expression && (sameFederation || !now.ReadsFederation)
			if stays && !q.hardened && !hardened(c) {
				continue
			}
			if !q.hardened && !hardened(c) {
				q.was, _ = expression.Compile(old.Expression)
			}
		}
		s.questions = append(s.questions, q)
	}
	return s
}

// part is how many members are worth a goroutine of their own.
const part = 256

// ask asks all members, as many at a time as there are processors.
func (s *survey) ask(members []*v1alpha1.MemberCluster) {
	if len(s.questions) == 0 {
		return
	}
	size := max(part, (len(members)+runtime.GOMAXPROCS(0)-1)/runtime.GOMAXPROCS(0))
	var parts []*survey
	var wait sync.WaitGroup
	for some := range slices.Chunk(members, size) {
		p := &survey{before: s.before, after: s.after, cost: s.cost}
		for _, q := range s.questions {
			asked := *q
			p.questions = append(p.questions, &asked)
		}
		parts = append(parts, p)
		wait.Go(func() {
			for _, m := range some {
				p.askOne(m)
			}
		})
	}
	wait.Wait()
	for _, p := range parts {
		for i, q := range s.questions {
			q.broken.join(p.questions[i].broken)
			q.failed.join(p.questions[i].failed)
			q.unknown.join(p.questions[i].unknown)
		}
	}
}

func (s *survey) askOne(m *v1alpha1.MemberCluster) {
	if s.cost.Load() > maxSurvey {
		return
	}
	member := expression.NewCluster(m, m.KnownFacts())
	for _, q := range s.questions {
		o := q.now.Judge(s.after, nil, member)
		s.cost.Add(o.Cost)
		if o.Kept {
			continue
		}
		if q.was != nil && !q.was.ReadsOld {
			was := q.was.Judge(s.before, nil, member)
			s.cost.Add(was.Cost)
			if !was.Kept && was.Broken() == o.Broken() {
				continue
			}
		}
		switch {
		case o.Unknown != nil:
			q.unknown.add(m.Name, o.Unknown)
		case o.Err != nil:
			q.failed.add(m.Name, o.Err)
		default:
			q.broken.add(m.Name, nil)
		}
	}
}

// findings are what the members said, in the order of the rules. What only warns does so whatever the federation's
// enforcement is.
func (s *survey) findings() (found Findings) {
	if s.cost.Load() > maxSurvey {
		found.refuse(field.Forbidden(specPath.Child("rules"), fmt.Sprintf(
			"asking all members costs more than %d, so they cannot be judged: write cheaper expressions, or change fewer at a time", maxSurvey)))
		return found
	}
	for _, q := range s.questions {
		path := q.path.Child("expression")
		var said Findings
		if names := q.broken.names; len(names) > 0 {
			said.breakers(path, names)
		}
		if names := q.failed.names; len(names) > 0 {
			slices.Sort(names)
			said.refuse(field.Forbidden(path, fmt.Sprintf("%s would get no answer (%s): %s", count(len(names), "member"), q.failed.why, some(names))))
			said.name(first(names))
		}
		if names := q.unknown.names; len(names) > 0 {
			slices.Sort(names)
			found.warn(advice(path, "%s cannot be judged (%s): %s", count(len(names), "member"), q.unknown.why, some(names)))
		}
		if q.rule.Enforcement == v1alpha1.EnforceWarn {
			found.Warnings = append(found.Warnings, said.Refusals...)
			continue
		}
		found.add(said)
		if q.hardened && len(said.Refusals) > 0 {
			found.refuse(field.Forbidden(q.path.Child("enforcement"), keepWarn))
		}
	}
	return found
}
