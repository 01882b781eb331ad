package main

import (
	"fmt"
	"os"
	"time"

	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// renewDeadline is how long the leader tries to renew its lease before it ends: the default of controller-runtime.
const renewDeadline = 10 * time.Second

// leaderLock is the lease that one of several replicas holds. It records no Events, as that of controller-runtime does in the
// namespace of the lease: the manager has no right to create any there.
func leaderLock(config *rest.Config, lease string) (resourcelock.Interface, error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("a name for this replica: %w", err)
	}
	identity := host + "_" + string(uuid.NewUUID())
	return resourcelock.NewFromKubeconfig(resourcelock.LeasesResourceLock, v1alpha1.HostNamespace, lease,
		resourcelock.ResourceLockConfig{Identity: identity}, config, renewDeadline)
}
