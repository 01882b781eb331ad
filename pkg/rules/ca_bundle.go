package rules

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// CABundle: the host can verify a member's server.
//
// Reads: spec.caBundle, the time.
// Allows: none, or PEM certificates and nothing else, at least one of them in force. Those that are over, or will be
// within thirty days with none to follow, warn.
// Does not promise: that the server's certificate was signed by one of them.
const CABundle ID = "caBundle"

// soon is how long before its end a bundle warns.
const soon = 30 * 24 * time.Hour

func caBundle(s Snapshot, m *v1alpha1.MemberCluster) (found Findings) {
	path := specPath.Child("caBundle")
	refuse := func(format string, args ...any) Findings {
		// Not the value: it is long.
		found.refuse(&field.Error{Type: field.ErrorTypeInvalid, Field: path.String(), BadValue: field.OmitValueType{}, Detail: fmt.Sprintf(format, args...)})
		return found
	}
	rest := bytes.TrimSpace(m.Spec.CABundle)
	if len(rest) == 0 {
		if len(m.Spec.CABundle) > 0 {
			return refuse("it holds no PEM certificate")
		}
		return found
	}
	var last time.Time
	over, n := 0, 0
	for ; len(rest) > 0; n++ {
		var block *pem.Block
		before := rest
		block, rest = pem.Decode(rest)
		// pem.Decode skips over text; only space may stand between two certificates.
		if block == nil || !bytes.HasPrefix(before, []byte("-----BEGIN ")) {
			return refuse("certificate %d is not PEM", n+1)
		}
		if block.Type != "CERTIFICATE" {
			return refuse("block %d is a %q, and only certificates belong here", n+1, block.Type)
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return refuse("certificate %d cannot be read: %s", n+1, err)
		}
		if certificate.NotAfter.After(last) {
			last = certificate.NotAfter
		}
		if s.Now.After(certificate.NotAfter) {
			over++
		}
		rest = bytes.TrimSpace(rest)
	}
	switch end := last.UTC().Format(time.RFC3339); {
	case over == n && n == 1:
		return refuse("the certificate expired at %s", end)
	case over == n:
		return refuse("all %d certificates expired, the last at %s", n, end)
	case over > 0:
		found.warn(advice(path, "%d of %s expired", over, count(n, "certificate")))
	}
	if last.Sub(s.Now) < soon {
		found.warn(advice(path, "it ends at %s", last.UTC().Format(time.RFC3339)))
	}
	return found
}
