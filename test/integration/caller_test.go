//go:build unix

package integration

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
	"github.com/kubefederate/kubectl-federate/test/env"
)

// TestCallerCredential searches every object of both sides for the caller's own credential.
func TestCallerCredential(t *testing.T) {
	p := newPair(t, "caller", nil)
	config := p.m.Config()
	secrets := []string{string(config.KeyData), string(config.CertData), base64.StdEncoding.EncodeToString(config.KeyData), base64.StdEncoding.EncodeToString(config.CertData)}
	p.joined(federate.JoinOptions{})
	for _, c := range []*env.Cluster{p.host, p.member} {
		everything := dump(t, c)
		if !strings.Contains(everything, v1alpha1.IdentityNamespace) {
			t.Fatalf("%s: the search reads nothing", c.Name)
		}
		for _, secret := range secrets {
			for _, text := range []string{secret, base64.StdEncoding.EncodeToString([]byte(secret))} {
				quoted, _ := json.Marshal(text)
				if strings.Contains(everything, strings.Trim(string(quoted), `"`)) {
					t.Errorf("%s: something of the caller's credential is stored", c.Name)
				}
			}
		}
	}
	// The search finds what is stored: the endpoint's CA is.
	ca := base64.StdEncoding.EncodeToString(config.CAData)
	if !strings.Contains(dump(t, p.host), ca) {
		t.Error("the search did not find the CA, which is stored")
	}
	p.left("caller")
}

// dump is every object of a cluster as JSON, with the contents of Secrets decoded as well.
func dump(t *testing.T, c *env.Cluster) string {
	t.Helper()
	var b strings.Builder
	lists, err := clientset(t, c.Config()).Discovery().ServerPreferredResources()
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range lists {
		for _, r := range list.APIResources {
			if !slices.Contains(r.Verbs, "list") || strings.Contains(r.Name, "/") {
				continue
			}
			path := "/apis/" + list.GroupVersion + "/" + r.Name
			if list.GroupVersion == "v1" {
				path = "/api/v1/" + r.Name
			}
			raw, err := clientset(t, c.Config()).RESTClient().Get().AbsPath(path).Do(t.Context()).Raw()
			if err != nil {
				t.Fatal(err)
			}
			b.Write(raw)
		}
	}
	secrets, err := clientset(t, c.Config()).CoreV1().Secrets("").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range secrets.Items {
		for _, data := range secrets.Items[i].Data {
			b.Write(data)
		}
	}
	return b.String()
}

// TestExecCredential joins with a kubeconfig whose credential comes from a command. That command is the
// caller's own; what is stored has none.
func TestExecCredential(t *testing.T) {
	p := newPair(t, "exec", nil)
	admin := p.member.Config()
	credentials, err := json.Marshal(map[string]any{
		"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
		"status": map[string]any{"clientCertificateData": string(admin.CertData), "clientKeyData": string(admin.KeyData)},
	})
	if err != nil {
		t.Fatal(err)
	}
	config := &rest.Config{Host: admin.Host, TLSClientConfig: rest.TLSClientConfig{CAData: admin.CAData}}
	config.ExecProvider = &clientcmdapi.ExecConfig{
		APIVersion: "client.authentication.k8s.io/v1", Command: "/bin/echo", Args: []string{string(credentials)},
		InteractiveMode: clientcmdapi.NeverExecInteractiveMode,
	}
	p.m = connectMember(t, config)
	p.joined(federate.JoinOptions{})
	if access := p.credential(); access.Token == "" || len(access.CertData) > 0 {
		t.Errorf("stored: %v", access)
	}
	p.left("exec")
}
