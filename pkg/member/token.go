package member

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

// Lifetimes that a token may be asked to have. API servers issue none for less than ten minutes (TokenRequest,
// authentication.k8s.io/v1); most shorten long ones by themselves. A year is our own bound: no credential of a
// host outlives it.
const (
	MinTokenLifetime = 10 * time.Minute
	MaxTokenLifetime = 365 * 24 * time.Hour
)

// BindingRefs name the Secrets without content that the manager's tokens are bound to: deleting one revokes
// every token that is bound to it. One of them is there at a time; both are while a credential is rotated, since
// the old one is good until the new one is stored.
func BindingRefs() [2]cluster.Ref {
	ref := func(name string) cluster.Ref {
		return cluster.Ref{Resource: cluster.Secrets, Namespace: v1alpha1.MemberNamespace, Name: name}
	}
	const first = v1alpha1.ManagerAccount + "-binding"
	return [2]cluster.Ref{ref(first), ref(first + "-2")}
}

// BindingManifest is such a Secret as it is made.
func BindingManifest(ref cluster.Ref) Object {
	secret := labelled(ref.Resource.New(ref.Namespace, ref.Name))
	secret.Object["type"] = "Opaque"
	return object(ref.Resource, secret)
}

// Binding is the one of BindingRefs that tokens are bound to: the first that is there, or is to be made.
func (s *State) Binding() cluster.Ref {
	refs := BindingRefs()
	if s.Objects[refs[0]] == nil && s.Objects[refs[1]] != nil {
		return refs[1]
	}
	return refs[0]
}

// Binding is a Secret that a token is bound to, as it was made.
type Binding struct {
	Ref cluster.Ref
	UID types.UID
}

// Token is a token of the manager's account.
type Token struct {
	Value string
	// Expires is when it ends, whatever was asked for.
	Expires time.Time
}

var tokenRight = cluster.Right{Verb: "create", Resource: cluster.ServiceAccounts, Subresource: "token", Namespace: v1alpha1.MemberNamespace, Name: v1alpha1.ManagerAccount}

// RotateRights are the rights on a member that bind a new token to the Secret to and revoke those bound to from.
func RotateRights(from, to cluster.Ref) []cluster.Right {
	rights := append(verbs(namespaceRef(v1alpha1.IdentityNamespace), "get"), verbs(MembershipRef(), "get")...)
	rights = append(rights, verbs(to, "get", "create", "delete")...)
	return unique(append(rights, append(verbs(from, "get", "delete"), tokenRight)...))
}

// RequestToken asks for a token of the manager's account that lives as long as lifetime, or as the API server
// allows, and no longer than the Secret that it is bound to.
func (c *Cluster) RequestToken(ctx context.Context, lifetime time.Duration, boundTo Binding) (Token, error) {
	request := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
		"spec": map[string]any{
			"expirationSeconds": int64(lifetime / time.Second),
			"boundObjectRef":    map[string]any{"apiVersion": "v1", "kind": "Secret", "name": boundTo.Ref.Name, "uid": string(boundTo.UID)},
		},
	}}
	answer, err := c.Subresource(ctx, ManagerAccountRef(), "token", request)
	if err != nil {
		return Token{}, err
	}
	token, _, _ := unstructured.NestedString(answer.Object, "status", "token")
	end, _, _ := unstructured.NestedString(answer.Object, "status", "expirationTimestamp")
	expires, err := time.Parse(time.RFC3339, end)
	if token == "" || err != nil {
		return Token{}, fmt.Errorf("member: %s gave no token with an end for %s", c.Server(), ManagerAccountRef())
	}
	return Token{Value: token, Expires: expires}, nil
}

// TrialToken asks for a token of an account that gives nothing, namespace default's own, for as short as API servers issue
// one, to see whether an endpoint takes tokens of this cluster before anything is made here. Nothing is stored by it.
func (c *Cluster) TrialToken(ctx context.Context) (string, error) {
	request := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
		"spec": map[string]any{"expirationSeconds": int64(MinTokenLifetime / time.Second)},
	}}
	account := cluster.Ref{Resource: cluster.ServiceAccounts, Namespace: "default", Name: "default"}
	answer, err := c.Subresource(ctx, account, "token", request)
	if err != nil {
		return "", err
	}
	token, _, err := unstructured.NestedString(answer.Object, "status", "token")
	return token, err
}
