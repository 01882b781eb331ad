// Package targets holds which clusters and members a command works on, and how it works on many of them: the contexts of
// kubeconfigs, members chosen by name or by label, clusters found by their ID, and work on many at once within bounds.
package targets
