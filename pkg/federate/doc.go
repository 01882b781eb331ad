// Package federate joins clusters to federations and lets them leave.
//
// Each operation has two halves. Planning reads both sides and judges: it writes nothing and returns either
// a plan, which can be printed, or a Refusal with everything that is wrong. Applying, once, is a loop over the
// plan; every step of it can run twice.
package federate
