// Package monitoring tests manifests/monitoring with Prometheus' own parser and engine: what the alert rules and the panels ask
// for is what the manager serves, and each alert fires when it should and not before. It is a module of its own, so that
// Prometheus does not weigh on the product's.
//
// testdata lists the metrics by name and type: metrics.txt those of a manager, which TestProbesStop of test/integration/health holds that
// it serves, and discovery.txt those of a discovery controller, for which that is TestMetrics of pkg/controller/discovery.
package monitoring
