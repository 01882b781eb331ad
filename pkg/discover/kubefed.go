package discover

import (
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
)

// FromKubeFed is the source of the clusters of a KubeFed, which may not run any more.
const FromKubeFed SourceName = "kubefed"

var kubeFedClusters = foreignKind(schema.GroupVersion{Group: "core.kubefed.io", Version: "v1beta1"}, "kubefedclusters", "KubeFedCluster")

// kubeFedSource reads KubeFedClusters, whose objects say where the cluster is, with a CA, and whose Secrets hold a token.
var kubeFedSource = SourceType{
	Name: FromKubeFed, Kind: "KubeFed", Title: "KubeFed", Help: "kubefedclusters.core.kubefed.io on the host",
	Kinds:      [][]cluster.Resource{{kubeFedClusters}},
	Read:       func(objects [][]unstructured.Unstructured) []Candidate { return kubeFedCandidates(objects[0]) },
	Credential: tokenAt,
	Renewal:    "put a token that is valid into it",
	Open:       func(e Environment) Source { return objectSource{e, FromKubeFed} },
}

func kubeFedCandidates(objects []unstructured.Unstructured) []Candidate {
	var candidates []Candidate
	for _, o := range standing(objects) {
		c := candidateOf(FromKubeFed, kubeFedClusters, o)
		c.secretGroup = kubeFedClusters.Group // a token of another system's is not sent to the server that this object names
		c.server = endpoint.Endpoint{Server: text(o, "spec", "apiEndpoint"), ProxyURL: text(o, "spec", "proxyURL")}
		c.server.CABundle, c.Err = bytesIn(o, "spec", "caBundle")
		switch name := text(o, "spec", "secretRef", "name"); {
		case name != "":
			c.Secret = secretRef(o.GetNamespace(), name)
		case c.Err == nil:
			c.Err = noCredential("KubeFed has no credential of it: the object has no spec.secretRef.name; join it by a context of your own")
		}
		if skipped, _, _ := unstructured.NestedStringSlice(o.Object, "spec", "disabledTLSValidations"); len(skipped) > 0 {
			c.Hint = "KubeFed does not verify all of its certificate, by spec.disabledTLSValidations; discovery verifies it, so give it one that verifies: " +
				cluster.Shortened(strings.Join(skipped, ", "))
		}
		candidates = append(candidates, c)
	}
	return candidates
}
