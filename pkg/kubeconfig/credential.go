package kubeconfig

import (
	"errors"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
)

// CredentialError says why a Secret is not the credential of a member.
type CredentialError struct {
	// Reason is one of the condition CredentialValid.
	Reason string
	// Err says what is wrong with "the stored credential".
	Err error
}

func (e *CredentialError) Error() string { return e.Err.Error() }

func (e *CredentialError) Unwrap() error { return e.Err }

// OfMember reads the credential of a member out of the Secret that holds data. It takes one that was made for this
// MemberCluster in its federation, that says of discovery what the MemberCluster says, and that leads where it says: any other
// would send its token to another server.
// The error is a *CredentialError. An unverified server is accepted where allowInsecure and the member say so.
func OfMember(secret metav1.Object, data []byte, m *v1alpha1.MemberCluster, allowInsecure bool) (*Access, error) {
	if federation := secret.GetLabels()[v1alpha1.LabelFederation]; federation != string(m.Federation()) {
		return nil, &CredentialError{v1alpha1.ReasonCredentialNotOwned, fmt.Errorf("the stored credential was made for federation %q", federation)}
	}
	if !slices.ContainsFunc(secret.GetOwnerReferences(), func(owner metav1.OwnerReference) bool { return owner.UID == m.UID }) {
		return nil, &CredentialError{v1alpha1.ReasonCredentialNotOwned, errors.New("the stored credential does not belong to this MemberCluster")}
	}
	// Who has the verb discover and not join writes credentials with the label alone.
	switch labeled := secret.GetLabels()[v1alpha1.LabelDiscovered] == v1alpha1.DiscoveredValue; {
	case labeled && m.Spec.Discovered == nil:
		return nil, &CredentialError{v1alpha1.ReasonCredentialNotOwned, errors.New("the stored credential is one of discovery (label " +
			v1alpha1.LabelDiscovered + "), and a person joined the member")}
	case !labeled && m.Spec.Discovered != nil:
		return nil, &CredentialError{v1alpha1.ReasonCredentialNotOwned, errors.New("the stored credential lacks the label " +
			v1alpha1.LabelDiscovered + "=" + v1alpha1.DiscoveredValue + ", and discovery joined the member")}
	}
	options := []Option{OneContext}
	if allowInsecure && m.Spec.InsecureSkipTLSVerify {
		options = append(options, AllowInsecure)
	}
	access, err := Parse(data, options...)
	if err != nil {
		return nil, &CredentialError{v1alpha1.ReasonCredentialMalformed, fmt.Errorf("the stored credential cannot be used: %w", err)}
	}
	if field := access.Difference(endpoint.Of(m)); field != "" {
		return nil, &CredentialError{v1alpha1.ReasonCredentialMismatch, fmt.Errorf("the stored credential's %s does not match the MemberCluster", field)}
	}
	return access, nil
}
