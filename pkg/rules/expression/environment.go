package expression

import (
	"reflect"
	"sync"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/checker"
	"github.com/google/cel-go/ext"
	"github.com/google/cel-go/interpreter"
	apiservercel "k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/library"
)

// environment is what expressions are compiled in. It takes milliseconds to make, so it is made at the first use.
type environment struct {
	*cel.Env
	sizes roots
}

var theEnvironment = sync.OnceValue(func() environment {
	e, err := newEnvironment()
	if err != nil {
		// It depends on nothing but this package.
		panic(err)
	}
	return e
})

func newEnvironment() (environment, error) {
	sizes := roots{
		varCluster:    declare(reflect.TypeFor[clusterView](), varCluster),
		varFederation: declare(reflect.TypeFor[federationView](), varFederation),
	}
	// An old cluster has the sizes of a new one.
	sizes[varOldCluster] = sizes[varCluster]
	base, err := cel.NewEnv(libraries()...)
	if err != nil {
		return environment{}, err
	}
	options, err := apiservercel.NewDeclTypeProvider(sizes[varCluster], sizes[varFederation]).EnvOptions(base.CELTypeProvider())
	if err != nil {
		return environment{}, err
	}
	env, err := base.Extend(append(options, sizes.variables()...)...)
	return environment{env, sizes}, err
}

// libraries are those of k8s.io/apiserver/pkg/cel/environment at 1.37, except authz. Importing that package would add
// Prometheus and eight megabytes to the plugin.
func libraries() []cel.EnvOption {
	return []cel.EnvOption{
		cel.HomogeneousAggregateLiterals(),
		cel.EagerlyValidateDeclarations(true),
		cel.DefaultUTCTimeZone(true),
		cel.CrossTypeNumericComparisons(true),
		cel.OptionalTypes(),
		cel.CostEstimatorOptions(checker.PresenceTestHasCost(false)),
		cel.ASTValidators(
			cel.ValidateDurationLiterals(),
			cel.ValidateTimestampLiterals(),
			cel.ValidateRegexLiterals(),
			cel.ValidateHomogeneousAggregateLiterals(),
		),
		ext.Strings(ext.StringsVersion(2)),
		ext.Sets(),
		ext.TwoVarComprehensions(),
		ext.Lists(ext.ListsVersion(3)),
		library.Lists(library.ListsVersion(1)),
		library.URLs(),
		library.Regex(),
		library.Quantity(),
		library.IP(),
		library.CIDR(),
		library.Format(),
		library.SemverLib(library.SemverVersion(1)),
	}
}

func programOptions() []cel.ProgramOption {
	return []cel.ProgramOption{
		cel.EvalOptions(cel.OptOptimize, cel.OptTrackCost),
		cel.CostTracking(&library.CostEstimator{}),
		cel.CostTrackerOptions(interpreter.PresenceTestHasCost(false)),
		cel.CostLimit(MaxCost),
	}
}
