package controller

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/identity"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
)

// TestSignature holds that a key counts only when it has signed a token that was requested just now, and that a member
// whose keys cannot be seen is reachable all the same.
func TestSignature(t *testing.T) {
	t.Parallel()
	refuse := func(path string, code int) func(*stub) {
		return func(s *stub) {
			s.answer = func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path == path {
					w.WriteHeader(code)
				}
				return r.URL.Path == path
			}
		}
	}
	claims := func(change func(*jwt.Claims)) func(*stub) {
		return func(s *stub) {
			issue := s.token
			s.token = func(r *authenticationv1.TokenRequest) jwt.Claims {
				c := issue(r)
				change(&c)
				return c
			}
		}
	}
	for _, tt := range []struct {
		name  string
		is    func(*stub)
		want  outcome
		fault string
	}{
		{"signed", func(*stub) {}, reachable, ""},
		{"the keys of another cluster are served", func(s *stub) { s.signer = newKey(t) }, reachable, "the token is signed by another key"},
		{"a token for another client", claims(func(c *jwt.Claims) { c.Audience = jwt.Audience{"other"} }), reachable,
			"the token is for another audience than it was requested for"},
		{"a token of another account", claims(func(c *jwt.Claims) { c.Subject = identity.Subject }), reachable,
			`the token is one of "system:serviceaccount:kube-system:default" and not of "system:serviceaccount:kubefederate-member:kubefederate-manager"`},
		{"no key", func(s *stub) { s.keys = jose.JSONWebKeySet{} }, reachable, "the key set has no public key that signs tokens"},
		{"no right to the keys", refuse(askKeys, 403), reachable, "get /openid/v1/jwks: 403 Forbidden"},
		{"keys are not served", refuse(askKeys, 404), reachable, "get /openid/v1/jwks: 404 Not Found"},
		{"no right to a token", refuse(askToken, 403), reachable, "create token of ServiceAccount kubefederate-member/kubefederate-manager: 403 Forbidden"},
		{"the credential was revoked meanwhile", refuse(askToken, 401), outcome{v1alpha1.ReasonUnauthorized, "", 401}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newStub(t)
			tt.is(s)
			f := follow(t, s.access())
			got, err := f.probe(t.Context(), time.Minute, now)
			if got != tt.want || err != nil {
				t.Errorf("%v %v, want %v", got, err, tt.want)
			}
			want := signature{fault: tt.fault}
			if tt.want == reachable && tt.fault == "" {
				want.signer = thumbprint(t, s.signer)
			}
			if f.signature != want {
				t.Errorf("got %+v, want %+v", f.signature, want)
			}
			if got == reachable && f.facts == nil {
				t.Error("no facts")
			}
		})
	}
}

// TestTokenIsBound holds that the token which shows the key ends with the stored one.
func TestTokenIsBound(t *testing.T) {
	t.Parallel()
	s := newStub(t)
	var got *authenticationv1.TokenRequest
	issue := s.token
	s.token = func(r *authenticationv1.TokenRequest) jwt.Claims { got = r; return issue(r) }
	for _, tt := range []struct {
		token string
		want  *authenticationv1.BoundObjectReference
	}{
		{"opaque", nil},
		{token(`{"kubernetes.io":{"secret":{"name":"binding","uid":"u"}}}`), &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Secret", Name: "binding", UID: "u"}},
	} {
		access := s.access()
		access.Token = tt.token
		if _, err := follow(t, access).probe(t.Context(), time.Minute, now); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, got.Spec.BoundObjectRef); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if seconds := got.Spec.ExpirationSeconds; seconds == nil || *seconds != 600 || len(got.Spec.Audiences) != 1 {
			t.Errorf("requested %+v", got.Spec)
		}
	}
}

// TestSigningKeys holds which keys the status has.
func TestSigningKeys(t *testing.T) {
	t.Parallel()
	o := good(t)
	signed := func(by string) { o.probe.signature = signature{signer: identity.Thumbprint(by)} }
	other := func() {
		o.store(t, func(a *kubeconfig.Access) {
			a.Token = token(fmt.Sprintf(`{"exp":%d,"jti":%d}`, now.Add(time.Hour).Unix(), time.Now().UnixNano()))
		})
	}
	stored := o.credential
	for _, step := range []struct {
		name   string
		change func()
		want   []string
	}{
		{"nothing is known", func() { signed("") }, nil},
		{"a key", func() { signed("a") }, []string{"a"}},
		{"it cannot be seen any more", func() { o.probe.signature = signature{fault: "403"} }, []string{"a"}},
		{"a manager that starts", func() { o.probe = nil }, []string{"a"}},
		{"newer keys", func() { o.probe = &observation{outcome: reachable, answered: now}; signed("b") }, []string{"b", "a"}},
		{"an older one again", func() { signed("a") }, []string{"a", "b"}},
		{"a third", func() { signed("c") }, []string{"c", "a", "b"}},
		{"a fourth", func() { signed("d") }, []string{"d", "c", "a"}},
		{"the Secret is gone", func() { o.credential, o.probe = nil, nil }, []string{"d", "c", "a"}},
		{"and is back", func() { o.credential = stored }, []string{"d", "c", "a"}},
		{"the Secret is another's", func() { o.credential = stored.DeepCopy(); o.credential.OwnerReferences = nil }, []string{"d", "c", "a"}},
		{"another credential, while no manager ran", func() { o.credential = stored; other() }, nil},
		{"a key", func() { o.probe = &observation{outcome: reachable, answered: now}; signed("e") }, []string{"e"}},
		{"it leads elsewhere", func() { o.member.Spec.Server = "https://elsewhere.example.com"; o.member.Generation++; o.probe = nil }, nil},
		{"and back", func() { o.member.Spec.Server = "https://us-east.example.com:6443"; o.member.Generation++ }, nil},
		{"a key", func() { o.probe = &observation{outcome: reachable, answered: now}; signed("f") }, []string{"f"}},
		{"the Secret is gone, and the endpoint changed", func() { o.credential, o.probe = nil, nil; o.member.Generation++ }, nil},
	} {
		step.change()
		o.member.Status = o.status(o.judgeCredential())
		if diff := cmp.Diff(step.want, o.member.Status.SigningKeys); diff != "" {
			t.Fatalf("%s (-want +got):\n%s", step.name, diff)
		}
		all := meta.IsStatusConditionTrue(o.member.Status.Conditions, v1alpha1.ConditionGranted)
		want := all && len(step.want) > 0 && o.credential != nil && o.credential.OwnerReferences != nil
		if granted := o.known(o.judgeCredential()).granted; granted != want {
			t.Errorf("%s: the prober knows a key, and that all is granted: %v", step.name, granted)
		}
	}
}

// TestGranted is the condition Granted for each signature.
func TestGranted(t *testing.T) {
	t.Parallel()
	const no = "False KeysNotReadable: it cannot be seen which key signs tokens of the cluster, so that no context can be proved to lead to it: "
	for _, tt := range []struct {
		signature  signature
		membership string
		want       string
	}{
		{signature{signer: "a"}, "", "True Granted: the manager may do on the cluster what it needs to"},
		{signature{fault: "get /openid/v1/jwks: 403: no"}, "", no + "get /openid/v1/jwks: 403: no"},
		{signature{fault: tokenRequest.what() + ": 403: no"}, "", no + "create token of ServiceAccount kubefederate-member/kubefederate-manager: 403: no; " +
			"restore the manager's permissions: kubectl federate join us-east --federation prod --member-context CONTEXT"},
		{signature{}, "", "True Granted: as before"},
		{signature{}, v1alpha1.ReasonMembershipMissing, "False MembershipMissing: the membership record of the cluster, ConfigMap kubefederate-member/membership, was deleted, " +
			"so that another host could join the cluster; write it again: kubectl federate join us-east --federation prod --member-context CONTEXT"},
		{signature{signer: "a"}, v1alpha1.ReasonMembershipDiffers, "False MembershipDiffers: the membership record of the cluster, ConfigMap kubefederate-member/membership, " +
			"is that of another member; find out of which: kubectl federate check --member-contexts CONTEXT"},
	} {
		o := good(t)
		o.member.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionGranted, Status: "True", Reason: "Granted", Message: "as before"}}
		o.probe.signature, o.probe.membership = tt.signature, tt.membership
		status := o.status(o.judgeCredential())
		c := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionGranted)
		if got := fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message); got != tt.want || status.Phase != v1alpha1.PhaseReady {
			t.Errorf("phase %s, %s\nwant %s", status.Phase, got, tt.want)
		}
	}
}
