package install

import (
	"context"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/host"
)

// Namespace names a namespace of the host.
func Namespace(name string) cluster.Ref { return cluster.Ref{Resource: cluster.Namespaces, Name: name} }

// ConsumerBindings are those that let ServiceAccounts get the Secrets of a namespace.
func ConsumerBindings(ctx context.Context, h *host.Cluster, namespace string) (bindings []*unstructured.Unstructured, err error) {
	list, err := h.List(ctx, cluster.RoleBindings, cluster.ListOptions{Namespace: namespace})
	if err != nil {
		return nil, err
	}
	for i := range list {
		if role, _, _ := unstructured.NestedString(list[i].Object, "roleRef", "name"); role == manifests.RoleConsumer {
			bindings = append(bindings, &list[i])
		}
	}
	return bindings, nil
}

// Unlabel removes labels of a namespace that have these values, and says whether there were any. One that does not exist has none.
func Unlabel(ctx context.Context, h *host.Cluster, name string, labels map[string]string, dryRun cluster.DryRun) (bool, error) {
	namespace, err := h.Find(ctx, Namespace(name))
	if err != nil || namespace == nil {
		return false, err
	}
	gone := map[string]any{}
	for key, value := range labels {
		if namespace.GetLabels()[key] == value {
			gone[key] = nil
		}
	}
	if len(gone) == 0 {
		return false, nil
	}
	patch := map[string]any{"metadata": map[string]any{"labels": gone, "uid": string(namespace.GetUID())}}
	_, err = h.MergePatch(ctx, Namespace(name), patch, dryRun)
	return err == nil, err
}
