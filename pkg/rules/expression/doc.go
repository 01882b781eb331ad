// Package expression judges members by CEL (https://cel.dev), the language of Kubernetes' own admission policies,
// with the function libraries of API servers 1.37, except the authorizer's.
//
// An expression is a bool over three variables:
//
//	cluster      the member: name, labels, spec and facts
//	oldCluster   the member before an update; null when it is created
//	federation   its federation: name, labels and spec
//
// The types are declared, so `cluster.spce` does not compile. A field that is not set reads as the zero value of its
// type, and has() is false for it; reading a label that is not there is an error, which `in` avoids. spec holds how the
// member is reached. It does not hold accepted and suspended, which change without a rule being asked, nor joinedWith,
// which is in facts: kubernetesVersion, regions and zones. Reading an unknown fact is an UnknownFact error, so that what
// cannot be judged differs from what is refused; has() is false for it. Where both sides of && or || have an error, that
// of the left side counts.
//
// Cost is counted in the units of the API server (k8s.io/apiserver/pkg/cel/library); one took half a microsecond when
// measured. It is estimated when an expression is compiled, for the largest values that the schemas allow, and measured
// when it runs.
package expression
