package discover

import (
	"encoding/base64"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

// TestClusterAPICandidates reads Clusters of both versions.
func TestClusterAPICandidates(t *testing.T) {
	t.Parallel()
	const beta2, beta1 = "apiVersion: cluster.x-k8s.io/v1beta2\nkind: Cluster\n", "apiVersion: cluster.x-k8s.io/v1beta1\nkind: Cluster\n"
	var objects []unstructured.Unstructured
	for _, text := range []string{
		beta2 + "metadata: {name: up, namespace: team-x, labels: {kubefederate.io/federation: emea}}\nstatus: {phase: Provisioned, initialization: {controlPlaneInitialized: true}}",
		beta1 + "metadata: {name: up, namespace: team-o}\nstatus: {phase: Provisioned, controlPlaneReady: true}",
		beta2 + "metadata: {name: early, namespace: team-x}\nstatus: {phase: Provisioning}",
		beta2 + "metadata: {name: bare, namespace: team-x}",
		beta2 + "metadata: {name: broken, namespace: team-x}\nstatus: {phase: Failed, initialization: {controlPlaneInitialized: true}}",
		beta2 + `metadata: {name: going, namespace: team-x, deletionTimestamp: "2026-01-01T00:00:00Z"}`,
		beta2 + "metadata: {name: ranchers, namespace: fleet-default, ownerReferences: [{apiVersion: provisioning.cattle.io/v1, kind: Cluster, name: ranchers, uid: x}]}",
		beta2 + "metadata: {name: wrong, namespace: team-z}\nstatus: text",
	} {
		objects = append(objects, object(t, text))
	}
	want := []string{
		"cluster-api:team-o/up; clusters.cluster.x-k8s.io/up --namespace team-o; Secret team-o/up-kubeconfig",
		"cluster-api:team-x/bare; clusters.cluster.x-k8s.io/bare --namespace team-x; Secret team-x/bare-kubeconfig; hint: Cluster API reports no control plane yet",
		"cluster-api:team-x/broken; clusters.cluster.x-k8s.io/broken --namespace team-x; Secret team-x/broken-kubeconfig; hint: Cluster API reports phase Failed",
		"cluster-api:team-x/early; clusters.cluster.x-k8s.io/early --namespace team-x; Secret team-x/early-kubeconfig; hint: Cluster API reports phase Provisioning",
		"cluster-api:team-x/up; clusters.cluster.x-k8s.io/up --namespace team-x asks for emea; Secret team-x/up-kubeconfig",
		"cluster-api:team-z/wrong; clusters.cluster.x-k8s.io/wrong --namespace team-z; Secret team-z/wrong-kubeconfig; hint: Cluster API reports no control plane yet",
	}
	var got []string
	for _, c := range clusterAPICandidates(objects) {
		got = append(got, describe(c))
		if c.secretGroup != "cluster.x-k8s.io" {
			t.Errorf("%s takes the Secret of a Cluster of %q", c, c.secretGroup)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestParse refuses what a Secret must not make us do, and a credential that has ended.
func TestParse(t *testing.T) {
	t.Parallel()
	config := func(user string) string {
		return "apiVersion: v1\nkind: Config\ncurrent-context: x\ncontexts: [{name: x, context: {cluster: x, user: x}}]\n" +
			"clusters: [{name: x, cluster: {server: 'https://10.0.0.1:6443'}}]\nusers: [{name: x, user: " + user + "}]\n"
	}
	jwt := func(payload string) string {
		return "e30." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".c2ln"
	}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct{ name, data, want string }{
		{"a token", config("{token: secret}"), ""},
		{"a token that will end", config("{token: " + jwt(`{"exp":1767225601}`) + "}"), ""},
		{"a token that has ended", config("{token: " + jwt(`{"exp":1767225600}`) + "}"),
			`host: Secret "team-x/a-kubeconfig": its credential expired at 2026-01-01T00:00:00Z; run this again when Cluster API has written a new one`},
		{"a command", config("{exec: {apiVersion: client.authentication.k8s.io/v1, command: touch, interactiveMode: Never}}"),
			`host: Secret "team-x/a-kubeconfig": kubeconfig refused: user.exec would run a command: use an inline token or certificate`},
		{"a provider", config("{token: t, auth-provider: {name: oidc}}"),
			`host: Secret "team-x/a-kubeconfig": kubeconfig refused: user.auth-provider would run code of a provider: use an inline token or certificate`},
		{"a file", config("{tokenFile: ./token-file}"),
			`host: Secret "team-x/a-kubeconfig": kubeconfig refused: user.tokenFile would read a file: use inline data`},
		{"nothing of the kind", "hello", `host: Secret "team-x/a-kubeconfig": kubeconfig refused: it is not a kubeconfig of version v1`},
		{"empty", "", `host: Secret "team-x/a-kubeconfig": kubeconfig refused: current-context is not set`},
	} {
		got := ""
		if _, err := parse([]byte(tt.data), cluster.Ref{Resource: cluster.Secrets, Namespace: "team-x", Name: "a-kubeconfig"}, now, FromClusterAPI); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.name, got, tt.want)
		}
	}
}

// TestExplain pins what a person reads of a cluster that another system's Secret does not lead to.
func TestExplain(t *testing.T) {
	t.Parallel()
	secret := cluster.Ref{Resource: cluster.Secrets, Namespace: "team-x", Name: "a-kubeconfig"}
	fault := func(f cluster.Fault) error {
		return &cluster.Error{Side: cluster.Member, Server: "https://10.0.0.1:6443", Verb: "get", Object: cluster.IdentityNamespace, Fault: f, Err: errors.New("cause")}
	}
	for _, tt := range []struct {
		name string
		s    Observation
		want string
	}{
		{"ended", Observation{Candidate: Candidate{Source: FromClusterAPI, Secret: secret}, Err: fault(cluster.FaultUnauthorized)},
			`member: https://10.0.0.1:6443 does not accept the credential in Secret "team-x/a-kubeconfig" (401): it has expired or was revoked; run this again when Cluster API has written a new one`},
		{"no answer", Observation{Candidate: Candidate{Source: FromRancher, Secret: secret, Hint: "Rancher reports that it is not connected"}, Err: fault(cluster.FaultUnreachable)},
			`member: no answer from https://10.0.0.1:6443: cause; check that this machine can reach it (Rancher reports that it is not connected)`},
		{"another CA", Observation{Candidate: Candidate{Source: FromRancher, Secret: secret}, Err: fault(cluster.FaultCertificate)},
			`member: the certificate of https://10.0.0.1:6443 does not verify: cause; the CA in Secret "team-x/a-kubeconfig" did not sign it`},
		{"forbidden", Observation{Candidate: Candidate{Source: FromRancher, Secret: secret}, Err: fault(cluster.FaultForbidden)}, `member: get Namespace "kube-system": cause`},
		{"a context", Observation{Candidate: Candidate{Source: FromKubeconfig}, Err: fault(cluster.FaultUnauthorized)},
			`member: https://10.0.0.1:6443 does not accept the credential of the context (401): log in again or choose another context`},
		{"a Secret that is not there", Observation{Candidate: Candidate{Source: FromClusterAPI, Secret: secret, Hint: "Cluster API reports phase Provisioning"}, Err: errors.New("host: not found")},
			`host: not found (Cluster API reports phase Provisioning)`},
	} {
		if got := tt.s.explain().Error(); got != tt.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.name, got, tt.want)
		}
	}
}
