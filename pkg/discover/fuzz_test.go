package discover

import (
	"encoding/json"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubefederate/kubectl-federate/pkg/cluster"
)

// FuzzForeign reads objects and kubeconfigs that hold anything: kinds without a schema take any fields, and a Secret any bytes.
// Nothing of it ends the process, and what is taken is a way to a server.
func FuzzForeign(f *testing.F) {
	for _, seed := range []string{
		`{"metadata":{"name":"c-m-k2x9wq7d","labels":{"kubefederate.io/federation":"emea"}},"spec":{"displayName":"a","fleetWorkspaceName":"f","localClusterAuthEndpoint":{"enabled":true,"fqdn":"a:1","caCerts":"x"}},"status":{"conditions":[{"type":"Connected","status":"False"}]}}`,
		`{"metadata":{"name":"a","namespace":"f","ownerReferences":[{"kind":"Cluster","apiVersion":"provisioning.cattle.io/v1"}]},"status":{"clusterName":"local","phase":"Failed","conditions":[{"type":{}}]}}`,
		`{"apiVersion":"v1","kind":"Config","current-context":"a","contexts":[{"name":"a","context":{"cluster":"a","user":"a"}}],"clusters":[{"name":"a","cluster":{"server":"https://a"}}],"users":[{"name":"a","user":{"token":"e30.eyJleHAiOjF9.x"}}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if access, err := parse(data, cluster.Ref{Resource: cluster.Secrets, Namespace: "n", Name: "s"}, time.Unix(0, 0), FromRancher); err == nil {
			rancherAddress{"https://rancher.example.com", string(data)}.apply(access)
			if access.Server == "" {
				t.Error("taken, and leads nowhere")
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
				}
			}
		}
	})
}
