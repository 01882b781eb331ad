// Package webhook is the door by which API servers ask about MemberClusters and Federations. It reads, asks
// pkg/rules, and answers; it decides nothing itself and never calls a member cluster.
//
// What was read may be old. A refusal that rests on another object is confirmed by a live read, of it or of the
// journal, before it is spoken; what cannot be read is an internal error, never a denial and never a pass. An
// admission that rests on something old is the business of package webhook/journal.
package webhook
