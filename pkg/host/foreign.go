package host

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

// Foreign reads all objects of another system's kind, in the first of its versions that the host serves; served is false
// where it serves none. The group is read first: for a caller without rights, a list of a kind that does not exist is as
// forbidden as one of a kind that does. Kinds of the core group are always served.
func (c *Cluster) Foreign(ctx context.Context, versions ...cluster.Resource) (objects []unstructured.Unstructured, served bool, err error) {
	if versions[0].Group == "" {
		objects, err = c.List(ctx, versions[0], cluster.ListOptions{Quiet: true})
		return objects, true, err
	}
	var group metav1.APIGroup
	err = c.GetPath(ctx, "/apis/"+versions[0].Group, &group)
	kind := versions[0]
	switch {
	case apierrors.IsNotFound(err):
		return nil, false, nil
	case err == nil:
		i := slices.IndexFunc(versions, func(r cluster.Resource) bool {
			return slices.ContainsFunc(group.Versions, func(v metav1.GroupVersionForDiscovery) bool { return v.Version == r.Version })
		})
		if i < 0 {
			return nil, false, nil
		}
		kind = versions[i]
	case !apierrors.IsForbidden(err):
		return nil, false, err
	}
	objects, err = c.List(ctx, kind, cluster.ListOptions{Quiet: true})
	if cluster.IsNotServed(err) {
		return nil, false, nil
	}
	return objects, true, err
}

// kubeconfigKey is where Cluster API's contract puts a kubeconfig into a Secret, and Rancher does too.
const kubeconfigKey = "value"

// ForeignSecret is a Secret of another system that holds a kubeconfig. Who may create objects of that system chooses names, and so
// whose Secret is read.
type ForeignSecret struct {
	cluster.Ref
	// Group is that of the system's Clusters, empty where it is not looked at: a Secret that belongs to a Cluster of another group is
	// not the system's.
	Group string
}

// fault says whose the Secret is when it is another system's.
func (s ForeignSecret) fault(o *unstructured.Unstructured) error {
	for _, owner := range o.GetOwnerReferences() {
		version, err := schema.ParseGroupVersion(owner.APIVersion)
		if s.Group != "" && owner.Kind == "Cluster" && (err != nil || version.Group != s.Group) {
			return fmt.Errorf("host: %s belongs to a Cluster of %q, not of %q", s, version.Group, s.Group)
		}
	}
	return nil
}

// ForeignKubeconfig reads the kubeconfig in another system's Secret. The Secret is read by its name, so that the right to
// get that one is enough. The content is untrusted: read it with package kubeconfig.
func (c *Cluster) ForeignKubeconfig(ctx context.Context, secret ForeignSecret) ([]byte, error) {
	o, err := c.Get(ctx, secret.Ref)
	if err != nil {
		return nil, err
	}
	if err := secret.fault(o); err != nil {
		return nil, err
	}
	text, found, err := unstructured.NestedString(o.Object, "data", kubeconfigKey)
	if err != nil || !found || text == "" {
		return nil, fmt.Errorf("host: %s has no key %q", secret, kubeconfigKey)
	}
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("host: %s: key %q is not base64", secret, kubeconfigKey)
	}
	return data, nil
}

// RancherSetting reads one of Rancher's settings; it is empty where it is not set or the caller may not read it.
func (c *Cluster) RancherSetting(ctx context.Context, name string) string {
	o, err := c.Get(ctx, cluster.Ref{Resource: cluster.RancherSettings, Name: name})
	if err != nil {
		return ""
	}
	for _, field := range []string{"value", "default"} {
		if value, _, err := unstructured.NestedString(o.Object, field); err == nil && value != "" {
			return value
		}
	}
	return ""
}

// RancherProxyTakesTokens says whether Rancher's proxy accepts tokens that the cluster itself issued, as exactly one
// ClusterProxyConfig in the namespace of Rancher's ID allows. An error means that it could not be read.
func (c *Cluster) RancherProxyTakesTokens(ctx context.Context, id string) (bool, error) {
	configs, err := c.List(ctx, cluster.RancherProxyConfigs, cluster.ListOptions{Namespace: id})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil || len(configs) != 1 {
		return false, err
	}
	enabled, _, err := unstructured.NestedBool(configs[0].Object, "enabled")
	return enabled && err == nil, nil
}
