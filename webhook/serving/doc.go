// Package serving is what the webhook serves with, from a folder: Keys, which init made, and of which each replica issues a
// serving certificate of its own, in memory; or Files, a certificate that cert-manager or another tool issues. Both are read
// again when they change, and neither writes anything.
package serving
