package install

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/pkg/keys"
)

var (
	// Configuration names the webhook configuration.
	Configuration = cluster.Ref{
		Resource: cluster.Resource{
			GroupVersionResource: schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingwebhookconfigurations"},
			Kind:                 "ValidatingWebhookConfiguration",
		},
		Name: manifests.WebhookConfiguration,
	}
	// KeysSecret names the Secret that holds the keys.
	KeysSecret = cluster.Ref{Resource: cluster.Secrets, Namespace: v1alpha1.HostNamespace, Name: manifests.KeysSecret}

	formerSecret = cluster.Ref{Resource: cluster.Secrets, Namespace: v1alpha1.HostNamespace, Name: manifests.FormerKeysSecret}
)

// KeyState is what a host has of keys: those of the Secret, and what the webhook configuration says of them.
type KeyState struct {
	// Keys of the Secret; nil where there is none, or one that cannot be read.
	Keys *keys.Keys
	// Fault is why the Secret cannot be read.
	Fault error
	// URL is where a manager outside the cluster serves; empty where it runs inside, or nothing is installed.
	URL string
	// CertManager says that cert-manager issues the certificate: there are no keys then.
	CertManager bool

	// version of the Secret; empty where there is none.
	version string
	// configuration is nil where there is none.
	configuration *unstructured.Unstructured
	// bundle is what API servers verify the webhook with, and word what the paths that they call end in; hasPath says whether
	// all webhooks have the same.
	bundle  []*x509.Certificate
	word    string
	hasPath bool
	// verifies says whether the CA of the Secret is in the bundle of all webhooks.
	verifies bool
}

// ReadKeys reads the keys of a host. It writes nothing.
func ReadKeys(ctx context.Context, h *host.Cluster) (*KeyState, error) {
	configuration, err := h.Find(ctx, Configuration)
	if err != nil {
		return nil, err
	}
	secret, err := h.Find(ctx, KeysSecret)
	if err != nil {
		return nil, err
	}
	return KeyStateOf(configuration, secret)
}

// KeyStateOf is what a host has, of its webhook configuration and the Secret of the keys; nil stands for one that does not exist.
func KeyStateOf(configuration, secret *unstructured.Unstructured) (*KeyState, error) {
	s := &KeyState{configuration: configuration}
	if secret != nil {
		var content corev1.Secret
		if err := cluster.FromUnstructured(secret, &content); err != nil {
			return nil, fmt.Errorf("host: %s: %w", KeysSecret, err)
		}
		s.version = secret.GetResourceVersion()
		s.Keys, s.Fault = keys.Parse(content.Data)
	}
	if configuration == nil {
		return s, nil
	}
	s.CertManager = manifests.CertManagerInjects(configuration)
	calls, err := manifests.CallsOf(configuration)
	if err != nil {
		return nil, fmt.Errorf("host: %s: %w", Configuration, err)
	}
	s.hasPath, s.verifies = len(calls) > 0, len(calls) > 0 && s.Keys != nil
	for i, call := range calls {
		s.URL, s.word = calls[0].URL, calls[0].Word
		s.hasPath = s.hasPath && calls[i].HasPath && call.Word == s.word && call.URL == s.URL
		// A bundle that cannot be read verifies nothing.
		certificates, _ := endpoint.ReadCertificates(call.CABundle)
		s.verifies = s.verifies && slices.ContainsFunc(certificates, s.Keys.CA.Equal)
		for _, c := range certificates {
			if !slices.ContainsFunc(s.bundle, c.Equal) {
				s.bundle = append(s.bundle, c)
			}
		}
	}
	return s, nil
}

// Calls are how API servers call the webhook today.
func (s *KeyState) Calls() *manifests.Calls {
	if s.configuration == nil {
		return nil
	}
	calls := &manifests.Calls{CABundle: endpoint.EncodeCertificates(s.bundle), Word: s.word}
	if !s.hasPath {
		return nil
	}
	return calls
}

// KeyFault is what may be wrong with the keys of a host.
type KeyFault string

// Faults of keys, each of which init --only keys repairs.
const (
	// KeysMissing means that there are none, or none that can be read.
	KeysMissing KeyFault = "missing"
	// KeysDiffer means that API servers call the webhook with another CA or path than those of the Secret.
	KeysDiffer KeyFault = "differ"
	// KeysChanging means that a change was interrupted: the former keys are valid beside the new ones.
	KeysChanging KeyFault = "changing"
)

// Judge names the fault, and is empty where there is none.
func (s *KeyState) Judge() KeyFault {
	switch {
	case s.CertManager:
		return ""
	case s.Keys == nil:
		return KeysMissing
	case s.configuration == nil:
		return "" // what is missing is not the keys
	case !s.verifies || !s.hasPath || !s.Keys.Accepts(s.word):
		return KeysDiffer
	case s.Keys.OldWord != nil || len(s.bundle) > 1:
		return KeysChanging
	}
	return ""
}

// serves says whether API servers may have a manager that answers them at a URL, or inside the cluster, now.
func (s *KeyState) serves(url string) bool {
	return s.configuration != nil && s.hasPath && len(s.bundle) > 0 && s.URL == url
}

// during are the calls while two CAs are valid: those of today and the CA of k, at the path of today where k takes it.
func (s *KeyState) during(k *keys.Keys) manifests.Calls {
	bundle := s.bundle
	if s.Keys != nil && s.Keys.OldWord == nil && s.verifies {
		bundle = []*x509.Certificate{s.Keys.CA} // whatever else is there was never served
	}
	if !slices.ContainsFunc(bundle, k.CA.Equal) {
		bundle = append(slices.Clone(bundle), k.CA)
	}
	calls := manifests.Calls{CABundle: endpoint.EncodeCertificates(bundle), Word: s.word}
	if !s.hasPath || !k.Accepts(s.word) {
		calls.Word = k.Word
	}
	return calls
}

// after are the calls once every replica serves from k.
func after(k *keys.Keys) manifests.Calls {
	return manifests.Calls{CABundle: endpoint.EncodeCertificates([]*x509.Certificate{k.CA}), Word: k.Word}
}

// errCertManager refuses keys where cert-manager issues certificates.
var errCertManager = errors.New("host: cert-manager issues the webhook's certificate here, and its paths end in no word, so there are no keys to make")
