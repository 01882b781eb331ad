// Package identity proves which cluster answers. The UID of a cluster's namespace kube-system is its ID, and anybody who
// answers a GET can claim it. So can anybody who serves the keys that verify a cluster's tokens, since keys are public.
// Only minting proves something: a token that is requested through an endpoint, for an audience that did not exist before,
// and is signed by a key of the cluster, comes from that cluster's API server.
//
// A relay in front of the API server passes: it is a way to that cluster. So does a copy of a cluster that has its keys.
package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// Subject is the account whose tokens prove a cluster, default of namespace kube-system. Those who may edit an ordinary
// namespace may mint tokens of its accounts, and hand them to a server of their own.
const Subject = "system:serviceaccount:kube-system:default"

// Bounds on what clusters send. API servers have a few keys of at most 4096 bits, and tokens of about 1 KB.
const (
	// MaxKeySet is of a JSON Web Key Set (RFC 7517), in bytes.
	MaxKeySet = 256 << 10

	maxToken, maxKeys, maxRSABits = 16 << 10, 64, 8192
)

// maxSkew is how far the clock of a cluster may be off. The audience already says that a token is new.
const maxSkew = 10 * time.Minute

// algorithms are those with a public key that API servers sign with.
var algorithms = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
}

// AudiencePrefix is what all audiences of NewAudience begin with. No API server takes a token for one of them.
const AudiencePrefix = "identity.kubefederate.io/"

// NewAudience is an audience that no token has yet: 128 random bits.
func NewAudience() string { return AudiencePrefix + rand.Text() }

// Thumbprint names a key by its SHA-256 thumbprint (RFC 7638), in unpadded base64url.
type Thumbprint string

// Keys are keys that may verify tokens of a cluster.
type Keys []key

type key struct {
	public     crypto.PublicKey
	thumbprint Thumbprint
}

// Thumbprints name the keys, in their order.
func (k Keys) Thumbprints() []Thumbprint {
	names := make([]Thumbprint, len(k))
	for i := range k {
		names[i] = k[i].thumbprint
	}
	return names
}

// ParseKeys reads a JSON Web Key Set as an API server serves it at /openid/v1/jwks. What is not a public key of a kind that
// signs tokens is left out (RFC 7517, section 5).
func ParseKeys(set []byte) (Keys, error) {
	if len(set) > MaxKeySet {
		return nil, fmt.Errorf("identity: the key set has more than %d bytes", MaxKeySet)
	}
	var raw struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(set, &raw); err != nil {
		return nil, errors.New("identity: the key set is not JSON")
	}
	if len(raw.Keys) > maxKeys {
		return nil, fmt.Errorf("identity: the key set has %d keys, more than %d", len(raw.Keys), maxKeys)
	}
	var keys Keys
	for _, text := range raw.Keys {
		var k jose.JSONWebKey
		if k.UnmarshalJSON(text) != nil || !signs(k.Key) {
			continue
		}
		sum, err := k.Thumbprint(crypto.SHA256)
		if err != nil {
			continue
		}
		keys = append(keys, key{k.Key, Thumbprint(base64.RawURLEncoding.EncodeToString(sum))})
	}
	if len(keys) == 0 {
		return nil, errors.New("identity: the key set has no public key that signs tokens")
	}
	return keys, nil
}

func signs(public any) bool {
	switch k := public.(type) {
	case *rsa.PublicKey:
		return k.N.BitLen() <= maxRSABits
	case *ecdsa.PublicKey, ed25519.PublicKey:
		return true
	}
	return false
}

// Expected is what a token must say.
type Expected struct {
	// Subject is the account that it was requested for.
	Subject string
	// Audience is the one that it was requested for, and no other.
	Audience string
	Now      time.Time
}

// Signer is the thumbprint of the key that signed the token. It is an error if none of the keys did, or if the token does
// not say what is expected.
func (k Keys) Signer(token string, want Expected) (Thumbprint, error) {
	if len(token) > maxToken {
		return "", fmt.Errorf("identity: the token has more than %d bytes", maxToken)
	}
	signed, err := jwt.ParseSigned(token, algorithms)
	if err != nil {
		return "", errors.New("identity: the token is not a JSON Web Token with a public key's signature")
	}
	for _, key := range k {
		var claims jwt.Claims
		if signed.Claims(key.public, &claims) == nil {
			return key.thumbprint, want.judge(&claims)
		}
	}
	return "", ErrOtherKey
}

// ErrOtherKey is the error of Signer for a token that none of the keys signed.
var ErrOtherKey = errors.New("identity: the token is signed by another key")

func (want Expected) judge(got *jwt.Claims) error {
	switch {
	case got.Subject != want.Subject:
		return fmt.Errorf("identity: the token is one of %q and not of %q", got.Subject, want.Subject)
	case want.Audience == "" || !slices.Equal(got.Audience, jwt.Audience{want.Audience}):
		return errors.New("identity: the token is for another audience than it was requested for")
	case got.IssuedAt == nil || got.Expiry == nil:
		return errors.New("identity: the token does not say when it was issued and when it expires")
	}
	if off := got.IssuedAt.Time().Sub(want.Now); off.Abs() > maxSkew {
		return fmt.Errorf("identity: the token was issued at %s, which is not now: check the clock of the cluster and of this machine",
			got.IssuedAt.Time().UTC().Format(time.RFC3339))
	}
	if !got.Expiry.Time().After(got.IssuedAt.Time()) {
		return errors.New("identity: the token expires before it is issued")
	}
	return nil
}
