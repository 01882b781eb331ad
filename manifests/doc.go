// Package manifests is what `kubectl federate init` installs on a host cluster: the files of this folder, as
// `kubectl apply -R -f manifests/` would install them, in that order. They are plain YAML; the few values that
// differ between installs are set on the parsed objects.
package manifests
