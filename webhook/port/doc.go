// Package port is the webhook's port: TLS, and bounds on what reaches it. Any pod of the host can connect to it, so each
// connection, each body and each review takes a bounded amount of memory and time before anything is known of its sender.
//
// Connections that have never carried a request for a known path are the first to be closed when there are too many: who
// does not know a path cannot keep API servers out.
package port
