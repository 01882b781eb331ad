// Package version names the release that a binary was built from.
package version

// Version is the release, a semantic version with a leading v. The linker sets it (see the Makefile and
// test/krew); a plain `go build` leaves the default, which is no release.
var Version = "v0.0.0-dev"
