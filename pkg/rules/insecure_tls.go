package rules

import (
	"fmt"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
)

// InsecureTLS: clients verify a member's server unless the federation allows it.
//
// Reads: spec.insecureSkipTLSVerify and spec.caBundle, and spec.allowInsecureTLS of the Federation.
// Allows: a verified server; an unverified one where the Federation allows that and no CA is given, since clients
// take only one of the two.
// Does not promise: anything about how consumers connect.
const InsecureTLS ID = "insecureTLS"

func insecureTLS(s Snapshot, m *v1alpha1.MemberCluster) (found Findings) {
	federation := federationOf(s, m)
	if !m.Spec.InsecureSkipTLSVerify {
		return found
	}
	path := specPath.Child("insecureSkipTLSVerify")
	if federation != nil && !federation.Spec.AllowInsecureTLS {
		found.refuse(field.Forbidden(path, fmt.Sprintf("federation %q does not allow it; give spec.caBundle instead", federation.Name)))
	}
	found.refuse(endpoint.ValidateInsecure(specPath, endpoint.Of(m))...)
	return found
}
