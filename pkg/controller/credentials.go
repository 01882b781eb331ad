package controller

import (
	"context"
	"errors"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
)

// credentials reads one Secret at a time, past the cache, and keeps of each what follows from it but not what it holds:
// joiners may store as much as a policy allows, for as many members as a federation takes.
type credentials struct {
	direct client.Reader

	mu      sync.Mutex
	entries map[string]entry
}

// origin is the version of all that a credential is read from. A Secret that has not changed is not parsed again.
type origin struct {
	secret, member types.UID
	secretVersion  string
	generation     int64
	federation     v1alpha1.FederationName
	allowInsecure  bool
}

type entry struct {
	origin
	credential
}

func newCredentials(direct client.Reader) *credentials {
	return &credentials{direct: direct, entries: map[string]entry{}}
}

func (o memberState) origin(secret metav1.Object) origin {
	return origin{
		secret: secret.GetUID(), secretVersion: secret.GetResourceVersion(), member: o.member.UID, generation: o.member.Generation,
		federation: o.member.Federation(), allowInsecure: o.allowInsecure(),
	}
}

// read is what follows from the Secret with that metadata; nil when there is none. It has the access only when the Secret
// had to be read.
func (c *credentials) read(ctx context.Context, o memberState, secret *metav1.PartialObjectMetadata) (*credential, error) {
	if secret == nil {
		return nil, nil //nolint:nilnil // there is none
	}
	c.mu.Lock()
	known, ok := c.entries[secret.Name]
	c.mu.Unlock()
	if ok && known.origin == o.origin(secret) {
		return &known.credential, nil
	}
	var live corev1.Secret
	err := c.direct.Get(ctx, client.ObjectKeyFromObject(secret), &live)
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // there is none any more
	}
	if err != nil {
		return nil, fmt.Errorf("read the credential of member %q: %w", secret.Name, err)
	}
	read := o.readCredential(&live)
	kept := entry{o.origin(&live), read}
	kept.access = nil
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entries[secret.Name] = kept
	return &read, nil
}

// open gives the access of a credential that can be used: what was read just now, or else what is stored.
func (c *credentials) open(ctx context.Context, o memberState, read *credential) func() (*kubeconfig.Access, error) {
	return func() (*kubeconfig.Access, error) {
		if read.access != nil {
			return read.access, nil
		}
		var live corev1.Secret
		if err := c.direct.Get(ctx, client.ObjectKey{Namespace: v1alpha1.CredentialsNamespace, Name: o.member.Name}, &live); err != nil {
			return nil, err
		}
		again := o.readCredential(&live)
		if again.hash != read.hash {
			return nil, errors.New("it has just been changed")
		}
		return again.access, nil
	}
}

// StripCredential keeps of a Secret in a cache what says which one it is and whose. Annotations may have 256 KB.
func StripCredential(cached any) (any, error) {
	if secret, ok := cached.(metav1.Object); ok {
		secret.SetManagedFields(nil)
		secret.SetAnnotations(nil)
		secret.SetFinalizers(nil)
		labels := secret.GetLabels()
		kept := map[string]string{}
		for _, key := range []string{v1alpha1.LabelFederation, v1alpha1.LabelMember} {
			if value, ok := labels[key]; ok {
				kept[key] = value
			}
		}
		secret.SetLabels(kept)
	}
	return cached, nil
}

// forget drops what is known of a member that is gone.
func (c *credentials) forget(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.entries, name)
}
