// Package discovery joins clusters without a person: those whose objects on the host carry the label of a federation with
// spec.discovery. It is `kubectl federate discover --join` of package discover, done again at each change, with the rights of the
// ServiceAccount kubefederate-discovery: the verb discover on a federation, and the Secrets that it was let read.
//
// A round reads the objects, the Secrets of those that are due, and asks their clusters; package discover says what each is, and
// package federate joins those that want to. Credentials of others are in memory for that round alone.
//
// controller.go has the round. What an object may ask for is in select.go, and what is due in ledger.go: they are pure. What was granted
// is in consents.go, joins in join.go, members whose object is gone in gone.go, what is remembered in memory.go and what is reported in
// report.go; watches.go says when a round is due.
package discovery
