package identity

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

var now = time.Date(2026, 11, 29, 7, 0, 0, 0, time.UTC)

// sign makes a token as an API server does.
func sign(t *testing.T, private any, algorithm jose.SignatureAlgorithm, claims any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: private}, nil)
	if err != nil {
		t.Fatal(err)
	}
	token, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func keySet(t *testing.T, keys ...any) []byte {
	t.Helper()
	var set jose.JSONWebKeySet
	for _, k := range keys {
		// All have one key ID: nothing may depend on it.
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: k, KeyID: "same"})
	}
	text, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func claims(change func(*jwt.Claims)) jwt.Claims {
	c := jwt.Claims{
		Subject: Subject, Audience: jwt.Audience{"one"}, IssuedAt: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(10 * time.Minute)),
	}
	if change != nil {
		change(&c)
	}
	return c
}

func ecdsaKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func rsaKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestSigner(t *testing.T) {
	t.Parallel()
	mine, other := rsaKey(t), ecdsaKey(t)
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	set := keySet(t, other.Public(), mine.Public(), public)
	keys, err := ParseKeys(set)
	if err != nil || len(keys) != 3 {
		t.Fatalf("%d keys, %v", len(keys), err)
	}
	want := Expected{Subject: Subject, Audience: "one", Now: now}
	for _, tt := range []struct {
		name, token string
		signer      int
		err         string
	}{
		{"rsa", sign(t, mine, jose.RS256, claims(nil)), 1, ""},
		{"ecdsa", sign(t, other, jose.ES256, claims(nil)), 0, ""},
		{"ed25519", sign(t, private, jose.EdDSA, claims(nil)), 2, ""},
		{"a clock that is nine minutes ahead", sign(t, mine, jose.RS256, claims(func(c *jwt.Claims) { c.IssuedAt = jwt.NewNumericDate(now.Add(9 * time.Minute)) })), 1, ""},
		{"another key", sign(t, rsaKey(t), jose.RS256, claims(nil)), -1, ErrOtherKey.Error()},
		{"another account", sign(t, mine, jose.RS256, claims(func(c *jwt.Claims) { c.Subject = "system:serviceaccount:default:default" })), -1,
			`identity: the token is one of "system:serviceaccount:default:default" and not of "system:serviceaccount:kube-system:default"`},
		{"another audience", sign(t, mine, jose.RS256, claims(func(c *jwt.Claims) { c.Audience = jwt.Audience{"two"} })), -1,
			"identity: the token is for another audience than it was requested for"},
		{"two audiences", sign(t, mine, jose.RS256, claims(func(c *jwt.Claims) { c.Audience = jwt.Audience{"one", "two"} })), -1,
			"identity: the token is for another audience than it was requested for"},
		{"old", sign(t, mine, jose.RS256, claims(func(c *jwt.Claims) { c.IssuedAt = jwt.NewNumericDate(now.Add(-time.Hour)) })), -1,
			"identity: the token was issued at 2026-11-29T06:00:00Z, which is not now: check the clock of the cluster and of this machine"},
		{"from the future", sign(t, mine, jose.RS256, claims(func(c *jwt.Claims) {
			c.IssuedAt, c.Expiry = jwt.NewNumericDate(now.Add(time.Hour)), jwt.NewNumericDate(now.Add(2*time.Hour))
		})), -1, "identity: the token was issued at 2026-11-29T08:00:00Z, which is not now: check the clock of the cluster and of this machine"},
		{"without times", sign(t, mine, jose.RS256, claims(func(c *jwt.Claims) { c.IssuedAt = nil })), -1,
			"identity: the token does not say when it was issued and when it expires"},
		{"expired at once", sign(t, mine, jose.RS256, claims(func(c *jwt.Claims) { c.Expiry = c.IssuedAt })), -1, "identity: the token expires before it is issued"},
		{"signed with the public key as a shared secret", sign(t, set, jose.HS256, claims(nil)), -1,
			"identity: the token is not a JSON Web Token with a public key's signature"},
		{"not signed", encode(`{"alg":"none"}`) + "." + encode(`{"sub":"`+Subject+`"}`) + ".", -1,
			"identity: the token is not a JSON Web Token with a public key's signature"},
		{"no token", "", -1, "identity: the token is not a JSON Web Token with a public key's signature"},
		{"too long", strings.Repeat("a", maxToken+1), -1, "identity: the token has more than 16384 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := keys.Signer(tt.token, want)
			if text := fmt.Sprint(err); err != nil && text != tt.err || err == nil && tt.err != "" {
				t.Errorf("got error %v, want %q", err, tt.err)
			}
			if err == nil && got != keys[tt.signer].thumbprint {
				t.Errorf("got signer %s, want that of key %d", got, tt.signer)
			}
		})
	}
	if _, err := keys.Signer(sign(t, mine, jose.RS256, claims(func(c *jwt.Claims) { c.Audience = nil })), Expected{Subject: Subject, Now: now}); err == nil {
		t.Error("a token without audience passed where none was expected")
	}
	if _, err := (Keys{}).Signer(sign(t, mine, jose.RS256, claims(nil)), want); !errors.Is(err, ErrOtherKey) {
		t.Errorf("without keys: %v", err)
	}
}

func encode(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func TestParseKeys(t *testing.T) {
	t.Parallel()
	ok := ecdsaKey(t)
	one := keySet(t, ok.Public())
	shared, private := keySet(t, []byte("0123456789abcdef0123456789abcdef")), keySet(t, ok)
	for _, tt := range []struct {
		name string
		set  []byte
		want int
		err  string
	}{
		{"one", one, 1, ""},
		{"what is not understood is left out", bytes.Replace(one, []byte(`"keys":[`), []byte(`"keys":[{"kty":"new"},7,`), 1), 1, ""},
		{"a shared secret", shared, 0, "identity: the key set has no public key that signs tokens"},
		{"a private key", private, 0, "identity: the key set has no public key that signs tokens"},
		{"empty", []byte(`{}`), 0, "identity: the key set has no public key that signs tokens"},
		{"a page", []byte("<html>"), 0, "identity: the key set is not JSON"},
		{"many keys", []byte(`{"keys":[` + strings.Repeat(`{},`, maxKeys) + `{}]}`), 0, "identity: the key set has 65 keys, more than 64"},
		{"many bytes", bytes.Repeat([]byte(" "), MaxKeySet+1), 0, "identity: the key set has more than 262144 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			keys, err := ParseKeys(tt.set)
			if len(keys) != tt.want || err != nil && err.Error() != tt.err || err == nil && tt.err != "" {
				t.Errorf("got %d keys and error %v, want %d and %q", len(keys), err, tt.want, tt.err)
			}
		})
	}
	// A public exponent or modulus of any size costs time with each signature.
	wide := fmt.Sprintf(`{"keys":[{"kty":"RSA","e":"AQAB","n":%q}]}`, base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte{255}, maxRSABits/8+1)))
	if _, err := ParseKeys([]byte(wide)); err == nil {
		t.Error("a key of more than 8192 bits was taken")
	}
}

// TestThumbprint is the example of RFC 7638, section 3.1.
func TestThumbprint(t *testing.T) {
	t.Parallel()
	keys, err := ParseKeys([]byte(`{"keys":[{"kty":"RSA","e":"AQAB","alg":"RS256","kid":"2011-04-29","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if got := keys[0].thumbprint; got != "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs" {
		t.Error(got)
	}
}

func TestNewAudience(t *testing.T) {
	t.Parallel()
	a, b := NewAudience(), NewAudience()
	if a == b || len(a) < len("identity.kubefederate.io/")+26 {
		t.Errorf("%q and %q", a, b)
	}
}

func FuzzSigner(f *testing.F) {
	f.Add([]byte(`{"keys":[]}`), "a.b.c")
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: private.Public()}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(set, "eyJhbGciOiJFUzI1NiJ9.e30.AA")
	f.Fuzz(func(t *testing.T, set []byte, token string) {
		keys, err := ParseKeys(set)
		if err != nil {
			return
		}
		// The audience is random: nothing that was written down may pass.
		if got, err := keys.Signer(token, Expected{Subject: Subject, Audience: NewAudience(), Now: time.Now()}); err == nil {
			t.Errorf("%s signed %q", got, token)
		}
	})
}
