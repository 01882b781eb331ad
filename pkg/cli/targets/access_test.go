package targets

import (
	"os"
	"path/filepath"
	"testing"

	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
)

// TestIsPluginUser recognises what `kubectl federate kubeconfig` wrote, also where the plugin's file has another name.
func TestIsPluginUser(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		exec *clientcmdapi.ExecConfig
		want bool
	}{
		"by its file":        {&clientcmdapi.ExecConfig{Command: "/bin/kubectl-federate", Args: []string{"credential", "a"}}, true},
		"on Windows":         {&clientcmdapi.ExecConfig{Command: "kubectl-federate.exe", Args: []string{"credential", "a"}}, true},
		"by another name":    {&clientcmdapi.ExecConfig{Command: "/opt/federate-v1", Args: []string{"credential", "a"}, InstallHint: InstallHint}, true},
		"another command":    {&clientcmdapi.ExecConfig{Command: "aws", Args: []string{"credential", "a"}}, false},
		"not the credential": {&clientcmdapi.ExecConfig{Command: "kubectl-federate", Args: []string{"get"}, InstallHint: InstallHint}, false},
		"no arguments":       {&clientcmdapi.ExecConfig{Command: "kubectl-federate", InstallHint: InstallHint}, false},
		"no command":         {nil, false},
	} {
		if got := IsPluginUser(&clientcmdapi.AuthInfo{Exec: tt.exec}); got != tt.want {
			t.Errorf("%s: %t", name, got)
		}
	}
	if IsPluginUser(nil) {
		t.Error("no user")
	}
}

// TestContextAt finds the context that leads to a server, where one does alone.
func TestContextAt(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "config")
	text := `clusters:
- {name: east, cluster: {server: "https://East.example.com:443/"}}
- {name: west, cluster: {server: "https://west.example.com:6443"}}
- {name: other, cluster: {server: "https://other.example.com", insecure-skip-tls-verify: true}}
contexts:
- {name: us-east, context: {cluster: east, user: a}}
- {name: west, context: {cluster: west, user: a}}
- {name: west-admin, context: {cluster: west, user: b}}
- {name: other, context: {cluster: other, user: b}}
- {name: dangling, context: {cluster: none}}
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f := &HostFlags{Kubeconfig: file}
	for name, tt := range map[string]struct {
		at   endpoint.Endpoint
		want string
	}{
		"one context":            {endpoint.Endpoint{Server: "https://east.example.com"}, "us-east"},
		"another network's":      {endpoint.Endpoint{Server: "https://east.example.com", CABundle: []byte("ca")}, ""},
		"two users":              {endpoint.Endpoint{Server: "https://west.example.com:6443"}, ""},
		"not verified":           {endpoint.Endpoint{Server: "https://other.example.com", InsecureSkipTLSVerify: true}, ""},
		"no context verifies it": {endpoint.Endpoint{Server: "https://other.example.com"}, ""},
		"no endpoint":            {},
	} {
		if got := f.ContextAt(tt.at.ServerKey()); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
	if got := (&HostFlags{Kubeconfig: file + "-absent"}).ContextAt(endpoint.Endpoint{Server: "https://east.example.com"}.ServerKey()); got != "" {
		t.Errorf("without a kubeconfig: %q", got)
	}
}
