package host

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

// Served is the first of the versions of another system's kind that the host serves; served is false where it serves none. The group is
// read: for a caller without rights, a list of a kind that does not exist is as forbidden as one of a kind that does. Of a group that
// the caller may not read it is the first version, as it is of the core group, which is always served.
func (c *Cluster) Served(ctx context.Context, versions ...cluster.Resource) (kind cluster.Resource, served bool, err error) {
	if versions[0].Group == "" {
		return versions[0], true, nil
	}
	var group metav1.APIGroup
	err = c.GetPath(ctx, "/apis/"+versions[0].Group, &group)
	switch {
	case apierrors.IsNotFound(err):
		return kind, false, nil
	case apierrors.IsForbidden(err):
		return versions[0], true, nil
	case err != nil:
		return kind, false, err
	}
	i := slices.IndexFunc(versions, func(r cluster.Resource) bool {
		return slices.ContainsFunc(group.Versions, func(v metav1.GroupVersionForDiscovery) bool { return v.Version == r.Version })
	})
	if i < 0 {
		return kind, false, nil
	}
	return versions[i], true, nil
}

// Foreign reads all objects of another system's kind that o selects. Of kinds of the core group, which are Secrets, only the metadata is
// read: what a Secret holds is read of those that are used, by ForeignSecret.
func (c *Cluster) Foreign(ctx context.Context, kind cluster.Resource, o cluster.ListOptions) (objects []unstructured.Unstructured, err error) {
	o.Quiet = true
	if kind.Group != "" {
		return c.List(ctx, kind, o)
	}
	err = cluster.EachMetadata(ctx, c.Conn, kind, o, func() { objects = nil }, func(m *metav1.PartialObjectMetadata) {
		objects = append(objects, *metadataOf(kind, m))
	})
	return objects, err
}

// ForeignMetadata is one object of Foreign by its name, with the metadata only; nil without an error means that it does not exist. The
// right to get an object gives none to list it.
func (c *Cluster) ForeignMetadata(ctx context.Context, r cluster.Ref) (*unstructured.Unstructured, error) {
	m, err := c.FindMetadata(ctx, r)
	if m == nil || err != nil {
		return nil, err
	}
	return metadataOf(r.Resource, m), nil
}

func metadataOf(kind cluster.Resource, m *metav1.PartialObjectMetadata) *unstructured.Unstructured {
	object := kind.New(m.Namespace, m.Name)
	object.SetUID(m.UID)
	object.SetResourceVersion(m.ResourceVersion)
	object.SetLabels(m.Labels)
	object.SetCreationTimestamp(m.CreationTimestamp)
	object.SetDeletionTimestamp(m.DeletionTimestamp)
	return object
}

// ForeignSecret is a Secret of another system that holds the credential of a cluster. Who may create objects of that system chooses
// names, and so whose Secret is read.
type ForeignSecret struct {
	cluster.Ref
	// Group is that of the system's Clusters, empty where it is not looked at: a Secret that belongs to a Cluster of another group is
	// not the system's.
	Group string
}

// fault says why what the Secret holds is sent to no cluster: it is another system's, or the host's own.
func (s ForeignSecret) fault(secret *corev1.Secret) error {
	switch {
	case s.Namespace == v1alpha1.CredentialsNamespace || s.Namespace == v1alpha1.HostNamespace || strings.HasPrefix(string(secret.Type), v1alpha1.Prefix):
		return fmt.Errorf("host: %s was made by kubectl federate, and stands for no cluster", s)
	case secret.Type == corev1.SecretTypeServiceAccountToken:
		return fmt.Errorf("host: %s holds the token of an account of the host itself, which is sent to no other cluster", s)
	}
	for _, owner := range secret.OwnerReferences {
		version, err := schema.ParseGroupVersion(owner.APIVersion)
		if s.Group != "" && owner.Kind == "Cluster" && (err != nil || version.Group != s.Group) {
			return fmt.Errorf("host: %s belongs to a Cluster of %q, not of %q", s, version.Group, s.Group)
		}
	}
	return nil
}

// ForeignSecret reads a Secret of another system. It is read by its name, so that the right to get that one is enough. What it holds
// is untrusted: read it with package kubeconfig.
func (c *Cluster) ForeignSecret(ctx context.Context, s ForeignSecret) (*corev1.Secret, error) {
	o, err := c.Get(ctx, s.Ref)
	if err != nil {
		return nil, err
	}
	secret := &corev1.Secret{}
	if err := cluster.FromUnstructured(o, secret); err != nil {
		return nil, fmt.Errorf("host: %s: %w", s, err)
	}
	if err := s.fault(secret); err != nil {
		return nil, err
	}
	return secret, nil
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
