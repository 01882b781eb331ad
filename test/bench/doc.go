// Package bench measures what a person waits for. `make bench` runs it; each benchmark that has a bound fails
// when the bound is passed, so that a slow machine and a slow program are told apart by a ratio, never by a
// duration.
package bench
