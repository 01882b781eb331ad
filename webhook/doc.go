// Package webhook answers API servers that ask about MemberClusters and Federations. It reads, asks pkg/rules, and
// answers; it decides nothing itself and never calls a member cluster.
//
// What was read may be old. A refusal that rests on other objects is confirmed by a live read of them; what cannot be read
// is an internal error, never a refusal and never a pass. Admissions that rest on something old are prevented by package
// webhook/journal.
package webhook
