// Package discovery joins clusters without a person: those whose objects on the host carry the label of a federation with
// spec.discovery. It is `kubectl federate discover --join` of package discover, done again at each change, with the rights of the
// ServiceAccount kubefederate-discovery: the verb discover on a federation, and the Secrets that it was let read.
//
// A round reads the objects, the Secrets of those that are due, and asks their clusters; package discover says what each is, and
// package federate joins those that want to. Credentials of others are in memory for that round alone.
//
// What an object may ask for is in select.go, what is due in ledger.go, what was granted in consents.go, and what becomes of a
// member whose object is gone in gone.go. They are pure, or nearly; controller.go has the round.
package discovery
