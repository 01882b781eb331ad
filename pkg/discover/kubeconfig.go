package discover

import (
	"context"
	"maps"
	"slices"

	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// Kubeconfig is the source of the caller's own kubeconfig: every context is a candidate.
type Kubeconfig struct {
	// Config is the caller's merged kubeconfig.
	Config clientcmdapi.Config
	// Connect opens the cluster of a context. It sends no request.
	Connect func(context string) (*member.Cluster, error)
}

// Candidates lists the contexts by name.
func (k Kubeconfig) Candidates(context.Context) ([]Candidate, error) {
	var candidates []Candidate
	for _, name := range slices.Sorted(maps.Keys(k.Config.Contexts)) {
		candidates = append(candidates, Candidate{
			Source:  FromKubeconfig,
			Name:    name,
			Connect: func() (*member.Cluster, error) { return k.Connect(name) },
		})
	}
	return candidates, nil
}
