//go:build unix

package integration

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
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
func rotated(t *testing.T, what string, h, m *env.Cluster, name string, earlier ...*kubeconfig.Access) {
	t.Helper()
	if got := bindings(t, m); len(got) != 1 {
		t.Errorf("%s: Secrets %v are left, want one", what, got)
	}
	if err := works(t, credential(t, h, name)); err != nil {
		t.Errorf("%s: the stored credential: %v", what, err)
	}
	for i, a := range earlier {
		if err := works(t, a); !apierrors.IsUnauthorized(err) {
			t.Errorf("%s: earlier credential %d: %v, want 401", what, i, err)
		}
	}
}

// deaf passes every PUT on and loses each of the answers.
type deaf struct{ next http.RoundTripper }

func (d deaf) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := d.next.RoundTrip(r)
	if err == nil && r.Method == http.MethodPut {
		_ = answer.Body.Close()
		return nil, errors.New("connection lost")
	}
	return answer, err
}

// TestRotateLostAnswer stores a credential and gets no answer: both work until the rotation is run again, which
// leaves neither.
func TestRotateLostAnswer(t *testing.T) {
	hostCluster, west := joinHost(t), joinFleet(t).Cluster("west")
	fed := federation(t, hostCluster, "deaf", map[string]any{})
	snapshot(t, west)
	h, m := connectHost(t, hostCluster.Config()), connectMember(t, west.Config())
	if _, err := join(t, h, m, federate.JoinOptions{Name: "deaf", Federation: fed}); err != nil {
		t.Fatal(err)
	}
	old := credential(t, hostCluster, "deaf")
	config := hostCluster.Config()
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return deaf{next} })
	options := federate.RotateOptions{Name: "deaf", Cluster: command.Cluster{Context: "west"}}
	_, err := rotate(t, connectHost(t, config), m, options)
	want := `could not finish: rotate the credential of "deaf"
* host: no request could be sent to ` + h.Server() + `: connection lost: repair the user of the context in the kubeconfig
* done: it is not known which credential the host has stored; the old one and the new one both work
* left: member: Secret "kubefederate-member/kubefederate-manager-binding"
to continue, run: kubectl federate rotate deaf --member-context west`
	if err == nil || err.Error() != want {
		t.Fatalf("error:\n%v\nwant:\n%s", err, want)
	}
	if got := bindings(t, west); len(got) != 2 {
		t.Fatalf("Secrets %v, want both", got)
	}
	halfway := credential(t, hostCluster, "deaf")
	if halfway.Token == old.Token {
		t.Fatal("the new credential was not stored")
	}
	plan, err := federate.PlanRotate(t.Context(), h, m, options)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(plan.Notes), `[member: Secret "kubefederate-member/kubefederate-manager-binding-2": left over from an interrupted rotation, which is completed first]`; got != want {
		t.Errorf("notes %s, want %s", got, want)
	}
	if _, err := plan.Apply(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	rotated(t, "again", hostCluster, west, "deaf", old, halfway)
	if _, err := unjoin(t, h, m, federate.UnjoinOptions{Name: "deaf"}); err != nil {
		t.Fatal(err)
	}
}

// TestTwoRotations runs two at once: whatever becomes of each, the host keeps a credential that works, and no
// earlier one does.
func TestTwoRotations(t *testing.T) {
	hostCluster, west := joinHost(t), joinFleet(t).Cluster("west")
	fed := federation(t, hostCluster, "twice", map[string]any{})
	snapshot(t, west)
	h, m := connectHost(t, hostCluster.Config()), connectMember(t, west.Config())
	if _, err := join(t, h, m, federate.JoinOptions{Name: "twice", Federation: fed}); err != nil {
		t.Fatal(err)
	}
	old := credential(t, hostCluster, "twice")
	var done atomic.Int32
	errs := atOnce(2, func(int) error {
		ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
		defer cancel()
		plan, err := federate.PlanRotate(ctx, h, m, federate.RotateOptions{Name: "twice", Cluster: command.Cluster{Context: "west"}})
		if err == nil {
			_, err = plan.Apply(ctx, nil)
		}
		if err == nil {
			done.Add(1)
		}
		return err
	})
	for _, err := range errs {
		if err != nil && !strings.HasSuffix(err.Error(), "another rotation is at work; run this one again when it has ended") {
			t.Error(err)
		}
	}
	if done.Load() == 0 {
		t.Errorf("neither ended well: %v", errs)
	}
	rotated(t, "both", hostCluster, west, "twice", old)
	if _, err := unjoin(t, h, m, federate.UnjoinOptions{Name: "twice"}); err != nil {
		t.Fatal(err)
	}
}

// shortTokenFleet is a member whose API server gives no token for more than a day.
var shortTokenFleet = env.Shared(env.Spec{Name: "stingy", ControllerManager: true, MaxTokenLifetime: 24 * time.Hour})

// TestMaxTokenLifetime joins and rotates where the member's API server gives less than is asked for: what is
// reported, what the host knows of it, and that a lifetime that is not shortened is not mentioned.
func TestMaxTokenLifetime(t *testing.T) {
	hostCluster, stingy := joinHost(t), shortTokenFleet(t).Cluster("stingy")
	fed := federation(t, hostCluster, "stingy", map[string]any{})
	h, m := connectHost(t, hostCluster.Config()), connectMember(t, stingy.Config())
	wantNotes := func(what string, notes []federate.Finding, expires time.Time, want string) {
		t.Helper()
		want = strings.ReplaceAll(want, "END", expires.UTC().Format(time.RFC3339))
		got := slices.DeleteFunc(slices.Clone(notes), func(f federate.Finding) bool { return f.Object != "token" })
		if text := strings.Trim(fmt.Sprint(got), "[]"); text != want {
			t.Errorf("%s: got %s\nwant %s", what, text, want)
		}
		if left := time.Until(expires); left > 24*time.Hour {
			t.Errorf("%s: ends in %s", what, left)
		}
		env.Eventually(t, "the manager knows when it ends", func(ctx context.Context) error {
			record, err := h.Member(ctx, "stingy")
			if err == nil && (record.Status.CredentialExpiry == nil || !record.Status.CredentialExpiry.Time.Equal(expires)) {
				return fmt.Errorf("status.credentialExpiry is %v, want %v", record.Status.CredentialExpiry, expires)
			}
			return err
		})
	}
	joined, err := join(t, h, m, federate.JoinOptions{Name: "stingy", Federation: fed, TokenLifetime: 720 * time.Hour, Cluster: command.Cluster{Context: "stingy"}})
	if err != nil {
		t.Fatal(err)
	}
	wantNotes("join", joined.Notes, joined.Expires,
		"member: token: asked for 30d, the member's API server granted 1d: renew it before END: kubectl federate rotate stingy --member-context stingy --token-lifetime 720h")
	result, err := rotate(t, h, m, federate.RotateOptions{Name: "stingy", Cluster: command.Cluster{Context: "stingy"}})
	if err != nil {
		t.Fatal(err)
	}
	wantNotes("rotate", result.Notes, result.Expires,
		"member: token: asked for 90d, the member's API server granted 1d: renew it before END: kubectl federate rotate stingy --member-context stingy")
	if result, err = rotate(t, h, m, federate.RotateOptions{Name: "stingy", Cluster: command.Cluster{Context: "stingy"}, TokenLifetime: 12 * time.Hour}); err != nil {
		t.Fatal(err)
	}
	wantNotes("rotate within what it gives", result.Notes, result.Expires, "")
	if _, err := unjoin(t, h, m, federate.UnjoinOptions{Name: "stingy"}); err != nil {
		t.Fatal(err)
	}
}

// TestRotateHostOnlyEndpoint rotates where only the host reaches the stored endpoint: the credential is
// tried where the caller reaches the member, and that is said.
func TestRotateHostOnlyEndpoint(t *testing.T) {
	hostCluster, west := joinHost(t), joinFleet(t).Cluster("west")
	fed := federation(t, hostCluster, "far", map[string]any{})
	snapshot(t, west)
	h, m := connectHost(t, hostCluster.Config()), connectMember(t, west.Config())
	if _, err := join(t, h, m, federate.JoinOptions{Name: "far", Federation: fed, Server: "https://127.0.0.1:1"}); err != nil {
		t.Fatal(err)
	}
	old := credential(t, hostCluster, "far")
	result, err := rotate(t, h, m, federate.RotateOptions{Name: "far"})
	if err != nil {
		t.Fatal(err)
	}
	want := `[member: endpoint "https://127.0.0.1:1": could not be tried from here: dial tcp 127.0.0.1:1: connect: connection refused; the credential was tried at ` + m.Server() + "]"
	if got := fmt.Sprint(result.Notes); got != want {
		t.Errorf("notes %s, want %s", got, want)
	}
	for _, access := range []*kubeconfig.Access{old, credential(t, hostCluster, "far")} {
		here := rest.AnonymousClientConfig(west.Config())
		here.BearerToken = access.Token
		_, err := connectMember(t, here).ID(t.Context())
		if revoked := access == old; apierrors.IsUnauthorized(err) != revoked || err == nil == revoked {
			t.Errorf("revoked: %v, and the member says %v", revoked, err)
		}
	}
	if _, err := unjoin(t, h, m, federate.UnjoinOptions{Name: "far"}); err != nil {
		t.Fatal(err)
	}
}
