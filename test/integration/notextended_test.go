//go:build !extended

package integration

// extended says whether make test-extended runs the tests.
const extended = false
