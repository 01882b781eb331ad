package federate

import (
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

// Side says whose API server is meant.
type Side = cluster.Side

// The two sides.
const (
	SideHost   = cluster.Host
	SideMember = cluster.Member
)

// DryRun says what a run may send.
type DryRun int

const (
	// DryRunNone writes.
	DryRunNone DryRun = iota
	// DryRunClient only reads.
	DryRunClient
	// DryRunServer lets the servers judge, with requests that store nothing.
	DryRunServer
)
