// Package serving keeps the webhook's certificate: it issues a CA and a serving certificate, keeps both in one
// Secret that all replicas share, tells API servers the CA through the webhook configuration, and serves from
// memory, so that a new certificate needs neither a file nor a restart.
//
// Names come from the installed webhook configuration: those of the Service, or the host of its URLs where
// the manager runs outside the cluster.
//
// Where cert-manager or somebody else issues the certificate, Files serve it from a folder instead, and nothing is
// written.
//
// A new CA is announced a while before anything is signed by it, and the old one stays announced until its
// end, so that no API server meets a certificate that it cannot verify yet, or any more.
package serving
