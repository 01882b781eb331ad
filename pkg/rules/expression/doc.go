// Package expression judges members by CEL (https://cel.dev), the language of Kubernetes' own admission policies,
// with the function libraries that API servers of 1.37 bring, but for those that ask who may.
//
// An expression is a bool over three variables:
//
//	cluster      the member: name, labels, spec and facts
//	oldCluster   the member before an update; null when it is created
//	federation   its federation: name, labels and spec
//
// The types are declared, so `cluster.spce` does not compile. A field that is not set reads as the zero value of its
// type, and has() tells; a label that is not there is an error unless `in` has been asked. spec holds how the member is
// reached. It does not hold accepted and suspended, which somebody else decides without asking a rule, nor joinedWith,
// which is in facts: kubernetesVersion, regions and zones. A fact that is not known is an error of its own kind when it
// is read, so that what cannot be judged is told from what is refused; has() is false for it. Where && or || has an error on
// both sides, that of the left side counts.
//
// Cost is counted in the units of the API server (k8s.io/apiserver/pkg/cel/library); one took half a microsecond when
// it was measured. It is estimated when an expression is compiled, with the largest values that the schemas take, and measured
// when it runs.
package expression
