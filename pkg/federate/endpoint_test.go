package federate

import (
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
)

// TestEndpointOf pins which endpoint is stored: a member keeps its own unless a flag names another, and empty is not the
// same as not given.
func TestEndpointOf(t *testing.T) {
	t.Parallel()
	none, other, name := "", "socks5://other", "other"
	caller := endpoint.Endpoint{Server: "https://caller", CABundle: ca, ProxyURL: "http://caller", TLSServerName: "name"}
	stored := endpoint.Endpoint{Server: "https://stored/", CABundle: append([]byte("# text\n"), ca...), ProxyURL: "http://stored", TLSServerName: "kept"}
	var member v1alpha1.MemberCluster
	stored.Store(&member.Spec)
	insecure := endpoint.Endpoint{Server: "https://caller", InsecureSkipTLSVerify: true}
	for _, tt := range []struct {
		name     string
		options  JoinOptions
		caller   endpoint.Endpoint
		existing *v1alpha1.MemberCluster
		want     endpoint.Endpoint
	}{
		{"the caller's", JoinOptions{}, caller, nil, caller},
		{"the member's", JoinOptions{}, caller, &member, stored},
		{"the member's in another spelling", JoinOptions{Server: "https://STORED:443", CABundle: ca}, caller, &member, stored},
		{"another server, which has another name", JoinOptions{Server: "https://other/"}, caller, nil, endpoint.Endpoint{Server: "https://other", CABundle: ca, ProxyURL: "http://caller"}},
		{"one of many at once, for which its source knows another server", JoinOptions{Server: "https://other", CABundle: ca, KeepEndpoint: true}, caller, &member, stored},
		{"another server of a member", JoinOptions{Server: "https://other"}, caller, &member, endpoint.Endpoint{Server: "https://other", CABundle: ca, ProxyURL: "http://stored"}},
		{"no proxy", JoinOptions{ProxyURL: &none}, caller, &member, endpoint.Endpoint{Server: "https://stored", CABundle: ca, TLSServerName: "kept"}},
		{"another proxy", JoinOptions{ProxyURL: &other}, caller, &member, endpoint.Endpoint{Server: "https://stored", CABundle: ca, ProxyURL: other, TLSServerName: "kept"}},
		{"no server name", JoinOptions{TLSServerName: &none}, caller, &member, endpoint.Endpoint{Server: "https://stored", CABundle: ca, ProxyURL: "http://stored"}},
		{"another server name", JoinOptions{TLSServerName: &name}, caller, &member, endpoint.Endpoint{Server: "https://stored", CABundle: ca, ProxyURL: "http://stored", TLSServerName: name}},
		{"another server with its name", JoinOptions{Server: "https://other", TLSServerName: &name}, caller, nil, endpoint.Endpoint{Server: "https://other", CABundle: ca, ProxyURL: "http://caller", TLSServerName: name}},
		{"no CA", JoinOptions{CABundle: []byte{}}, caller, nil, endpoint.Endpoint{Server: "https://caller", ProxyURL: "http://caller", TLSServerName: "name"}},
		{"a CA for a context that verifies nothing", JoinOptions{CABundle: ca}, insecure, nil, endpoint.Endpoint{Server: "https://caller", CABundle: ca}},
	} {
		if got := endpointOf(tt.options, tt.caller, tt.existing); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: got %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

// TestRefusingProxy holds that a proxy that does not let this machine connect is named as such. It stands not against the join, since the
// host may reach the member.
func TestRefusingProxy(t *testing.T) {
	t.Parallel()
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	t.Cleanup(proxy.Close)
	e := endpoint.Endpoint{Server: "https://east.example.com", CABundle: ca, ProxyURL: strings.Replace(proxy.URL, "http://", "http://ann:secret@", 1)}
	against, notes := judgeEndpoint(endpoint.Endpoint{Server: e.Server, CABundle: ca}, nil, tryEndpoint(t.Context(), config(e, "")))
	want := `member: endpoint "https://east.example.com": is not reached from here: the proxy ` + strings.Replace(e.ProxyURL, "secret", "xxxxx", 1) +
		` refuses to connect to it (403 Forbidden): give another proxy with --member-proxy-url, unless it lets the host connect: the manager there will report whether it responds`
	if len(against) > 0 || len(notes) != 1 || notes[0].String() != want {
		t.Errorf("against %v, notes %v\nwant %s", against, notes, want)
	}
}

// ca is a certificate, as openssl req -x509 -newkey ec makes one.
var ca = []byte(`-----BEGIN CERTIFICATE-----
MIIBdTCCARugAwIBAgIUJYdL7Lft5PirrQITIKUSl9k32awwCgYIKoZIzj0EAwIw
DzENMAsGA1UEAwwEdGVzdDAgFw0yNjExMjgyMTM1NTVaGA8yMTI2MTEwNDIxMzU1
NVowDzENMAsGA1UEAwwEdGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABGmO
/RqXol1TXzcyQuq1DffZiVLsm6QtuUX/2XOrPNdRs5RIenUZVX2wh+E/xnlgiV6v
FFRj3jaDPB8IjxompTajUzBRMB0GA1UdDgQWBBQp3hXBmaNwhlndpcmhZ9gf+gnd
3zAfBgNVHSMEGDAWgBQp3hXBmaNwhlndpcmhZ9gf+gnd3zAPBgNVHRMBAf8EBTAD
AQH/MAoGCCqGSM49BAMCA0gAMEUCIQD5B3dplDHnxugvxFT+39+nEnbXxBFShHVf
a1l8mibC8QIgK1cO1o3dm6MKVfBuOTlsErYV7aLFCqprIuH4f9VKxUE=
-----END CERTIFICATE-----
`)
