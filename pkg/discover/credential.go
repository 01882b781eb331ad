package discover

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
)

// valueKey is where Cluster API's contract puts a kubeconfig into a Secret, and Rancher and Fleet do too.
const valueKey = "value"

// access is the way to the candidate's cluster that its Secret holds. It is read by the strict loader only: those who may write the
// Secret could otherwise have us run a command or read a file.
func (c *Candidate) access(secret *corev1.Secret, now time.Time) (*kubeconfig.Access, error) {
	row := c.Source.row()
	access, err := row.Credential(c, secret)
	if err != nil {
		return nil, fmt.Errorf("host: %s: %w", c.Secret, err)
	}
	if end, known := access.Expiry(); known && !end.After(now) {
		return nil, fmt.Errorf("host: %s: its credential expired at %s; %s", c.Secret, end.UTC().Format(time.RFC3339), row.Renewal)
	}
	return access, nil
}

// noCredential says why an object leads to no credential.
func noCredential(format string, arguments ...any) error {
	return &NoCredential{fmt.Sprintf(format, arguments...)}
}

// value is what a Secret holds under a key.
func value(secret *corev1.Secret, key string) ([]byte, error) {
	if len(secret.Data[key]) == 0 {
		return nil, fmt.Errorf("it has no key %q", key)
	}
	return secret.Data[key], nil
}

// inKey is the credential of sources whose Secrets hold a kubeconfig under a key.
func inKey(key string) func(*Candidate, *corev1.Secret) (*kubeconfig.Access, error) {
	return func(_ *Candidate, secret *corev1.Secret) (*kubeconfig.Access, error) {
		data, err := value(secret, key)
		if err != nil {
			return nil, err
		}
		return kubeconfig.Parse(data)
	}
}

// Keys of Secrets that hold a token. The CA is in the first of caKeys that is set.
const tokenKey = "token"

var caKeys = []string{"caBundle", corev1.ServiceAccountRootCAKey}

// tokenAt is the credential of sources whose Secrets hold a token, and whose objects say where the cluster is. The CA is the
// object's, else the Secret's; without either, the server is verified by the CAs of the system.
func tokenAt(c *Candidate, secret *corev1.Secret) (*kubeconfig.Access, error) {
	token, err := value(secret, tokenKey)
	if err != nil {
		return nil, err
	}
	access := &kubeconfig.Access{Endpoint: c.server, Token: string(token)}
	if i := slices.IndexFunc(caKeys, func(key string) bool { return len(secret.Data[key]) > 0 }); i >= 0 && len(access.CABundle) == 0 {
		access.CABundle = secret.Data[caKeys[i]]
	}
	if err := access.Validate(); err != nil {
		return nil, err
	}
	return access, nil
}
