package member

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/identity"
)

// Signature is what a token that was requested through a way to a cluster shows of that cluster. Keys are named by their
// thumbprints (RFC 7638).
type Signature struct {
	// Signer is the key that signed the token: only the cluster itself has it sign one. It is empty for a key that the way does
	// not serve, which says nothing.
	Signer string
	// Served are the keys that the way serves. They are public: serving them proves nothing.
	Served []string
}

// By says whether one of the keys signed.
func (s Signature) By(keys []string) bool { return s.Signer != "" && slices.Contains(keys, s.Signer) }

// Proves says whether two ways lead to one cluster: each has had a token signed by a key that the other serves. One
// direction alone proves nothing, since who serves keys may have copied them.
func (s Signature) Proves(other Signature) bool { return s.By(other.Served) && other.By(s.Served) }

// Sign requests a token that opens nothing and says which key signed it. It needs the right to create tokens of the account
// default in namespace kube-system, which only administrators of a cluster have, and to read the cluster's public keys.
func (c *Cluster) Sign(ctx context.Context) (Signature, error) {
	audience := identity.NewAudience()
	var token string
	var keys identity.Keys
	for _, err := range cluster.Together(
		func() (err error) { token, err = c.IdentityToken(ctx, audience); return err },
		func() (err error) { keys, err = c.SigningKeys(ctx); return err },
	) {
		if err != nil {
			return Signature{}, err
		}
	}
	signer, err := keys.Signer(token, identity.Expected{Subject: identity.Subject, Audience: audience, Now: time.Now()})
	s := Signature{Signer: string(signer)}
	for _, k := range keys.Thumbprints() {
		s.Served = append(s.Served, string(k))
	}
	if errors.Is(err, identity.ErrOtherKey) {
		err = nil
	}
	return s, err
}
