// Package lint judges manifests of federations and members against each other, without a cluster. Shapes are
// judged by the schemas that `init` installs, everything else by pkg/rules, so that a fault reads as the API
// server and the webhook print it. Every object is judged as if it were created on a host that holds the other
// objects of the input.
//
// It sees no host: neither who may, nor what an object was before, nor members and federations that are not among
// the manifests. A member whose federation is not there has rules that are not judged, and says so.
package lint
