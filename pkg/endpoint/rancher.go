package endpoint

import (
	"net/url"
	"strings"
)

// RancherProxyID is Rancher's ID of the cluster, where a server is Rancher's proxy to it: https://<Rancher>/k8s/clusters/<ID>.
// It is empty for any other server.
func RancherProxyID(server string) string {
	u, err := url.Parse(server)
	if err != nil {
		return ""
	}
	id, found := strings.CutPrefix(strings.TrimSuffix(u.Path, "/"), "/k8s/clusters/")
	if !found || strings.Contains(id, "/") {
		return ""
	}
	return id
}
