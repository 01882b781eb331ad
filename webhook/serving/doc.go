// Package serving keeps the webhook's certificate: it issues a CA and a serving certificate, keeps both in one
// Secret that all replicas share, writes the CA into the webhook configuration for API servers to read, and serves from
// memory, so that a new certificate needs neither a file nor a restart.
//
// The names come from the installed webhook configuration: those of the Service, or the host of its URLs where
// the manager runs outside the cluster.
//
// Where cert-manager or another tool issues the certificate, Files serve it from a folder instead, and nothing is
// written.
//
// A new CA is in the configuration for some minutes before anything is signed by it, and the old one stays there until
// it expires, so that no API server meets a certificate that it cannot verify.
package serving
