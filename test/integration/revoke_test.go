//go:build unix

package integration

import (
	"context"
	"fmt"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/identity"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
	"github.com/kubefederate/kubectl-federate/pkg/member"
	"github.com/kubefederate/kubectl-federate/test/env"
)

// mint requests a token with a credential, as a thief would who has it: for the account itself, or for another one.
func mint(ctx context.Context, t *testing.T, a *kubeconfig.Access, account string, spec authenticationv1.TokenRequestSpec) (*kubeconfig.Access, error) {
	t.Helper()
	answer, err := clientset(t, a.RESTConfig()).CoreV1().ServiceAccounts(v1alpha1.MemberNamespace).CreateToken(ctx, account,
		&authenticationv1.TokenRequest{Spec: spec}, metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	minted := *a
	minted.Token = answer.Status.Token
	return &minted, nil
}

func lives(d time.Duration) *int64 { return new(int64(d / time.Second)) }

// TestThief exchanges a stolen credential, of which ten minutes are left, for one that is bound to nothing and lives for years.
// With the policy that a join makes on the member, that is refused, and what the manager requests is not. Where there is no
// policy, it is granted; rotate and unjoin end it all the same.
func TestThief(t *testing.T) {
	const decade = 10 * 365 * 24 * time.Hour
	unbound := authenticationv1.TokenRequestSpec{ExpirationSeconds: lives(decade)}
	p := newPair(t, "thief", viewAccess)
	p.joined(federate.JoinOptions{TokenLifetime: 24 * time.Hour})
	stolen := p.credential()
	env.Eventually(t, "the policy is in force", func(ctx context.Context) error {
		if _, err := mint(ctx, t, stolen, v1alpha1.ManagerAccount, unbound); !apierrors.IsForbidden(err) {
			return fmt.Errorf("the answer is %w", cmpErr(err))
		}
		return nil
	})
	bound := func(name string) *authenticationv1.BoundObjectReference {
		return &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Secret", Name: name}
	}
	managed := bound(member.BindingRefs()[0].Name)
	const denied = `serviceaccounts "%s" is forbidden: ValidatingAdmissionPolicy 'member-tokens.kubefederate.io' with binding 'member-tokens.kubefederate.io' denied request: `
	const notBound = denied + "a token that this account requests is bound to Secret kubefederate-manager-binding or kubefederate-manager-binding-2, so that it can be revoked"
	const tooLong = denied + "a token that this account requests lives at most 24h0m0s"
	for _, tt := range []struct {
		name, account string
		spec          authenticationv1.TokenRequestSpec
		want          string
	}{
		{"unbound, for ten years", v1alpha1.ManagerAccount, unbound, notBound},
		{"unbound, of the other account", v1alpha1.ConsumerAccount, authenticationv1.TokenRequestSpec{ExpirationSeconds: lives(time.Hour)}, notBound},
		{"unbound, without a lifetime", v1alpha1.ManagerAccount, authenticationv1.TokenRequestSpec{}, notBound},
		{"bound to nothing by name", v1alpha1.ManagerAccount, authenticationv1.TokenRequestSpec{BoundObjectRef: &authenticationv1.BoundObjectReference{}}, notBound},
		{"unbound, for ten minutes and an audience that begins like an identity's, among others", v1alpha1.ManagerAccount,
			authenticationv1.TokenRequestSpec{ExpirationSeconds: lives(10 * time.Minute), Audiences: []string{identity.NewAudience(), "https://kubernetes.default.svc"}}, notBound},
		{"for an identity, and too long", v1alpha1.ManagerAccount,
			authenticationv1.TokenRequestSpec{ExpirationSeconds: lives(time.Hour), Audiences: []string{identity.NewAudience()}}, notBound},
		{"bound, for longer than the membership asked", v1alpha1.ManagerAccount, authenticationv1.TokenRequestSpec{ExpirationSeconds: lives(25 * time.Hour), BoundObjectRef: managed}, tooLong},
		{"renewed", v1alpha1.ManagerAccount, authenticationv1.TokenRequestSpec{ExpirationSeconds: lives(24 * time.Hour), BoundObjectRef: managed}, ""},
		{"a consumer's", v1alpha1.ConsumerAccount, authenticationv1.TokenRequestSpec{ExpirationSeconds: lives(time.Hour), BoundObjectRef: managed}, ""},
		{"for an identity", v1alpha1.ManagerAccount,
			authenticationv1.TokenRequestSpec{ExpirationSeconds: lives(10 * time.Minute), Audiences: []string{identity.NewAudience()}}, ""},
	} {
		_, err := mint(t.Context(), t, stolen, tt.account, tt.spec)
		want := tt.want
		if want != "" {
			want = fmt.Sprintf(want, tt.account)
		}
		if got := fmt.Sprint(err); want == "" && err != nil || want != "" && got != want {
			t.Errorf("%s: %s, want %q", tt.name, got, want)
		}
	}
	// A binding of another kind of object, or of another's Secret, is refused by the API server or by the policy.
	for _, ref := range []*authenticationv1.BoundObjectReference{bound("another"), {APIVersion: "v1", Kind: "Pod", Name: managed.Name}} {
		if _, err := mint(t.Context(), t, stolen, v1alpha1.ManagerAccount, authenticationv1.TokenRequestSpec{BoundObjectRef: ref}); err == nil {
			t.Errorf("a token bound to %s %q was granted", ref.Kind, ref.Name)
		}
	}

	// As on a member of Kubernetes 1.29, or one whose policies the caller may not write.
	for _, ref := range member.PolicyRefs() {
		if err := p.m.Delete(t.Context(), ref, cluster.Preconditions{}, cluster.DryRunNone); err != nil {
			t.Fatal(err)
		}
	}
	steal := func() []*kubeconfig.Access {
		t.Helper()
		stolen := p.credential()
		all := []*kubeconfig.Access{stolen}
		for _, account := range []string{v1alpha1.ManagerAccount, v1alpha1.ConsumerAccount} {
			env.Eventually(t, "an unbound token is granted", func(ctx context.Context) error {
				minted, err := mint(ctx, t, stolen, account, unbound)
				if err == nil {
					all = append(all, minted)
				}
				return err
			})
		}
		for _, a := range all {
			if end, _ := a.Expiry(); a != stolen && time.Until(end) < decade-time.Hour {
				t.Errorf("a thief's token ends %v", end)
			}
			if err := authenticated(t, a); err != nil {
				t.Errorf("a thief's token: %v", err)
			}
		}
		return all
	}
	before := steal()
	if _, err := rotate(t.Context(), p.h, p.m, federate.RotateOptions{Name: "thief"}); err != nil {
		t.Fatal(err)
	}
	for i, a := range before {
		p.revoked(fmt.Sprintf("after rotate, token %d", i), a)
	}
	if err := works(t, p.credential()); err != nil {
		t.Errorf("after rotate, the stored credential: %v", err)
	}
	after := steal()
	p.unjoined(federate.UnjoinOptions{Name: "thief"})
	for i, a := range after {
		p.revoked(fmt.Sprintf("after unjoin, token %d", i), a)
	}
	p.unchanged()
}

// authenticated says whether a member knows whose a token is.
func authenticated(t *testing.T, a *kubeconfig.Access) error {
	t.Helper()
	_, err := clientset(t, a.RESTConfig()).AuthenticationV1().SelfSubjectReviews().Create(t.Context(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	return err
}
