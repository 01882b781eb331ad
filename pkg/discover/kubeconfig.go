package discover

import (
	"context"
	"maps"
	"slices"

	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// FromKubeconfig is the source of the caller's own kubeconfig.
const FromKubeconfig SourceName = "kubeconfig"

var kubeconfigSource = SourceType{
	Name: FromKubeconfig, Title: "a context", Help: "every context of the kubeconfig",
	Open: func(e Environment) Source { return e.Contexts },
}

// Kubeconfig is the source whose candidates are the contexts of a kubeconfig.
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
