// Package rules decides whether a MemberCluster or a Federation may be written, and says why not. It is pure:
// a rule is a function of a Snapshot of the host and a change, with no client, clock, log or flag, so that the
// webhook and `kubectl federate lint` give one answer in one wording.
//
// One rule is one file and one row of MemberRules or FederationRules, in the order in which a person reads the
// faults. Its doc block says which fields it reads, what it allows and what it does not promise. Every rule
// runs; all faults come back at once.
//
// On an update only what the change makes worse is refused. An object that became wrong through a later
// rule can still be edited in other respects, and deleted.
package rules
