package discover

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
)

// FromSecret is the source of Secrets that carry the federation label and hold a kubeconfig: those of vcluster, Kamaji, HyperShift and
// others, and those that GitOps writes.
const FromSecret SourceName = "secret"

var (
	// kubeconfigKeys are where systems put a kubeconfig: Cluster API, HyperShift and multicluster-runtime, vcluster, the
	// cluster inventory's consumers, Kamaji, Flux. Sveltos takes any.
	kubeconfigKeys = []string{valueKey, "kubeconfig", "config", "Config", "admin.conf", "value.yaml"}
	// kubeconfigSuffixes end the names of Secrets, after that of their cluster.
	kubeconfigSuffixes = []string{"-admin-kubeconfig", "-sveltos-kubeconfig", "-kubeconfig"}
)

// secretSource reads the Secrets with the federation label that are not Argo CD's, and stand for a cluster by themselves.
var secretSource = SourceType{
	Name: FromSecret, Kind: "Secret", Title: "a Secret", Help: "Secrets on the host that carry the federation label and hold one kubeconfig",
	Kinds: [][]cluster.Resource{{cluster.Secrets}},
	Select: cluster.ListOptions{
		Labels: v1alpha1.LabelFederation + "," + argoCDLabel + "!=cluster",
		Fields: "type!=" + v1alpha1.ConsumerCredentialType,
	},
	Read:       func(objects [][]unstructured.Unstructured) []Candidate { return secretCandidates(objects[0]) },
	Credential: secretCredential,
	Renewal:    "put a kubeconfig that is valid into it",
	Open:       func(e Environment) Source { return objectSource{e, FromSecret} },
}

// secretCandidates leaves out the credentials of members, which carry the label, too.
func secretCandidates(objects []unstructured.Unstructured) []Candidate {
	candidates := slices.DeleteFunc(ownSecrets(FromSecret, objects), func(c Candidate) bool { return c.Secret.Namespace == v1alpha1.CredentialsNamespace })
	for i := range candidates {
		c := &candidates[i]
		for _, suffix := range kubeconfigSuffixes {
			if name, found := strings.CutSuffix(c.Base, suffix); found && name != "" {
				c.Base = name
				break
			}
		}
		if name := c.Labels["vcluster-name"]; name != "" {
			c.Base = name
		}
	}
	return candidates
}

func secretCredential(_ *Candidate, secret *corev1.Secret) (*kubeconfig.Access, error) {
	var found []string
	for _, key := range kubeconfigKeys {
		if len(secret.Data[key]) > 0 {
			found = append(found, key)
		}
	}
	switch len(found) {
	case 0:
		return nil, noCredential("it has a kubeconfig in none of the keys %s", strings.Join(kubeconfigKeys, ", "))
	case 1:
	default:
		return nil, noCredential("it has something in the keys %s, and nothing says which is the kubeconfig: leave one of them", strings.Join(found, ", "))
	}
	access, err := kubeconfig.Parse(secret.Data[found[0]])
	if err != nil {
		return nil, err
	}
	if host := endpoint.HostOf(access.Server); host == "localhost" {
		return nil, noCredential("its server %s is the machine that reads it, and not the cluster: put the cluster's own address into it; "+
			"for vcluster, set exportKubeConfig.server", access.Server)
	}
	return access, nil
}
