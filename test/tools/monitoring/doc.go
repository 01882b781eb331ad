// Package monitoring tests manifests/monitoring with Prometheus' own parser and engine: what the alert rules and the panels ask
// for is what the manager serves, and each alert fires when it should and not before. It is a module of its own, so that
// Prometheus does not weigh on the product's.
//
// testdata/metrics.txt lists the metrics by name and type; TestProbesStop of test/integration/health holds that a manager serves
// them.
package monitoring
