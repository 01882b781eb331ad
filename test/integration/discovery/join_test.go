//go:build unix

package discovery

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kubefederate/kubectl-federate/manifests"
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/discover"
	"github.com/kubefederate/kubectl-federate/test/env"
)

// TestClustersJoinByThemselves has six clusters of six systems join by a label and consents. One of them is known to four systems, and
// joins once.
func TestClustersJoinByThemselves(t *testing.T) {
	l := start(t)
	const fed = "six"
	for _, name := range []string{"team-six", "fleet-six", "ocm", "argocd-six", "profiles-six"} {
		l.make(t, namespace(name))
	}
	members := map[string]*env.Cluster{}
	for _, name := range []string{"capi", "rancher", "ocm", "argocd", "profile", "plain"} {
		members[name] = add(t, env.Spec{Name: name})
	}
	cluster := func(name string) *env.Cluster { return members[name] }
	direct := outside(t, cluster("capi").Config())
	capi := kubeconfigAt(t, direct)
	hub := outside(t, cluster("ocm").Config())
	profile := outside(t, cluster("profile").Config())
	argo := outside(t, cluster("argocd").Config())
	token := func(name string) string { return serviceAccountToken(t, cluster(name), "cluster-admin") }
	labels := asks(fed, "env", "test")
	objects := []client.Object{
		object("cluster.x-k8s.io/v1beta2", "Cluster", "team-six", "capi", labels, nil),
		secret("team-six", "capi-kubeconfig", nil, map[string]string{"value": capi}),
		// The same cluster, by three other systems.
		object("management.cattle.io/v3", "Cluster", "", "c-m-again001", labels, map[string]any{"spec": map[string]any{"displayName": "again", "fleetWorkspaceName": "fleet-six"}}),
		object("provisioning.cattle.io/v1", "Cluster", "fleet-six", "again", nil, map[string]any{"status": map[string]any{"clusterName": "c-m-again001", "clientSecretName": "again-kubeconfig"}}),
		secret("fleet-six", "again-kubeconfig", nil, map[string]string{"value": capi}),
		secret("team-six", "again-plain", labels, map[string]string{"kubeconfig": capi}),
		secret("argocd-six", "again-argo", merge(labels, map[string]string{"argocd.argoproj.io/secret-type": "cluster"}), map[string]string{
			"name": "again-argo", "server": direct.Host, "config": argoConfig(token("capi"), direct.CAData),
		}),

		object("management.cattle.io/v3", "Cluster", "", "c-m-rancher1", labels, map[string]any{"spec": map[string]any{"displayName": "rancher", "fleetWorkspaceName": "fleet-six"}}),
		object("provisioning.cattle.io/v1", "Cluster", "fleet-six", "rancher", nil, map[string]any{"status": map[string]any{"clusterName": "c-m-rancher1", "clientSecretName": "rancher-kubeconfig"}}),
		secret("fleet-six", "rancher-kubeconfig", nil, map[string]string{"value": kubeconfig(t, cluster("rancher"))}),

		object("cluster.open-cluster-management.io/v1", "ManagedCluster", "", "ocm", labels, map[string]any{"spec": map[string]any{
			"managedClusterClientConfigs": []any{map[string]any{"url": hub.Host, "caBundle": encoded(hub.CAData)}},
		}}),
		object("authentication.open-cluster-management.io/v1beta1", "ManagedServiceAccount", "ocm", "federate", nil, map[string]any{
			"status": map[string]any{"tokenSecretRef": map[string]any{"name": "federate"}},
		}),
		secret("ocm", "federate", map[string]string{"authentication.open-cluster-management.io/is-managed-serviceaccount": "true"}, map[string]string{"token": token("ocm"), "ca.crt": string(hub.CAData)}),

		secret("argocd-six", "argocd", merge(labels, map[string]string{"argocd.argoproj.io/secret-type": "cluster"}), map[string]string{
			"name": "argocd", "server": argo.Host, "config": argoConfig(token("argocd"), argo.CAData),
		}),

		object("multicluster.x-k8s.io/v1alpha1", "ClusterProfile", "profiles-six", "profile", merge(labels, map[string]string{"x-k8s.io/cluster-manager": "other"}), map[string]any{
			"spec": map[string]any{"displayName": "profile", "clusterManager": map[string]any{"name": "other"}},
			"status": map[string]any{"accessProviders": []any{map[string]any{"name": "kubeconfig-secretreader", "cluster": map[string]any{
				"server": profile.Host, "certificate-authority-data": encoded(profile.CAData),
				"extensions": []any{map[string]any{"name": "client.authentication.k8s.io/exec", "extension": map[string]any{"name": "profile-credential", "key": "value"}}},
			}}}},
		}),
		secret("profiles-six", "profile-credential", nil, map[string]string{"value": kubeconfigAt(t, profile)}),

		secret("team-six", "plain", labels, map[string]string{"kubeconfig": kubeconfig(t, cluster("plain"))}),
	}
	kind := func(kind v1alpha1.DiscoverySourceKind, namespaces ...string) v1alpha1.DiscoverySource {
		return v1alpha1.DiscoverySource{Name: string(kind), Kind: kind, Namespaces: namespaces, MemberLabels: []string{"env"}}
	}
	l.federation(t, fed, v1alpha1.Discovery{Sources: []v1alpha1.DiscoverySource{
		kind(v1alpha1.SourceClusterAPI, "team-six"), kind(v1alpha1.SourceRancher, "fleet-six"), kind(v1alpha1.SourceOpenClusterManagement),
		kind(v1alpha1.SourceArgoCD, "argocd-six"), kind(v1alpha1.SourceClusterProfile, "profiles-six"), kind(v1alpha1.SourceSecret, "team-six"),
	}})
	l.make(t, objects...)
	began := time.Now()
	consents := [][]*unstructured.Unstructured{
		manifests.DiscoverySecretBinding("team-six", "capi-kubeconfig"), manifests.DiscoveryNamespaceBinding("team-six"),
		manifests.DiscoveryNamespaceBinding("fleet-six"), manifests.DiscoveryNamespaceBinding("argocd-six"),
		manifests.DiscoverySecretBinding("ocm", "federate"), manifests.DiscoverySecretBinding("profiles-six", "profile-credential"),
		discovers(fed), // last: the first of several objects of a cluster that may be used has it join
	}
	l.grant(t, consents...)
	l.becomes(t, fed, "argocd by ArgoCD argocd-six/argocd: Pending", "capi by ClusterAPI team-six/capi: Pending", "ocm by OpenClusterManagement ocm: Pending",
		"plain by Secret team-six/plain: Pending", "profile by ClusterProfile profiles-six/profile: Pending", "rancher by Rancher c-m-rancher1: Pending")
	t.Logf("six clusters joined %s after the consents", time.Since(began).Round(100*time.Millisecond))
	l.reports(t, fed, "6 6 0")
}

// TestReportedBeforeJoined holds that the status says what was found while the joins go on.
func TestReportedBeforeJoined(t *testing.T) {
	l := start(t)
	const fed, ns = "slow", "team-slow"
	release := make(chan struct{})
	l.through(t, func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
		if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/memberclusters") && !r.URL.Query().Has("dryRun") {
			select {
			case <-release:
			case <-r.Context().Done():
			}
		}
		pass.ServeHTTP(w, r)
	})
	l.make(t, namespace(ns))
	l.federation(t, fed, v1alpha1.Discovery{Sources: []v1alpha1.DiscoverySource{{Kind: v1alpha1.SourceClusterAPI, Namespaces: []string{ns}}}})
	l.make(t, object("cluster.x-k8s.io/v1beta2", "Cluster", ns, "slow", asks(fed), nil),
		secret(ns, "slow-kubeconfig", nil, map[string]string{"value": kubeconfig(t, add(t, env.Spec{Name: "slow"}))}))
	l.grant(t, discovers(fed), manifests.DiscoverySecretBinding(ns, "slow-kubeconfig"))
	env.Eventually(t, "what was found is reported", func(ctx context.Context) error {
		found, err := l.notJoined(ctx, fed)
		if diff := cmp.Diff(map[string]reported{"cluster-api:team-slow/slow": {State: discover.Wants}}, found); err == nil && diff != "" {
			return fmt.Errorf("(-want +got)\n%s", diff)
		}
		return err
	})
	close(release)
	l.becomes(t, fed, "slow by ClusterAPI team-slow/slow: Pending")
	l.reports(t, fed, "1 1 0")
}
