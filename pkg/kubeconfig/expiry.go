package kubeconfig

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// Expiry is when the credential ends: the claim exp of a token that is a JWT (RFC 7519), or the end of the
// certificate. It is false when the credential does not say. The token's signature is not looked at: only
// its own server knows whether it is worth anything.
func (a *Access) Expiry() (time.Time, bool) {
	_, end := a.Life()
	return end, !end.IsZero()
}

// RenewalDue is when a fifth of the credential's life is left, counted from the claim iat of a token or the
// beginning of the certificate. It is false when the credential does not say.
func (a *Access) RenewalDue() (time.Time, bool) {
	begin, end := a.Life()
	if begin.IsZero() || !end.After(begin) {
		return time.Time{}, false
	}
	return end.Add(-end.Sub(begin) / 5), true
}

// Life is when the credential begins and ends, by the clock of who issued it; zero is what it does not say.
func (a *Access) Life() (begin, end time.Time) {
	if a.Token != "" {
		return tokenLife(a.Token)
	}
	block, _ := pem.Decode(a.CertData)
	if block == nil {
		return begin, end
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return begin, end
	}
	return certificate.NotBefore, certificate.NotAfter
}

func tokenLife(token string) (begin, end time.Time) {
	var claims struct {
		Iat *float64 `json:"iat"`
		Exp *float64 `json:"exp"`
	}
	if !readClaims(token, &claims) {
		return begin, end
	}
	return date(claims.Iat), date(claims.Exp)
}

// Subject is the account of a token that is a JWT; empty when it does not say.
func (a *Access) Subject() string {
	var claims struct {
		Sub string `json:"sub"`
	}
	readClaims(a.Token, &claims)
	return claims.Sub
}

// BoundSecret is the Secret that the token is bound to, by the claims of Kubernetes; empty when it is bound to none.
func (a *Access) BoundSecret() (name string, uid types.UID) {
	var claims struct {
		Kubernetes struct {
			Secret struct {
				Name string    `json:"name"`
				UID  types.UID `json:"uid"`
			} `json:"secret"`
		} `json:"kubernetes.io"`
	}
	if !readClaims(a.Token, &claims) {
		return "", ""
	}
	return claims.Kubernetes.Secret.Name, claims.Kubernetes.Secret.UID
}

// readClaims reads the claims of a token that is a JWT.
func readClaims(token string, into any) bool {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return false
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	return err == nil && json.Unmarshal(payload, into) == nil
}

// date is a NumericDate (RFC 7519). Seconds past the year 9999 do not fit a Kubernetes timestamp.
func date(seconds *float64) time.Time {
	if seconds == nil || *seconds <= 0 || *seconds > 253402300799 || math.IsNaN(*seconds) {
		return time.Time{}
	}
	return time.Unix(int64(*seconds), 0).UTC()
}
