package cli

import (
	"testing"

	"github.com/spf13/pflag"

	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
)

// TestExecInfo is what a client says of the server that it asks for.
func TestExecInfo(t *testing.T) {
	t.Parallel()
	const head = `{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","spec":`
	asked, err := readExecInfo(head + `{"interactive":false,"cluster":{"server":"https://a","tls-server-name":"b","certificate-authority-data":"eA==","proxy-url":"http://p","insecure-skip-tls-verify":true}}}`)
	want := endpoint.Endpoint{Server: "https://a", TLSServerName: "b", CABundle: []byte("x"), ProxyURL: "http://p", InsecureSkipTLSVerify: true}
	if err != nil || asked == nil || asked.Difference(want) != "" {
		t.Errorf("%+v, %v", asked, err)
	}
	for info, want := range map[string]string{
		"":           "",
		head + `{}}`: "",
		`{"apiVersion":"client.authentication.k8s.io/v1beta1"}`: `KUBERNETES_EXEC_INFO is of version "client.authentication.k8s.io/v1beta1": the kubeconfig must name "client.authentication.k8s.io/v1"`,
		`x`: "read KUBERNETES_EXEC_INFO: invalid character 'x' looking for beginning of value",
	} {
		asked, err := readExecInfo(info)
		if err != nil {
			if got := err.Error(); got != want {
				t.Errorf("%q: %s", info, got)
			}
		} else if want != "" || asked != nil {
			t.Errorf("%q: %+v", info, asked)
		}
	}
}

// TestCredentialOfAnotherServer refuses what would be sent to another server than the one that a client asks for.
func TestCredentialOfAnotherServer(t *testing.T) {
	t.Parallel()
	has := endpoint.Endpoint{Server: "https://a:443", TLSServerName: "a", ProxyURL: "http://p"}
	for name, tt := range map[string]struct {
		asked *endpoint.Endpoint
		want  string
	}{
		"none":           {nil, ""},
		"the same":       {&endpoint.Endpoint{Server: "https://a"}, ""},
		"another server": {&endpoint.Endpoint{Server: "https://b", TLSServerName: "a"}, "server"},
		"another CA":     {&endpoint.Endpoint{Server: "https://a", CABundle: []byte("x")}, "CA"},
		"another name":   {&endpoint.Endpoint{Server: "https://a", TLSServerName: "b"}, "TLS server name"},
		"unverified":     {&endpoint.Endpoint{Server: "https://a", InsecureSkipTLSVerify: true}, "TLS verification"},
	} {
		o := &credentialOptions{credentialFlags: credentialFlags{factory: &factory{flags: &pflag.FlagSet{}}}, name: "us-east", asked: tt.asked}
		want := ""
		if tt.want != "" {
			want = `member "us-east": its ` + tt.want + ` is another than in the kubeconfig that asks: write that anew: kubectl federate kubeconfig us-east`
		}
		got := ""
		if err := o.judge(has); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %s", name, got)
		}
	}
}
