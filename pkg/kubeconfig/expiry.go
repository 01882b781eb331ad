package kubeconfig

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math"
	"strings"
	"time"
)

// Expiry is when the credential ends: the claim exp of a token that is a JWT (RFC 7519), or the end of the
// certificate. It is false when the credential does not say. The token's signature is not looked at: only
// its own server can tell whether it is worth anything.
func (a *Access) Expiry() (time.Time, bool) {
	if a.Token != "" {
		return tokenExpiry(a.Token)
	}
	block, _ := pem.Decode(a.CertData)
	if block == nil {
		return time.Time{}, false
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return time.Time{}, false
	}
	return certificate.NotAfter, true
}

func tokenExpiry(token string) (time.Time, bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}, false
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return time.Time{}, false
	}
	var claims struct {
		Exp *float64 `json:"exp"`
	}
	// Seconds past the year 9999 do not fit a Kubernetes timestamp.
	if json.Unmarshal(payload, &claims) != nil || claims.Exp == nil || *claims.Exp <= 0 || *claims.Exp > 253402300799 || math.IsNaN(*claims.Exp) {
		return time.Time{}, false
	}
	return time.Unix(int64(*claims.Exp), 0).UTC(), true
}
