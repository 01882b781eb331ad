//go:build unix

package host

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/test/env"
)

var definitions = cluster.Resource{
	GroupVersionResource: schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"},
	Kind:                 "CustomResourceDefinition",
}

// ServeProfiles installs the CustomResourceDefinition of ClusterProfile on a cluster, as its module has it. The function that it
// returns takes it away again, with all profiles.
func ServeProfiles(ctx context.Context, c *env.Cluster) (stop func(context.Context) error, err error) {
	const module = "sigs.k8s.io/cluster-inventory-api"
	dir, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		return nil, fmt.Errorf("find the module %s: %w", module, err)
	}
	data, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "config", "crd", "bases", "multicluster.x-k8s.io_clusterprofiles.yaml"))
	if err != nil {
		return nil, err
	}
	crd := &unstructured.Unstructured{}
	if err := yaml.Unmarshal(data, &crd.Object); err != nil {
		return nil, err
	}
	h, err := host.Connect(c.Config())
	if err != nil {
		return nil, err
	}
	// One that an earlier test has deleted may still be going.
	making, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	err = env.Poll(making, func(ctx context.Context) error {
		_, err := h.Create(ctx, definitions, crd.DeepCopy(), cluster.DryRunNone)
		return err
	})
	return func(ctx context.Context) error {
		return h.Delete(ctx, definitions.Of(crd), cluster.Preconditions{}, cluster.DryRunNone)
	}, err
}
