//go:build unix

package integration

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/command"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
	"github.com/kubefederate/kubectl-federate/test/env"
)

// bindings are the names of the Secrets that tokens of the host are bound to.
func bindings(t *testing.T, c *env.Cluster) []string {
	t.Helper()
	secrets, err := clientset(t, c.Config()).CoreV1().Secrets(v1alpha1.MemberNamespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for i := range secrets.Items {
		names = append(names, secrets.Items[i].Name)
	}
	return names
}

// rotated checks what every rotation that ended well leaves: one Secret, a stored credential that works, and
// earlier ones that do not.
func (p *pair) rotated(what string, earlier ...*kubeconfig.Access) {
	p.Helper()
	if got := bindings(p.T, p.member); len(got) != 1 {
		p.Errorf("%s: Secrets %v are left, want one", what, got)
	}
	if err := works(p.T, p.credential()); err != nil {
		p.Errorf("%s: the stored credential: %v", what, err)
	}
	for i, a := range earlier {
		p.revoked(fmt.Sprintf("%s: earlier credential %d", what, i), a)
	}
}

// revokedWithin is how long API servers may take a token for good that is revoked: they remember for ten seconds that it was.
const revokedWithin = 15 * time.Second

// revoked waits until the member refuses a credential.
func (p *pair) revoked(what string, a *kubeconfig.Access) {
	p.Helper()
	end := time.Now().Add(revokedWithin)
	env.Eventually(p.T, what+" is refused", func(context.Context) error {
		err := works(p.T, a)
		if apierrors.IsUnauthorized(err) {
			return nil
		}
		if time.Now().After(end) {
			p.Fatalf("%s: %v after %s, want 401", what, err, revokedWithin)
		}
		return fmt.Errorf("the answer is %w", err)
	})
}

// TestRotateLostAnswer stores a credential and gets no answer, again and again: what is stored may not work until the rotation
// is run again, which leaves neither it nor the old one.
func TestRotateLostAnswer(t *testing.T) {
	p := newPair(t, "deaf", nil)
	p.joined(federate.JoinOptions{})
	old := p.credential()
	config := p.host.Config()
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return env.RoundTripper(func(r *http.Request) (*http.Response, error) {
			answer, err := next.RoundTrip(r)
			if err == nil && r.Method == http.MethodPut && changes(r) {
				_ = answer.Body.Close()
				return nil, errors.New("connection lost")
			}
			return answer, err
		})
	})
	options := federate.RotateOptions{Name: "deaf", Cluster: command.Cluster{Context: "west"}}
	_, err := rotate(t.Context(), connectHost(t, config), p.m, options)
	wantError(t, err, `could not finish: rotate the credential of "deaf"
* host: no answer from `+p.h.Server()+` (update Secret "kubefederate-credentials/deaf"): connection lost: check the endpoint of the context and that this machine can reach it
* done: the account on the member is being made anew, so the stored credential may work no more
* left: host: Secret "kubefederate-credentials/deaf"
* left: member: Secret "kubefederate-member/kubefederate-manager-binding"
to continue, run: kubectl federate rotate deaf --member-context west`)
	if got := bindings(t, p.member); len(got) != 2 {
		t.Fatalf("Secrets %v, want both", got)
	}
	halfway := p.credential()
	if halfway.Token == old.Token {
		t.Fatal("the new credential was not stored")
	}
	plan, err := federate.PlanRotate(t.Context(), p.h, p.m, options)
	if err != nil {
		t.Fatal(err)
	}
	if want := `member update    Secret "kubefederate-member/kubefederate-manager-binding-2" (left over from an interrupted rotation, which this one completes)` + "\n"; !strings.HasPrefix(plan.Text(), want) {
		t.Errorf("plan:\n%swant at first:\n%s", plan.Text(), want)
	}
	if _, err := plan.Apply(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	p.rotated("again", old, halfway)
	p.left("deaf")
}

// TestTwoRotations runs two at once: whatever becomes of each, the host keeps a credential that works, and no
// earlier one does.
func TestTwoRotations(t *testing.T) {
	p := newPair(t, "twice", nil)
	p.joined(federate.JoinOptions{})
	old := p.credential()
	errs := atOnce(2, func(int) error {
		ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
		defer cancel()
		_, err := rotate(ctx, p.h, p.m, federate.RotateOptions{Name: "twice", Cluster: command.Cluster{Context: "west"}})
		return err
	})
	for _, err := range errs {
		if err != nil && !strings.HasSuffix(err.Error(), "another rotation is at work; run this one again when it has ended") {
			t.Error(err)
		}
	}
	if !slices.Contains(errs, nil) {
		t.Errorf("neither ended well: %v", errs)
	}
	p.rotated("both", old)
	p.left("twice")
}

// shortTokenFleet is a member whose API server gives no token for more than a day.
var shortTokenFleet = env.Shared(env.Spec{Name: "stingy", ControllerManager: true, MaxTokenLifetime: 24 * time.Hour})

// TestMaxTokenLifetime joins and rotates where the member's API server gives less than is asked for: what is
// reported, what the host knows of it, and that a lifetime that is not shortened is not mentioned.
func TestMaxTokenLifetime(t *testing.T) {
	p := newPairOf(t, joinHost(t), shortTokenFleet(t).Cluster("stingy"), "stingy", nil)
	wantNotes := func(what string, notes []federate.Finding, expires time.Time, want string) {
		t.Helper()
		got := slices.DeleteFunc(slices.Clone(notes), func(f federate.Finding) bool { return f.Object != "token" })
		if text := strings.Trim(fmt.Sprint(got), "[]"); text != want {
			t.Errorf("%s: got %s\nwant %s", what, text, want)
		}
		if left := time.Until(expires); left > 24*time.Hour {
			t.Errorf("%s: ends in %s", what, left)
		}
		env.Eventually(t, "the manager knows when it ends", func(ctx context.Context) error {
			record, err := p.h.Member(ctx, "stingy")
			if err == nil && (record.Status.CredentialExpiry == nil || !record.Status.CredentialExpiry.Time.Equal(expires)) {
				return fmt.Errorf("status.credentialExpiry is %v, want %v", record.Status.CredentialExpiry, expires)
			}
			return err
		})
	}
	joined := p.joined(federate.JoinOptions{TokenLifetime: 720 * time.Hour, Cluster: command.Cluster{Context: "stingy"}})
	wantNotes("join", joined.Notes, joined.Expires,
		"member: token: asked for 30d, the member's API server granted 1d, and the manager renews it in that time")
	for _, tc := range []struct {
		lifetime time.Duration
		want     string
	}{
		{0, "member: token: asked for 90d, the member's API server granted 1d, and the manager renews it in that time"},
		{12 * time.Hour, ""},
	} {
		result, err := rotate(t.Context(), p.h, p.m, federate.RotateOptions{Name: "stingy", Cluster: command.Cluster{Context: "stingy"}, TokenLifetime: tc.lifetime})
		if err != nil {
			t.Fatal(err)
		}
		wantNotes(fmt.Sprintf("rotate for %s", tc.lifetime), result.Notes, result.Expires, tc.want)
	}
	p.left("stingy")
}

// TestRotateHostOnlyEndpoint rotates where only the host reaches the stored endpoint: the credential is
// tried where the caller reaches the member, and that is said.
func TestRotateHostOnlyEndpoint(t *testing.T) {
	p := newPair(t, "far", nil)
	p.joined(federate.JoinOptions{Server: "https://127.0.0.1:1"})
	old := p.credential()
	result, err := rotate(t.Context(), p.h, p.m, federate.RotateOptions{Name: "far", Way: federate.Way{TrustContext: true}})
	if err != nil {
		t.Fatal(err)
	}
	want := `[member: endpoint "https://127.0.0.1:1": could not be tried from here: dial tcp 127.0.0.1:1: connect: connection refused; the credential was tried at ` + p.m.Server() + "]"
	if got := fmt.Sprint(result.Notes); got != want {
		t.Errorf("notes %s, want %s", got, want)
	}
	for _, access := range []*kubeconfig.Access{old, p.credential()} {
		here := rest.AnonymousClientConfig(p.member.Config())
		here.BearerToken = access.Token
		_, err := connectMember(t, here).ID(t.Context())
		if revoked := access == old; apierrors.IsUnauthorized(err) != revoked || err == nil == revoked {
			t.Errorf("revoked: %v, and the member says %v", revoked, err)
		}
	}
	p.leftUnproven("far")
}
