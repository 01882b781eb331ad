package discover

import (
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/json"

	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
)

// FromArgoCD is the source of the clusters that an Argo CD deploys to.
const FromArgoCD SourceName = "argocd"

const (
	// argoCDLabel is on the Secrets of Argo CD, with the value cluster on those that stand for clusters.
	argoCDLabel = "argocd.argoproj.io/secret-type"
	// argoCDInCluster is how Argo CD calls the cluster that it runs in.
	argoCDInCluster = "https://kubernetes.default.svc"
)

// argoCDSource reads the Secrets that stand for Argo CD's clusters: name, server, and the credential as JSON.
//
// Shape: https://argo-cd.readthedocs.io/en/stable/operator-manual/declarative-setup/#clusters
var argoCDSource = SourceType{
	Name: FromArgoCD, Kind: "ArgoCD", Title: "Argo CD", Help: "Secrets of Argo CD's clusters on the host",
	Kinds:      [][]cluster.Resource{{cluster.Secrets}},
	Select:     cluster.ListOptions{Labels: argoCDLabel + "=cluster"},
	Read:       func(objects [][]unstructured.Unstructured) []Candidate { return ownSecrets(FromArgoCD, objects[0]) },
	Credential: argoCDCredential,
	Renewal:    "give Argo CD a new one, with argocd cluster rotate-auth",
	Open:       func(e Environment) Source { return objectSource{e, FromArgoCD} },
}

// ownSecrets are the candidates of Secrets that hold the credential themselves.
func ownSecrets(source SourceName, objects []unstructured.Unstructured) []Candidate {
	var candidates []Candidate
	for _, o := range standing(objects) {
		c := candidateOf(source, cluster.Secrets, o)
		c.Secret = secretRef(o.GetNamespace(), o.GetName())
		candidates = append(candidates, c)
	}
	return candidates
}

// argoCDConfig is what is read of the key config.
type argoCDConfig struct {
	Username    string `json:"username"`
	Password    string `json:"password"`
	BearerToken string `json:"bearerToken"`
	AWS         any    `json:"awsAuthConfig"`
	Exec        any    `json:"execProviderConfig"`
	ProxyURL    string `json:"proxyUrl"`
	TLS         struct {
		Insecure   bool   `json:"insecure"`
		ServerName string `json:"serverName"`
		CAData     []byte `json:"caData"`
		CertData   []byte `json:"certData"`
		KeyData    []byte `json:"keyData"`
	} `json:"tlsClientConfig"`
}

// argoCDCredential reads the cluster's name, too, which is in the Secret's data.
func argoCDCredential(c *Candidate, secret *corev1.Secret) (*kubeconfig.Access, error) {
	if name := string(secret.Data["name"]); name != "" {
		c.Base = name
	}
	server := strings.TrimRight(string(secret.Data["server"]), "/")
	if server == argoCDInCluster {
		return nil, noCredential("its server %s is the cluster that Argo CD runs in, of which it has no credential: join that by a context of your own", argoCDInCluster)
	}
	data, err := value(secret, "config")
	if err != nil {
		return nil, err
	}
	if len(data) > kubeconfig.MaxSize {
		return nil, fmt.Errorf("its key config is larger than %d KiB", kubeconfig.MaxSize>>10)
	}
	var config argoCDConfig
	if json.UnmarshalCaseSensitivePreserveInts(data, &config) != nil {
		return nil, errors.New("its key config is not the JSON that Argo CD takes")
	}
	const instead = "; give Argo CD a token (argocd cluster add), or join it by a context of your own"
	switch {
	case config.AWS != nil:
		return nil, noCredential("its credential comes from AWS (awsAuthConfig), which only Argo CD can use" + instead)
	case config.Exec != nil:
		return nil, noCredential("its credential comes from a command (execProviderConfig), and discovery runs none" + instead)
	case config.Username != "" || config.Password != "":
		return nil, noCredential("its credential is basic authentication, which discovery does not use" + instead)
	case config.TLS.Insecure:
		return nil, noCredential("tlsClientConfig.insecure leaves the server unverified, and discovery sends no credential to such a server: give Argo CD the CA, as tlsClientConfig.caData")
	}
	if namespaces := string(secret.Data["namespaces"]); namespaces != "" {
		c.Hint = "Argo CD uses its credential in the namespaces " + cluster.Quoted(cluster.Shortened(namespaces)) + " only"
	}
	access := &kubeconfig.Access{
		Endpoint: endpoint.Endpoint{Server: server, CABundle: config.TLS.CAData, TLSServerName: config.TLS.ServerName, ProxyURL: config.ProxyURL},
		Token:    config.BearerToken, CertData: config.TLS.CertData, KeyData: config.TLS.KeyData,
	}
	if err := access.Validate(); err != nil {
		return nil, err
	}
	return access, nil
}
