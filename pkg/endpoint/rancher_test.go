package endpoint

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
