// Package bench measures what a person waits for, and what admission adds to a request. `make bench` runs it. A benchmark that
// has a bound fails when the bound is passed. Most bounds are ratios within one run: durations also depend on the machine.
package bench
