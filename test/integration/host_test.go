//go:build unix

package integration

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/pkg/host"
	"github.com/kubefederate/kubectl-federate/test/env"
)

// TestNotInitialised is about a cluster that is not a host.
func TestNotInitialised(t *testing.T) {
	west := joinFleet(t).Cluster("west")
	joinHost(t)
	h, m := connectHost(t, west.Config()), connectMember(t, west.Config())
	_, err := federate.PlanJoin(t.Context(), h, m, federate.JoinOptions{Name: "x", Federation: "prod"})
	const want = "host: this cluster is not a host yet: it does not serve kubefederate.io: install it: kubectl federate init, or choose another --context"
	if !errors.Is(err, host.ErrNotInitialised) || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	_, err = federate.PlanUnjoin(t.Context(), h, m, federate.UnjoinOptions{Name: "x"})
	if !errors.Is(err, host.ErrNotInitialised) || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

// TestUnreachable names the side that does not answer, the endpoint, and what to do; both sides when neither does.
func TestUnreachable(t *testing.T) {
	hostCluster := joinHost(t)
	nowhere := &rest.Config{Host: "https://127.0.0.1:1"}
	h, m := connectHost(t, hostCluster.Config()), connectMember(t, nowhere)
	text := func(side string) string {
		return side + `: no answer from https://127.0.0.1:1: dial tcp 127.0.0.1:1: connect: connection refused: check the endpoint of the context and that this machine can reach it`
	}
	_, err := federate.PlanJoin(t.Context(), h, m, federate.JoinOptions{Name: "x", Federation: "prod"})
	if want := text("member"); err == nil || err.Error() != want {
		t.Errorf("join: %v, want %s", err, want)
	}
	_, err = federate.PlanJoin(t.Context(), connectHost(t, nowhere), m, federate.JoinOptions{Name: "x", Federation: "prod"})
	if want := text("host") + "\n" + text("member"); err == nil || err.Error() != want {
		t.Errorf("join: %v, want %s", err, want)
	}
	_, err = federate.PlanUnjoin(t.Context(), h, m, federate.UnjoinOptions{Name: "x"})
	if want := text("member") + "; if the cluster is gone for good, remove only the host's record: kubectl federate unjoin x --force"; err == nil || err.Error() != want {
		t.Errorf("unjoin: %v, want %s", err, want)
	}
	stale := hostCluster.Config()
	stale.CertData, stale.KeyData, stale.BearerToken = nil, nil, "very-secret"
	_, err = federate.PlanJoin(t.Context(), connectHost(t, stale), m, federate.JoinOptions{Name: "x", Federation: "prod"})
	if want := "host: " + h.Server() + " does not accept the credential of the context (401): log in again or choose another context\n" +
		text("member"); err == nil || err.Error() != want {
		t.Errorf("join: %v, want %s", err, want)
	}
}

// TestWebhookDown explains what the API server says when it cannot ask the webhook, and that there
// is none.
func TestWebhookDown(t *testing.T) {
	joinFleet(t)
	c, err := joinFleet(t).Add(t.Context(), env.Spec{Name: "unguarded", ControllerManager: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	west := joinFleet(t).Cluster("west")
	manager := install(t, c)
	fed := federation(t, c, "down", map[string]any{})
	manager.Close()
	h, m := connectHost(t, c.Config()), connectMember(t, west.Config())
	_, err = federate.PlanJoin(t.Context(), h, m, federate.JoinOptions{Name: "down", Federation: fed})
	if !errors.Is(err, host.ErrWebhookDown) {
		t.Fatalf("error %v", err)
	}
	got := strings.ReplaceAll(err.Error(), strings.TrimPrefix(manager.URL, "https://"), "ADDRESS")
	const want = `host: the webhook that judges members does not answer, so the API server refuses every change of a federation or a member ` +
		`("memberclusters.kubefederate.io": failed to call webhook: Post "https://ADDRESS/validate/memberclusters?timeout=5s": dial tcp ADDRESS: connect: connection refused): ` +
		`see that its pods run: kubectl get pods --namespace kubefederate-system`
	if got != want {
		t.Errorf("error:\n%s\nwant:\n%s", got, want)
	}
	if err := clientset(t, c.Config()).AdmissionregistrationV1().ValidatingWebhookConfigurations().Delete(t.Context(), manifests.WebhookConfiguration, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	env.Eventually(t, "the API server asks no webhook", func(ctx context.Context) error {
		if err := h.Enforcing(ctx); !errors.Is(err, host.ErrNotEnforcing) {
			return fmt.Errorf("enforcing: %w", err)
		}
		return nil
	})
	_, err = federate.PlanJoin(t.Context(), h, m, federate.JoinOptions{Name: "down", Federation: fed})
	if want := "host: the webhook does not judge members, so the rules of federations would not hold: install it again: kubectl federate init"; err == nil || err.Error() != want || !errors.Is(err, host.ErrNotEnforcing) {
		t.Errorf("error %v, want %s", err, want)
	}
}

// TestRuleRefusals has the refusals of the host and of the member together, before anything is written.
func TestRuleRefusals(t *testing.T) {
	hostCluster, west := joinHost(t), joinFleet(t).Cluster("west")
	snapshot(t, west)
	fed := federation(t, hostCluster, "ruled", map[string]any{
		"labels": []any{
			map[string]any{"key": "example.com/team", "required": true, "message": "name the owning team"},
			map[string]any{"key": "example.com/tier", "values": []any{"gold"}},
		},
		"kubernetesVersions": ">=1.90",
	})
	before, hostBefore := snapshot(t, west), snapshot(t, hostCluster)
	h, m := connectHost(t, hostCluster.Config()), connectMember(t, west.Config())
	_, err := federate.PlanJoin(t.Context(), h, m, federate.JoinOptions{Name: "ruled", Federation: fed, Labels: map[string]string{"example.com/tier": "tin"}, TokenLifetime: time.Minute})
	wantRefusal(t, err, `cannot join "ruled" to federation "ruled"; nothing was changed
* member: token: a lifetime of 1m is shorter than API servers grant: ask for at least 10m with --token-lifetime
* host: MemberCluster "ruled": metadata.labels[example.com/team]: Required value: federation "ruled" asks for it; name the owning team
* host: MemberCluster "ruled": metadata.labels[example.com/tier]: Unsupported value: "tin": supported values: "gold"
* host: MemberCluster "ruled": spec.joinedWith.kubernetesVersion: Invalid value: "v1.36.3": federation "ruled" takes >=1.90`)
	_, err = federate.PlanJoin(t.Context(), h, m, federate.JoinOptions{Name: "ruled", Federation: "rulde"})
	wantRefusal(t, err, `cannot join "ruled" to federation "rulde"; nothing was changed
* host: MemberCluster "ruled": metadata.labels[kubefederate.io/federation]: Not found: "rulde": no federation has this name; did you mean "ruled"?`)
	_, err = federate.PlanJoin(t.Context(), h, m, federate.JoinOptions{Name: "ruled", Federation: "rulde", DryRun: cluster.DryRunClient})
	wantRefusal(t, err, `cannot join "ruled" to federation "rulde"; nothing was changed
* host: Federation "rulde": not found: list the federations: kubectl get federations; or create it: kubectl federate create federation rulde`)
	_, err = federate.PlanJoin(t.Context(), h, m, federate.JoinOptions{Name: "Ru/led", Federation: "ruled"})
	wantRefusal(t, err, `cannot join "Ru/led" to federation "ruled"; nothing was changed
* host: MemberCluster "Ru/led": the name must be a DNS-1123 label: at most 63 lower-case letters, digits and '-', starting and ending with a letter or digit`)
	becomes(t, "the member", before, west)
	becomes(t, "the host", hostBefore, hostCluster)
}
