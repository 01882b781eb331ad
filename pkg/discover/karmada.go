package discover

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
)

// FromKarmada is the source of the clusters of a Karmada.
const FromKarmada SourceName = "karmada"

var karmadaClusters = foreignKind(schema.GroupVersion{Group: "cluster.karmada.io", Version: "v1alpha1"}, "clusters", "Cluster")

// karmadaSource reads Clusters, which Karmada's own API server has: their objects say where the cluster is, and their Secrets hold a
// token and a CA. A cluster in mode Pull may have none: only its agent reaches it then.
var karmadaSource = SourceType{
	Name: FromKarmada, Title: "Karmada", Help: "clusters.cluster.karmada.io; --source-context names Karmada's API server",
	Kinds:       [][]cluster.Resource{{karmadaClusters}},
	ClusterWide: []cluster.Resource{karmadaClusters},
	Read:        func(objects [][]unstructured.Unstructured) []Candidate { return karmadaCandidates(objects[0]) },
	Credential:  tokenAt,
	Renewal:     "register the cluster with Karmada anew",
	Open:        func(e Environment) Source { return objectSource{e, FromKarmada} },
}

func karmadaCandidates(objects []unstructured.Unstructured) []Candidate {
	var candidates []Candidate
	for _, o := range standing(objects) {
		c := candidateOf(FromKarmada, karmadaClusters, o)
		c.secretGroup = karmadaClusters.Group // a token of another system's is not sent to the server that this object names
		c.server = endpoint.Endpoint{Server: text(o, "spec", "apiEndpoint"), ProxyURL: text(o, "spec", "proxyURL")}
		namespace, name := text(o, "spec", "secretRef", "namespace"), text(o, "spec", "secretRef", "name")
		switch {
		case isTrue(o, "spec", "insecureSkipTLSVerification"):
			c.Err = noCredential("Karmada does not verify its certificate (spec.insecureSkipTLSVerification), and discovery sends no credential " +
				"to a server that is not verified: give Karmada the CA, or join it by a context of your own")
		case namespace != "" && name != "":
			c.Secret = secretRef(namespace, name)
		case text(o, "spec", "syncMode") == "Pull":
			c.Err = noCredential("Karmada has no credential of it: in mode Pull its agent reports none with --report-secrets=None; join it by a context of your own")
		default:
			c.Err = noCredential("Karmada has no credential of it: the object has no spec.secretRef; join it by a context of your own")
		}
		if headers, _, _ := unstructured.NestedMap(o.Object, "spec", "proxyHeader"); c.Err == nil && len(headers) > 0 {
			c.Err = noCredential("Karmada reaches it through a proxy with headers of its own (spec.proxyHeader), which discovery does not send: join it by a context of your own")
		}
		if status, message := condition(o, "Ready"); status == "False" {
			c.Hint = hint("Karmada reports that it is not ready", message)
		}
		candidates = append(candidates, c)
	}
	return candidates
}
