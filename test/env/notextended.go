//go:build !extended

package env

// Extended says whether make test-extended runs the tests.
const Extended = false
