package expression

import (
	"errors"
	"fmt"
	"strings"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/interpreter"
	"k8s.io/apiserver/pkg/cel/library"
	"k8s.io/utils/lru"
)

// MaxCost is the most that one evaluation of one expression may cost, estimated and measured, in units of the API
// server's. It was some thirty milliseconds when it was chosen, so that twenty rules, asked of a member as it was and
// as it is, and asked again to confirm, are done before a webhook's timeout.
const MaxCost = 50_000

// boundless is more than what is bounded costs: the estimate of a loop without end is a number like 10^18.
const boundless = 1 << 50

// Program is an expression ready to run. It is safe for use by several goroutines.
type Program struct {
	program cel.Program
	// ReadsOld and ReadsFederation say which variables it names beside cluster.
	ReadsOld, ReadsFederation bool
}

// compiled keeps what was compiled last, faults too: all expressions of 25 federations with 20 rules each.
var compiled = lru.New(512)

type result struct {
	program *Program
	err     error
}

// Compile gives the program of an expression, or says where and why there is none.
func Compile(expression string) (*Program, error) {
	if known, ok := compiled.Get(expression); ok {
		if r, ok := known.(result); ok {
			return r.program, r.err
		}
	}
	program, err := compile(expression)
	compiled.Add(expression, result{program, err})
	return program, err
}

func compile(expression string) (*Program, error) {
	env := theEnvironment()
	checked, issues := env.Compile(expression)
	if issues.Err() != nil {
		return nil, faults(issues)
	}
	if t := checked.OutputType(); !t.IsExactType(cel.BoolType) {
		return nil, fmt.Errorf("it gives %s, and must give bool", cel.FormatCELType(t))
	}
	cost, err := env.EstimateCost(checked, &library.CostEstimator{SizeEstimator: env.sizes})
	switch {
	case err != nil:
		return nil, fmt.Errorf("its cost cannot be estimated: %w", err)
	case cost.Max > boundless:
		return nil, fmt.Errorf("its cost has no bound, and may be at most %d: bound the texts and lists it goes through", MaxCost)
	case cost.Max > MaxCost:
		return nil, fmt.Errorf("it may cost %d, and at most %d is allowed: go through fewer or shorter lists", cost.Max, MaxCost)
	}
	program, err := env.Program(checked, programOptions()...)
	if err != nil {
		return nil, err
	}
	p := &Program{program: program}
	for _, use := range checked.NativeRep().ReferenceMap() {
		p.ReadsOld = p.ReadsOld || use.Name == varOldCluster
		p.ReadsFederation = p.ReadsFederation || use.Name == varFederation
	}
	return p, nil
}

// faults are the first ones of an expression, as line:column, both from 1.
func faults(issues *cel.Issues) error {
	const most = 3
	all := issues.Errors()
	texts := make([]string, 0, most+1)
	for i, fault := range all {
		if i == most {
			texts = append(texts, fmt.Sprintf("and %d more", len(all)-most))
			break
		}
		// No expression has a container.
		message := strings.TrimSuffix(fault.Message, " (in container '')")
		texts = append(texts, fmt.Sprintf("%d:%d: %s", fault.Location.Line(), fault.Location.Column()+1, message))
	}
	return errors.New(strings.Join(texts, "; "))
}

// Outcome is what an expression says of a member. At most one of Kept, Unknown and Err is set; with none the
// expression is false.
type Outcome struct {
	Kept bool
	// Unknown is the fact that was needed and is not known.
	Unknown *UnknownFact
	// Err is why there is no answer.
	Err error
	// Cost in units of the API server's.
	Cost uint64
}

// Broken says that the expression is false, or has no answer although every fact it needs is known.
func (o Outcome) Broken() bool { return !o.Kept && o.Unknown == nil }

// Judge asks about a member. before is nil when there is none to compare with.
func (p *Program) Judge(f Federation, before *Cluster, now Cluster) (o Outcome) {
	variables := activation{cluster: now.value, old: types.NullValue, federation: f.value}
	if before != nil {
		variables.old = before.value
	}
	value, details, err := p.program.Eval(variables)
	if cost := details.ActualCost(); cost != nil {
		o.Cost = *cost
	}
	cancelled := interpreter.EvalCancelledError{}
	switch {
	case errors.As(err, &o.Unknown):
	case errors.As(err, &cancelled) && cancelled.Cause == interpreter.CostLimitExceeded:
		o.Cost = MaxCost
		o.Err = fmt.Errorf("it costs more than %d", MaxCost)
	case err != nil:
		o.Err = err
	default:
		o.Kept = value == types.True
	}
	return o
}

// activation is the variables of one evaluation.
type activation struct{ cluster, old, federation any }

// ResolveName implements cel.Activation.
func (a activation) ResolveName(name string) (any, bool) {
	switch name {
	case varCluster:
		return a.cluster, true
	case varOldCluster:
		return a.old, true
	case varFederation:
		return a.federation, true
	}
	return nil, false
}

// Parent implements cel.Activation.
func (activation) Parent() cel.Activation { return nil }
