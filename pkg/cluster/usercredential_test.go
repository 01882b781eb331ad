package cluster_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/test/cases"
)

// TestUserCredential is the credential of every kind of user, without a request.
func TestUserCredential(t *testing.T) {
	t.Parallel()
	certificate, key := cases.KeyPair(time.Now().Add(time.Hour))
	folder := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	exec := func(answer string) *clientcmdapi.ExecConfig {
		return &clientcmdapi.ExecConfig{
			APIVersion: "client.authentication.k8s.io/v1", Command: "sh", Args: []string{"-c", answer}, InteractiveMode: clientcmdapi.NeverExecInteractiveMode,
		}
	}
	quoted := func(pem []byte) string { return strings.ReplaceAll(string(pem), "\n", `\n`) }
	const head = `{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{`
	for name, tt := range map[string]struct {
		config      rest.Config
		token, cert string
		err         string
	}{
		"a token":               {rest.Config{BearerToken: "abc"}, "abc", "", ""},
		"a token in a file":     {rest.Config{BearerTokenFile: file("token", "def\n")}, "def", "", ""},
		"a certificate":         {rest.Config{TLSClientConfig: rest.TLSClientConfig{CertData: certificate, KeyData: key}}, "", string(certificate), ""},
		"files":                 {rest.Config{TLSClientConfig: rest.TLSClientConfig{CertFile: file("cert", string(certificate)), KeyFile: file("key", string(key))}}, "", string(certificate), ""},
		"a command":             {rest.Config{ExecProvider: exec(`echo '` + head + `"token":"ghi"}}'`)}, "ghi", "", ""},
		"a command's key":       {rest.Config{ExecProvider: exec(`cat ` + file("answer", head+`"clientCertificateData":"`+quoted(certificate)+`","clientKeyData":"`+quoted(key)+`"}}`))}, "", string(certificate), ""},
		"a command that fails":  {rest.Config{ExecProvider: exec("exit 3")}, "", "", "member: no request could be sent to https://m.example.com: getting credentials: exec: executable sh failed with exit code 3: repair the user of the context in the kubeconfig"},
		"a password":            {rest.Config{Username: "ann", Password: "x"}, "", "", "member: no request could be sent to https://m.example.com: its user has a password, which Kubernetes does not take: repair the user of the context in the kubeconfig"},
		"another user besides":  {rest.Config{BearerToken: "abc", Impersonate: rest.ImpersonationConfig{UserName: "ann"}}, "abc", "", ""},
		"nothing":               {rest.Config{}, "", "", ""},
		"a token, unverified":   {rest.Config{BearerToken: "abc", TLSClientConfig: rest.TLSClientConfig{Insecure: true}}, "abc", "", ""},
		"a file that is absent": {rest.Config{BearerTokenFile: filepath.Join(folder, "absent")}, "", "", "member: no request could be sent to https://m.example.com: failed to read token file \"" + filepath.Join(folder, "absent") + "\": open " + filepath.Join(folder, "absent") + ": no such file or directory: repair the user of the context in the kubeconfig"},
	} {
		tt.config.Host = "https://m.example.com"
		got, err := cluster.UserCredentialOf(t.Context(), cluster.Member, &tt.config)
		if tt.err != "" {
			if err == nil || err.Error() != tt.err {
				t.Errorf("%s: %v\nwant %s", name, err, tt.err)
			}
			continue
		}
		if err != nil || got.Token != tt.token || string(got.CertData) != tt.cert || (len(got.KeyData) > 0) != (tt.cert != "") {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}
