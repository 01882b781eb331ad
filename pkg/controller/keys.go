package controller

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/identity"
)

const (
	// signInterval is how often a token is requested to see which key signs: API servers change keys rarely.
	signInterval = 24 * time.Hour
	// maxSigningKeys is that of the CustomResourceDefinition.
	maxSigningKeys = 3
	// trialTokenSeconds is the shortest life of a token that API servers issue.
	trialTokenSeconds = 10 * 60
)

const account = v1alpha1.MemberNamespace + "/" + v1alpha1.ManagerAccount

var (
	tokenRequest = request{
		path: "/api/v1/namespaces/" + v1alpha1.MemberNamespace + "/serviceaccounts/" + v1alpha1.ManagerAccount + "/token",
		verb: "create", object: "token of ServiceAccount " + account, most: maxError,
	}
	// API servers answer 406 to a client that accepts nothing but application/json.
	keysRequest = request{path: "/openid/v1/jwks", accept: "application/jwk-set+json,application/json", verb: "get", object: "/openid/v1/jwks", most: identity.MaxKeySet}
)

// signature is what was seen of the key that signs a member's tokens. It is empty before anything was.
type signature struct {
	// signer is the key's thumbprint; empty when it could not be seen, for which there is a fault.
	signer identity.Thumbprint
	fault  string
}

// signingKey requests a token and says which key signed it. Keys are public, so those that a cluster only serves prove
// nothing: one counts when it has signed a token that was requested just now.
func (c *connection) signingKey(ctx context.Context, b *budget, now time.Time) (identity.Thumbprint, error) {
	audience := identity.NewAudience()
	issued, err := c.requestToken(ctx, b, authenticationv1.TokenRequestSpec{
		Audiences: []string{audience}, ExpirationSeconds: new(int64(trialTokenSeconds)),
		// Members may allow only tokens that end with the stored one.
		BoundObjectRef: c.boundTo,
	})
	if err != nil {
		return "", err
	}
	var set []byte
	_, err = c.send(ctx, b, keysRequest, func(s *scanner) (err error) {
		set, err = io.ReadAll(s.r)
		return err
	})
	if err != nil {
		return "", err
	}
	keys, err := identity.ParseKeys(set)
	if err != nil {
		return "", &contentError{err.Error()}
	}
	signer, err := keys.Signer(issued, identity.Expected{Subject: managerSubject, Audience: audience, Now: now})
	if err != nil {
		return "", &contentError{err.Error()}
	}
	return signer, nil
}

// requestToken requests a token of the manager's account.
func (c *connection) requestToken(ctx context.Context, b *budget, spec authenticationv1.TokenRequestSpec) (string, error) {
	return c.requestTokenOf(ctx, b, tokenRequest, spec)
}

// requestTokenOf requests a token of the account that r names.
func (c *connection) requestTokenOf(ctx context.Context, b *budget, r request, spec authenticationv1.TokenRequestSpec) (token string, err error) {
	body := authenticationv1.TokenRequest{Spec: spec}
	body.APIVersion, body.Kind = authenticationv1.SchemeGroupVersion.String(), "TokenRequest"
	r.body = &body
	_, err = c.send(ctx, b, r, func(s *scanner) error {
		return s.fields(map[string]func() error{"status": func() error {
			return s.fields(map[string]func() error{"token": func() (err error) {
				token, _, err = s.text(maxToken)
				return err
			}})
		}})
	})
	return token, err
}

const managerSubject = "system:serviceaccount:" + v1alpha1.MemberNamespace + ":" + v1alpha1.ManagerAccount

// sign brings the signature up to date. A member whose key cannot be seen is a member all the same, unless the credential is not
// accepted any more.
func (f *followed) sign(ctx context.Context, timeout time.Duration, b *budget, now time.Time) error {
	if now.Before(f.signDue) {
		return nil
	}
	short, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	signer, err := f.conn.signingKey(short, b, now)
	failed, content := (*statusError)(nil), (*contentError)(nil)
	switch {
	case err == nil:
		f.signature, f.signDue = signature{signer: signer}, now.Add(spread(signInterval))
		return nil
	case errors.As(err, &failed) && failed.code == http.StatusUnauthorized:
		return err
	case errors.As(err, &failed):
		f.signature.fault = brief(failed.Error())
	case errors.As(err, &content):
		f.signature.fault = brief(strings.TrimPrefix(content.what, "identity: "))
	case errors.Is(err, errReconnected):
		return err
	default:
		f.signDue = now.Add(factsRetry)
		return err
	}
	f.signature.signer, f.signDue = "", now.Add(spread(nodesInterval))
	return nil
}

// signingKeys are the keys of the status, and the hash of the credential that they belong to. Another credential may lead
// to another cluster, so its list begins anew; one that the manager renewed leads to the same. While there is none, the list
// stays as long as the endpoint does.
func (o memberState) signingKeys(stored storedCredential) (keys []string, of string) {
	before := &o.member.Status
	switch {
	case stored.hash == "" && slices.Contains(noCredential, stored.condition.Reason) && o.member.Generation == before.ObservedGeneration:
		return before.SigningKeys, before.ObservedCredential
	case stored.hash != "" && (stored.hash == before.ObservedCredential || stored.replaced != "" && stored.replaced == before.ObservedCredential):
		keys = before.SigningKeys
	}
	if o.probe != nil && o.probe.signature.signer != "" {
		signer := string(o.probe.signature.signer)
		keys = append([]string{signer}, slices.DeleteFunc(slices.Clone(keys), func(k string) bool { return k == signer })...)
		keys = keys[:min(len(keys), maxSigningKeys)]
	}
	return keys, stored.hash
}

// noCredential are the reasons of CredentialValid for which the member has no credential.
var noCredential = []string{v1alpha1.ReasonCredentialMissing, v1alpha1.ReasonCredentialNotOwned}

// granted is the condition Granted; nil while nothing is known.
func (o memberState) granted() *metav1.Condition {
	if o.renewed.forbidden {
		return &metav1.Condition{Type: v1alpha1.ConditionGranted, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonRenewalForbidden,
			Message: "the manager may not renew its credential: " + o.renewed.fault + "; " + propose("restore the manager's permissions", o.join())}
	}
	if o.probe == nil {
		return nil
	}
	if c := o.recorded(); c != nil {
		return c
	}
	if p := o.probe.properties; p.reason == v1alpha1.ReasonPropertyForbidden {
		return &metav1.Condition{Type: v1alpha1.ConditionGranted, Status: metav1.ConditionFalse, Reason: p.reason,
			Message: "the manager may not do all that it needs to: " + p.text + "; " + propose("restore the manager's permissions", o.join())}
	}
	if o.probe.signature == (signature{}) {
		return nil
	}
	c := &metav1.Condition{Type: v1alpha1.ConditionGranted, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonGranted,
		Message: "the manager may do on the cluster what it needs to"}
	if fault := o.probe.signature.fault; fault != "" {
		c.Status, c.Reason = metav1.ConditionFalse, v1alpha1.ReasonKeysNotReadable
		c.Message = "it cannot be seen which key signs tokens of the cluster, so that no context can be proved to lead to it: " + fault
		if strings.HasPrefix(fault, tokenRequest.what()) {
			c.Message += "; " + propose("restore the manager's permissions", o.join())
		}
	} else if o.servicesLack != "" {
		c.Status, c.Reason = metav1.ConditionFalse, v1alpha1.ReasonServicesForbidden
		c.Message = "the manager may not read the services that the federation asks for: " + o.servicesLack + "; " + propose("give it the right", o.join())
	}
	return c
}
