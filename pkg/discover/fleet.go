package discover

import (
	"cmp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

// FromFleet is the source of the clusters of a Fleet that runs without Rancher.
const FromFleet SourceName = "fleet"

var (
	fleetClusters = foreignKind(schema.GroupVersion{Group: "fleet.cattle.io", Version: "v1alpha1"}, "clusters", "Cluster")
	// fleetNamespaces are those whose Secrets Fleet reads for Clusters in other namespaces.
	fleetNamespaces = []string{"fleet-local", "fleet-default", "cattle-fleet-system", "fleet-system", "cattle-fleet-clusters-system", "fleet-clusters-system"}
)

const (
	// rancherClusterLabel is on the Clusters that Rancher makes for Fleet: they are in Rancher's source.
	rancherClusterLabel = "management.cattle.io/cluster-name"
	// fleetClusterNamespaces is how the namespaces begin that Fleet makes for clusters.
	fleetClusterNamespaces = "cluster-"
)

// fleetSource reads Clusters whose objects name a Secret with a kubeconfig. An agent that registered itself left none.
var fleetSource = SourceType{
	Name: FromFleet, Kind: "Fleet", Title: "Fleet", Help: "clusters.fleet.cattle.io on the host, of a Fleet without Rancher",
	Kinds:      [][]cluster.Resource{{fleetClusters}},
	Read:       func(objects [][]unstructured.Unstructured) []Candidate { return fleetCandidates(objects[0]) },
	Credential: inKey(valueKey),
	Renewal:    "put a kubeconfig that is valid into it",
	Open:       func(e Environment) Source { return objectSource{e, FromFleet} },
}

func fleetCandidates(objects []unstructured.Unstructured) []Candidate {
	var candidates []Candidate
	for _, o := range standing(objects) {
		if o.GetLabels()[rancherClusterLabel] != "" {
			continue
		}
		c := candidateOf(FromFleet, fleetClusters, o)
		namespace := cmp.Or(text(o, "spec", "kubeConfigSecretNamespace"), o.GetNamespace())
		switch name := text(o, "spec", "kubeConfigSecret"); {
		case name == "":
			c.Err = noCredential("Fleet has no credential of it: its agent registered itself (spec.kubeConfigSecret is empty); join it by a context of your own")
		case namespace != o.GetNamespace() && !slices.Contains(fleetNamespaces, namespace) && !strings.HasPrefix(namespace, fleetClusterNamespaces):
			c.Err = noCredential("spec.kubeConfigSecretNamespace names %q, of which neither Fleet nor discovery reads a Secret for it: "+
				"put the Secret into the object's own namespace", cluster.Shortened(namespace))
		default:
			c.Secret = secretRef(namespace, name)
		}
		candidates = append(candidates, c)
	}
	return candidates
}
