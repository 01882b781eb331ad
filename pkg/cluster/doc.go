// Package cluster is a connection to one API server as both sides of a membership need it: few requests,
// no discovery, and errors that say which side, which endpoint and what to do.
//
// The packages host and member stand on it, each with a type of its own, so that a host is never passed
// where a member is meant.
package cluster
