// Package bench measures what a person waits for, and what the guard adds to a request. `make bench` runs it; each benchmark that has a bound fails
// when the bound is passed, so that a slow machine and a slow program are told apart by a ratio, never by a
// duration.
package bench
