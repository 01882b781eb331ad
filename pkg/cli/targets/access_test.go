package targets

import (
	"testing"

	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
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
