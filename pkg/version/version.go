// Package version names the release that a binary was built from.
package version

// Version is the release, a semantic version with a leading v. The linker sets it (see the Makefile and
// test/krew); a plain `go build` leaves the default, which is no release.
var Version = "v0.0.0-dev"

// Image is the container image of the manager of this release, by digest. The linker sets it in the plugins of a release; elsewhere
// it is empty, since there is no such image.
var Image = ""
