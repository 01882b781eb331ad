package discover

import (
	"errors"
	"testing"

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
		beta2 + "metadata: {name: early, namespace: team-x}\nspec: {paused: true}\nstatus: {phase: Provisioning}",
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
		if c.Paused != (c.Name == "team-x/early") {
			t.Errorf("%s is paused: %t", c, c.Paused)
		}
		if c.secretGroup != "cluster.x-k8s.io" {
			t.Errorf("%s takes the Secret of a Cluster of %q", c, c.secretGroup)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
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
