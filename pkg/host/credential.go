package host

import (
	"context"
	"encoding/base64"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

// CredentialManifest is the Secret that holds a member's credential, without its content.
func CredentialManifest(m *v1alpha1.MemberCluster) *unstructured.Unstructured {
	ref := CredentialRef(v1alpha1.MemberName(m.Name))
	o := ref.Resource.New(ref.Namespace, ref.Name)
	labels := map[string]string{v1alpha1.LabelMember: m.Name, v1alpha1.LabelFederation: string(m.Federation())}
	if m.Spec.Discovered != nil {
		labels[v1alpha1.LabelDiscovered] = v1alpha1.DiscoveredValue
	}
	o.SetLabels(labels)
	if m.UID != "" {
		o.SetOwnerReferences([]metav1.OwnerReference{{
			APIVersion: v1alpha1.GroupVersion.String(), Kind: cluster.MemberClusters.Kind, Name: m.Name, UID: m.UID,
		}})
	}
	o.Object["type"] = v1alpha1.CredentialType
	return o
}

// Credential is what is stored of a member.
type Credential struct {
	Kubeconfig []byte
	// TokenLifetime is how long its token was asked to live, for the manager, which asks for the same when it renews it.
	TokenLifetime time.Duration
}

// WriteCredential stores a credential of m. It is written as a whole, by POST or else PUT, and never
// patched: the response to a patch is the Secret, so that a right to patch is a right to read, and joiners have neither.
// replace says that there may be one already.
func (c *Cluster) WriteCredential(ctx context.Context, m *v1alpha1.MemberCluster, credential Credential, replace bool) error {
	return c.writeCredential(ctx, m, credential, replace, cluster.DryRunNone)
}

// JudgeCredential asks the host, with a dry run, whether the caller may store a credential of m. That of a member that does
// not exist yet has an owner that does not exist.
func (c *Cluster) JudgeCredential(ctx context.Context, m *v1alpha1.MemberCluster) error {
	exists := m.UID != ""
	if !exists {
		m = m.DeepCopy()
		m.UID = "00000000-0000-4000-8000-000000000000"
	}
	err := c.writeCredential(ctx, m, Credential{Kubeconfig: []byte("{}")}, exists, cluster.DryRunServer)
	if apierrors.IsAlreadyExists(err) {
		return nil // one of an earlier member, which is being collected
	}
	return err
}

func (c *Cluster) writeCredential(ctx context.Context, m *v1alpha1.MemberCluster, credential Credential, replace bool, dryRun cluster.DryRun) error {
	o := CredentialManifest(m)
	o.Object["data"] = map[string]any{v1alpha1.CredentialKey: base64.StdEncoding.EncodeToString(credential.Kubeconfig)}
	if credential.TokenLifetime > 0 {
		o.SetAnnotations(map[string]string{v1alpha1.AnnotationTokenLifetime: credential.TokenLifetime.String()})
	}
	post := func() error {
		_, err := c.Create(ctx, cluster.Secrets, o, dryRun)
		return err
	}
	put := func() error { return c.Update(ctx, cluster.Secrets, o, dryRun) }
	if !replace {
		return c.explain(post())
	}
	err := put()
	if apierrors.IsNotFound(err) {
		if err = post(); apierrors.IsAlreadyExists(err) {
			err = put()
		}
	}
	return c.explain(err)
}

// Credentials reads the credentials of all members, as they are stored. Few callers may.
func (c *Cluster) Credentials(ctx context.Context) ([]unstructured.Unstructured, error) {
	return c.List(ctx, cluster.Secrets, cluster.ListOptions{Namespace: v1alpha1.CredentialsNamespace})
}

// CredentialData is the kubeconfig in a credential's Secret.
func CredentialData(secret *unstructured.Unstructured) ([]byte, error) {
	data, _, err := unstructured.NestedString(secret.Object, "data", v1alpha1.CredentialKey)
	if err != nil {
		return nil, err
	}
	return base64.StdEncoding.DecodeString(data)
}

// DeleteCredential deletes the credential of a member.
func (c *Cluster) DeleteCredential(ctx context.Context, name v1alpha1.MemberName) error {
	return c.Delete(ctx, CredentialRef(name), cluster.Preconditions{}, cluster.DryRunNone)
}
