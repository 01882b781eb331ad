package member

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/identity"
)

// Lifetimes that a token may be requested with. API servers issue none for less than ten minutes (TokenRequest,
// authentication.k8s.io/v1); most shorten long ones. A year is the bound of kubectl federate: no credential of a host
// outlives it.
const (
	MinTokenLifetime = 10 * time.Minute
	MaxTokenLifetime = 365 * 24 * time.Hour
)

// BindingRefs name the Secrets without content that the manager's tokens are bound to: deleting one revokes every token
// that is bound to it. One exists at a time; both do while a credential is rotated, since the old one is valid until the
// new one is stored.
func BindingRefs() [2]cluster.Ref {
	ref := func(name string) cluster.Ref {
		return cluster.Ref{Resource: cluster.Secrets, Namespace: v1alpha1.MemberNamespace, Name: name}
	}
	const first = v1alpha1.ManagerAccount + "-binding"
	return [2]cluster.Ref{ref(first), ref(first + "-2")}
}

// BindingManifest is such a Secret as a join creates it.
func BindingManifest(ref cluster.Ref) Object {
	secret := managed(ref)
	secret.Manifest.Object["type"] = "Opaque"
	return secret
}

// Binding is the one of BindingRefs that tokens are bound to: the first that exists, or else the first.
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

// ManagerToken requests a token of the manager's account that lives as long as lifetime, or as the API server allows, and
// no longer than the Secret that it is bound to.
func (c *Cluster) ManagerToken(ctx context.Context, lifetime time.Duration, boundTo Binding) (cluster.Token, error) {
	return c.token(ctx, ManagerAccountRef(), lifetime, boundTo, cluster.DryRunNone)
}

// JudgeToken asks the member, with a dry run, whether the caller may request a token of account; boundTo may be the zero one.
// API servers issue a token in a dry run all the same: it lives ten minutes, the shortest there is, and is dropped.
func (c *Cluster) JudgeToken(ctx context.Context, account cluster.Ref, boundTo Binding) error {
	_, err := c.token(ctx, account, MinTokenLifetime, boundTo, cluster.DryRunServer)
	return err
}

// TrialToken requests a token of an account without rights, the one named default in namespace default, for as short as
// API servers issue one: it shows whether an endpoint accepts tokens of this cluster before anything is made here. Nothing
// is stored by it.
func (c *Cluster) TrialToken(ctx context.Context) (string, error) {
	token, err := c.token(ctx, TrialAccountRef(), MinTokenLifetime, Binding{}, cluster.DryRunNone)
	return token.Value, err
}

// IdentityToken requests a token of the account identity.Subject for an audience that is the API server's of no cluster: it
// proves which cluster answers here, and opens nothing.
func (c *Cluster) IdentityToken(ctx context.Context, audience string) (string, error) {
	account := cluster.Ref{Resource: cluster.ServiceAccounts, Namespace: v1alpha1.IdentityNamespace, Name: "default"}
	token, err := c.token(ctx, account, MinTokenLifetime, Binding{}, cluster.DryRunNone, audience)
	return token.Value, err
}

// SigningKeys are the keys that the cluster serves as those of its tokens. Serving them proves nothing.
func (c *Cluster) SigningKeys(ctx context.Context) (identity.Keys, error) {
	set, err := c.GetKeySet(ctx)
	if err != nil {
		return nil, err
	}
	keys, err := identity.ParseKeys(set)
	if err != nil {
		return nil, fmt.Errorf("member: the keys of %s: %w", c.Server(), err)
	}
	return keys, nil
}

// TrialAccountRef names an account of every cluster that has no rights.
func TrialAccountRef() cluster.Ref {
	return cluster.Ref{Resource: cluster.ServiceAccounts, Namespace: metav1.NamespaceDefault, Name: "default"}
}

func (c *Cluster) token(ctx context.Context, account cluster.Ref, lifetime time.Duration, boundTo Binding, dryRun cluster.DryRun, audiences ...any) (cluster.Token, error) {
	spec := map[string]any{"expirationSeconds": int64(lifetime / time.Second)}
	if len(audiences) > 0 {
		spec["audiences"] = audiences
	}
	if boundTo != (Binding{}) {
		spec["boundObjectRef"] = map[string]any{"apiVersion": "v1", "kind": "Secret", "name": boundTo.Ref.Name, "uid": string(boundTo.UID)}
	}
	return c.RequestToken(ctx, account, spec, dryRun)
}
