package cluster

import "testing"

func TestRancherProxyID(t *testing.T) {
	t.Parallel()
	for server, want := range map[string]string{
		"https://rancher.example.com/k8s/clusters/c-m-k2x9wq7d":   "c-m-k2x9wq7d",
		"https://10.43.0.9/k8s/clusters/local/":                   "local",
		"https://rancher.example.com/k8s/clusters/":               "",
		"https://rancher.example.com/k8s/clusters/c-1/v1":         "",
		"https://rancher.example.com:6443":                        "",
		"https://rancher.example.com/x/k8s/clusters/c-m-k2x9wq7d": "",
		"https://%zz": "",
	} {
		if got := RancherProxyID(server); got != want {
			t.Errorf("%s: got %q, want %q", server, got, want)
		}
	}
}

func TestRefWord(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		ref  Ref
		want string
	}{
		{Ref{RancherClusters, "", "c-m-k2x9wq7d"}, "clusters.management.cattle.io/c-m-k2x9wq7d"},
		{Ref{ClusterAPIClusters[0], "team-x", "prod-a"}, "clusters.cluster.x-k8s.io/prod-a --namespace team-x"},
	} {
		if got := tt.ref.Word(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}
