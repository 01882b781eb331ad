package rules

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
)

// CABundle: the host can verify a member's server.
//
// Reads: spec.caBundle, the time.
// Allows: none, or PEM certificates, with text around them but no other PEM, at least one of them in force. Those that are over, or will be
// within thirty days with none to follow, warn.
// Does not promise: that the server's certificate was signed by one of them.
const CABundle ID = "caBundle"

// expiryNotice is how long before its end a bundle warns.
const expiryNotice = 30 * 24 * time.Hour

func caBundle(s Snapshot, m *v1alpha1.MemberCluster) (found Findings) {
	path := specPath.Child("caBundle")
	if found.refuse(endpoint.ValidateCABundle(path, m.Spec.CABundle)...); len(found.Refusals) > 0 || len(m.Spec.CABundle) == 0 {
		return found
	}
	certificates, _ := endpoint.ReadCertificates(m.Spec.CABundle) // just validated
	var last time.Time
	expired, n := 0, len(certificates)
	for _, c := range certificates {
		if c.NotAfter.After(last) {
			last = c.NotAfter
		}
		if s.Now.After(c.NotAfter) {
			expired++
		}
	}
	refuse := func(format string, args ...any) {
		// Not the value: it is long.
		found.refuse(&field.Error{Type: field.ErrorTypeInvalid, Field: path.String(), BadValue: field.OmitValueType{}, Detail: fmt.Sprintf(format, args...)})
	}
	switch end := last.UTC().Format(time.RFC3339); {
	case expired == n && n == 1:
		refuse("the certificate expired at %s", end)
		return found
	case expired == n:
		refuse("all %d certificates expired, the last at %s", n, end)
		return found
	case expired > 0:
		found.warn(advice(path, "%d of %s expired", expired, count(n, "certificate")))
	}
	if last.Sub(s.Now) < expiryNotice {
		found.warn(advice(path, "it ends at %s", last.UTC().Format(time.RFC3339)))
	}
	return found
}
