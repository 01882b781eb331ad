// Package manifests is what `kubectl federate init` installs on a host cluster: the files of crd and install, as
// `kubectl apply -f manifests/crd -f manifests/install` would install them, in that order, those of cert-manager
// where it issues the webhook's certificate, and those of discovery where the discovery controller is installed. They are plain YAML; the few values that differ between installs are set
// on the parsed objects.
package manifests
