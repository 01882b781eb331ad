//go:build unix

package script

import (
	"testing"

	"github.com/kubefederate/kubectl-federate/test/env"
)

// TestOldest does the main job on the oldest releases that the docs promise: a host of one, a member of the other and, beside it,
// one of the newest.
func TestOldest(t *testing.T) {
	env.Full(t, "it builds two more releases of Kubernetes")
	theStage.close()
	theStage.clusters = []env.Spec{
		{Name: "host", Release: env.OldestHost, ControllerManager: true},
		{Name: "us-east", Release: env.OldestMember, ControllerManager: true, Zones: []string{"us-east-1a"}},
		{Name: "us-west", ControllerManager: true, Zones: []string{"us-west-2a"}},
	}
	t.Cleanup(func() {
		theStage.close()
		theStage.clusters = env.Example()
	})
	runScripts(t, "oldest")
}
