package cluster_test

import (
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
)

// A connection has the endpoint that its kubeconfig names, in the form that is stored: with its TLS server name, and without
// the text that kubeconfigs have around a CA.
func TestEndpoint(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(nil)
	t.Cleanup(server.Close)
	ca := endpoint.EncodeCertificates([]*x509.Certificate{server.Certificate()})
	for _, test := range []struct {
		config rest.Config
		want   endpoint.Endpoint
	}{
		{
			rest.Config{
				Host:            "https://east.example.com:6443/k8s/",
				Proxy:           http.ProxyURL(&url.URL{Scheme: "socks5", Host: "proxy:1080"}),
				TLSClientConfig: rest.TLSClientConfig{CAData: append([]byte("# the CA\n"), ca...), ServerName: "kubernetes"},
			},
			endpoint.Endpoint{Server: "https://east.example.com:6443/k8s", ProxyURL: "socks5://proxy:1080", TLSServerName: "kubernetes", CABundle: ca},
		},
		{
			rest.Config{Host: "https://east.example.com", TLSClientConfig: rest.TLSClientConfig{Insecure: true}},
			endpoint.Endpoint{Server: "https://east.example.com", InsecureSkipTLSVerify: true},
		},
	} {
		c, err := cluster.Connect(cluster.Member, &test.config)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Endpoint(); !reflect.DeepEqual(got, test.want) {
			t.Errorf("got %+v, want %+v", got, test.want)
		}
	}
}
