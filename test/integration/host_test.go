//go:build unix

package integration

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

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
	_, joinErr := federate.PlanJoin(t.Context(), h, m, federate.JoinOptions{Name: "x", Federation: "prod"})
	_, unjoinErr := federate.PlanUnjoin(t.Context(), h, m, federate.UnjoinOptions{Name: "x"})
	for _, err := range []error{joinErr, unjoinErr} {
		wantError(t, err, "host: this cluster is not a host yet: it does not serve kubefederate.io: choose the host, which keeps federations and members, with --context; or make this cluster a host: kubectl federate init")
		if !errors.Is(err, host.ErrNotInitialised) {
			t.Errorf("error %T: %v", err, err)
		}
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
	stale := hostCluster.Config()
	stale.CertData, stale.KeyData, stale.BearerToken = nil, nil, "very-secret"
	for _, tc := range []struct {
		h    *host.Cluster
		want string
	}{
		{h, text("member")},
		{connectHost(t, nowhere), text("host") + "\n" + text("member")},
		{connectHost(t, stale), "host: " + h.Server() + " does not accept the credential of the context (401): log in again or choose another context\n" + text("member")},
	} {
		_, err := federate.PlanJoin(t.Context(), tc.h, m, federate.JoinOptions{Name: "x", Federation: "prod"})
		wantError(t, err, tc.want)
	}
	_, err := federate.PlanUnjoin(t.Context(), h, m, federate.UnjoinOptions{Name: "x"})
	wantError(t, err, text("member")+"; if the cluster is gone for good, remove only the host's record: kubectl federate unjoin x --force")
}

// TestWebhookDown explains what the API server says when it cannot ask the webhook, without the word that its path ends in, and
// that there is none.
func TestWebhookDown(t *testing.T) {
	c := addMember(t, env.Spec{Name: "unguarded", ControllerManager: true})
	manager := install(t, c)
	p := newPairOf(t, c, joinFleet(t).Cluster("west"), "down", nil)
	manager.Close()
	_, err := p.planJoin(federate.JoinOptions{})
	if !errors.Is(err, host.ErrWebhookDown) {
		t.Fatalf("error %v", err)
	}
	wantError(t, err, strings.ReplaceAll(`host: the webhook that judges members does not answer, so the API server refuses every change of a federation or a member `+
		`("memberclusters.kubefederate.io": failed to call webhook: Post "https://ADDRESS/validate/memberclusters/...?timeout=5s": dial tcp ADDRESS: connect: connection refused): `+
		`look at the log of the manager that serves there`, "ADDRESS", strings.TrimPrefix(manager.URL, "https://")))
	if err := clientset(t, c.Config()).AdmissionregistrationV1().ValidatingWebhookConfigurations().Delete(t.Context(), manifests.WebhookConfiguration, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	env.Eventually(t, "the API server asks no webhook", func(ctx context.Context) error {
		if err := p.h.Enforcing(ctx); !errors.Is(err, host.ErrNotEnforcing) {
			return fmt.Errorf("enforcing: %w", err)
		}
		return nil
	})
	_, err = p.planJoin(federate.JoinOptions{})
	wantError(t, err, "host: the webhook does not judge members, so the rules of federations would not hold: install it again: kubectl federate init")
	if !errors.Is(err, host.ErrNotEnforcing) {
		t.Errorf("error %T: %v", err, err)
	}
}

// TestRuleRefusals has the refusals of the host and of the member together, before anything is written.
func TestRuleRefusals(t *testing.T) {
	p := newPair(t, "ruled", map[string]any{
		"labels": []any{
			map[string]any{"key": "example.com/team", "required": true, "message": "name the owning team"},
			map[string]any{"key": "example.com/tier", "values": []any{"gold"}},
		},
		"kubernetesVersions": ">=1.90",
	})
	p.refused(federate.JoinOptions{Labels: map[string]string{"example.com/tier": "tin"}}, `cannot join "ruled" to federation "ruled"; nothing was changed
* host: MemberCluster "ruled": metadata.labels[example.com/team]: Required value: is required by federation "ruled"; name the owning team: choose one with --labels example.com/team=VALUE
* host: MemberCluster "ruled": metadata.labels[example.com/tier]: Unsupported value: "tin": supported values: "gold": choose one with --labels example.com/tier=VALUE
* host: MemberCluster "ruled": spec.joinedWith.kubernetesVersion: Invalid value: "v1.36.3": federation "ruled" takes >=1.90`)
	p.refused(federate.JoinOptions{Federation: "rulde"}, `cannot join "ruled" to federation "rulde"; nothing was changed
* host: MemberCluster "ruled": metadata.labels[kubefederate.io/federation]: Not found: "rulde": no federation has this name; did you mean "ruled"?`)
	p.refused(federate.JoinOptions{Federation: "rulde", DryRun: cluster.DryRunClient}, `cannot join "ruled" to federation "rulde"; nothing was changed
* host: Federation "rulde": not found: list the federations: kubectl get federations; or create it: kubectl federate create federation rulde`)
	p.refused(federate.JoinOptions{Name: "Ru/led"}, `cannot join "Ru/led" to federation "ruled"; nothing was changed
* host: MemberCluster "Ru/led": the name must be a DNS-1123 label: at most 63 lower-case letters, digits and '-', starting and ending with a letter or digit`)
	p.unchanged()
}
