package discover

import (
	"encoding/json"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
)

// FuzzForeign reads objects and Secrets that hold anything: kinds without a schema take any fields, and a Secret any bytes.
// Nothing of it ends the process, and what is taken is a way to a server with one inline credential.
func FuzzForeign(f *testing.F) {
	for _, seed := range []string{
		`{"metadata":{"name":"c-m-k2x9wq7d","labels":{"kubefederate.io/federation":"emea"}},"spec":{"displayName":"a","fleetWorkspaceName":"f","localClusterAuthEndpoint":{"enabled":true,"fqdn":"a:1","caCerts":"x"}},"status":{"conditions":[{"type":"Connected","status":"False"}]}}`,
		`{"metadata":{"name":"a","namespace":"f","ownerReferences":[{"kind":"Cluster","apiVersion":"provisioning.cattle.io/v1"}]},"status":{"clusterName":"local","phase":"Failed","conditions":[{"type":{}}]}}`,
		`{"metadata":{"name":"a","namespace":"a"},"spec":{"apiEndpoint":"https://a","caBundle":"x","secretRef":{"name":"a"},"kubeConfigSecret":"a","disabledTLSValidations":["*"],"hubAcceptsClient":true,"managedClusterClientConfigs":[{"url":"a","caBundle":"eA=="},{}]},"status":{"tokenSecretRef":{"name":"a"}}}`,
		`{"metadata":{"name":"a","namespace":"a"},"spec":{"clusterManager":{"name":"x"}},"status":{"accessProviders":[{"name":"kubeconfig-secretreader","cluster":{"server":"https://a","extensions":[{"name":"client.authentication.k8s.io/exec","extension":{"name":"a","key":"k"}}]}}]}}`,
		`{"bearerToken":"t","tlsClientConfig":{"caData":"eA=="},"execProviderConfig":{}}`,
		`{"apiVersion":"v1","kind":"Config","current-context":"a","contexts":[{"name":"a","context":{"cluster":"a","user":"a"}}],"clusters":[{"name":"a","cluster":{"server":"https://a"}}],"users":[{"name":"a","user":{"token":"e30.eyJleHAiOjF9.x"}}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		secret := &corev1.Secret{Data: map[string][]byte{}, ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{accountSecretLabel: "true"}}}
		for _, key := range append([]string{"config", tokenKey, "server", "name", "k"}, append(caKeys, kubeconfigKeys[0])...) {
			secret.Data[key] = data
		}
		for _, source := range Sources {
			if source.Credential == nil {
				continue
			}
			c := Candidate{Source: source.Name, key: "k", server: endpoint.Endpoint{Server: "https://a"}}
			access, err := c.access(secret, time.Unix(0, 0))
			if err != nil {
				continue
			}
			if err := access.Validate(); err != nil {
				t.Errorf("%s takes what is refused: %v", source.Name, err)
			}
			if (rancherAddress{"https://rancher.example.com", string(data)}).apply(access); access.Server == "" {
				t.Errorf("%s: taken, and leads nowhere", source.Name)
			}
		}
		var o map[string]any
		if json.Unmarshal(data, &o) != nil {
			return
		}
		objects := []unstructured.Unstructured{{Object: o}}
		for _, source := range Sources {
			for i := range source.Kinds {
				kinds := make([][]unstructured.Unstructured, len(source.Kinds))
				kinds[i] = objects
				for _, c := range source.Read(kinds) {
					if c.Endpoint != nil && len(c.Endpoint.CABundle) == 0 {
						t.Errorf("%s is stored at %s without a CA", c, c.Endpoint.Server)
					}
					if c.Err == nil && c.Secret.Name == "" && c.Objects[0].Name != "" && source.Name != FromRancher {
						t.Errorf("%s has neither a Secret nor an error", c)
					}
				}
			}
		}
	})
}
