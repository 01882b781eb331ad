package discover

import (
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

// FromClusterAPI is the source of Cluster API's clusters on the host.
const FromClusterAPI SourceName = "cluster-api"

// clusterAPIClusters are Cluster API's clusters, the newest version first.
var clusterAPIClusters = []cluster.Resource{
	foreignKind(schema.GroupVersion{Group: "cluster.x-k8s.io", Version: "v1beta2"}, "clusters", "Cluster"),
	foreignKind(schema.GroupVersion{Group: "cluster.x-k8s.io", Version: "v1beta1"}, "clusters", "Cluster"),
}

// clusterAPISource reads Clusters by namespace and name. A cluster's kubeconfig is in the Secret <name>-kubeconfig in its
// namespace; it is an administrator's (system:masters), and is used to join and stored nowhere.
//
// Contract: https://cluster-api.sigs.k8s.io/developer/providers/contracts/control-plane
var clusterAPISource = SourceType{
	Name: FromClusterAPI, Kind: "ClusterAPI", Title: "Cluster API", Help: "clusters.cluster.x-k8s.io on the host",
	Kinds:      [][]cluster.Resource{clusterAPIClusters},
	Read:       func(objects [][]unstructured.Unstructured) []Candidate { return clusterAPICandidates(objects[0]) },
	Credential: inKey(valueKey),
	Renewal:    "run this again when Cluster API has written a new one",
	Open:       func(e Environment) Source { return objectSource{e, FromClusterAPI} },
}

// clusterAPICandidates are the candidates without what their Secrets hold. Clusters that are being deleted are left out,
// and so are those that Rancher made: they are in Rancher's source.
func clusterAPICandidates(objects []unstructured.Unstructured) []Candidate {
	var candidates []Candidate
	for _, o := range standing(objects) {
		if slices.ContainsFunc(o.GetOwnerReferences(), isRancherCluster) {
			continue
		}
		c := candidateOf(FromClusterAPI, clusterAPIClusters[0], o)
		c.Paused = isTrue(o, "spec", "paused")
		c.Secret, c.Hint, c.secretGroup = secretRef(o.GetNamespace(), o.GetName()+"-kubeconfig"), clusterAPIHint(o), clusterAPIClusters[0].Group
		candidates = append(candidates, c)
	}
	return candidates
}

func isRancherCluster(o metav1.OwnerReference) bool {
	return o.Kind == rancherProvisioned.Kind && strings.HasPrefix(o.APIVersion, rancherProvisioned.Group+"/")
}

// clusterAPIHint says that a cluster is not up yet, or has failed; empty when the object says neither. The control plane is
// reported in status.initialization by v1beta2, and in status.controlPlaneReady by v1beta1.
func clusterAPIHint(o *unstructured.Unstructured) string {
	phase := text(o, "status", "phase")
	up := isTrue(o, "status", "initialization", "controlPlaneInitialized") || isTrue(o, "status", "controlPlaneReady")
	switch {
	case !up && (phase == "" || phase == "Provisioned"):
		return "Cluster API reports no control plane yet"
	case !up || phase == "Failed":
		return "Cluster API reports phase " + phase
	}
	return ""
}
