//go:build unix

package host

import (
	"context"
	"path/filepath"

	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/test/env"
)

// Discovery is a discovery controller beside a cluster, whose account Install has made.
type Discovery struct {
	// Log is the file that has its output.
	Log string
	// Config is that of its account.
	Config *rest.Config
	// Env is its environment, such as GOMEMLIMIT=….
	Env []string

	manager *Manager
	process *env.Process
}

// NewDiscovery prepares a discovery controller of the manager's binary.
func (m *Manager) NewDiscovery(ctx context.Context) (*Discovery, error) {
	config, err := m.account(ctx, v1alpha1.DiscoveryAccount)
	if err != nil {
		return nil, err
	}
	return &Discovery{Log: filepath.Join(m.dir, "discovery.log"), Config: config, manager: m}, nil
}

// Start runs it. After Stop or Kill it starts it again.
func (d *Discovery) Start() error {
	kubeconfig := filepath.Join(d.manager.dir, "discovery.kubeconfig")
	if err := env.WriteKubeconfig(kubeconfig, env.Context{Name: "host", Config: d.Config}); err != nil {
		return err
	}
	var err error
	d.process, err = env.Run(env.Program{Path: d.manager.binary, Log: d.Log, Env: d.Env, Flags: []string{
		"discovery", "--kubeconfig=" + kubeconfig, "--metrics-bind-address=0", "--health-probe-bind-address=0", "--leader-elect=false", "-v=1",
	}})
	return err
}

// Kill ends it as a crash does.
func (d *Discovery) Kill() {
	if d.process != nil {
		d.process.Kill()
	}
}
