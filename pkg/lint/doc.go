// Package lint judges manifests of federations and members against each other, without a cluster. Shapes are
// judged by the schemas that `init` installs, everything else by pkg/rules, so that a fault reads as the API
// server and the webhook print it. Every object is judged as if it were created on a host that holds the other
// objects of the input.
//
// It knows neither permissions, nor what an object was before, nor members and federations that are not among the
// manifests. The rules that need a federation which is missing are reported as not judged.
package lint
