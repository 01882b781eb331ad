package controller

import (
	"time"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// defaultFailures is how many probes of a reachable member fail in a row before that is reported, where its federation does not
// say.
const defaultFailures = 2

// pace is how often a member is probed, and when it is reported that it fails.
type pace struct {
	interval time.Duration
	failures int
}

// of is the pace of a federation's members; p is that where it does not say.
func (p pace) of(h *v1alpha1.Health) pace {
	if h == nil {
		return p
	}
	if d, err := time.ParseDuration(h.Interval); err == nil && d > 0 {
		p.interval = d
	}
	if h.Failures > 0 {
		p.failures = int(h.Failures)
	}
	return p
}

// confirmDelay is how soon a reachable member that failed is probed again, before that is reported.
func (p pace) confirmDelay() time.Duration { return p.interval / 6 }
