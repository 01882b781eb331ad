package federate

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// TestFieldCases holds the cases of endpoints from the field: what a join says of each, against it or as a note.
func TestFieldCases(t *testing.T) {
	t.Parallel()
	const at, noted = `member: endpoint "https://east.example.com": `, "note: "
	certificate := func(err error) func(*joinFacts) {
		return func(f *joinFacts) { f.Tried = fmt.Errorf("get: %w", err) }
	}
	proxied := func(proxy string) func(*joinFacts) {
		return func(f *joinFacts) { f.Endpoint.ProxyURL = proxy }
	}
	server := func(server string) func(*joinFacts) {
		return func(f *joinFacts) { f.Endpoint.Server = server }
	}
	for _, tt := range []struct {
		row    string
		change func(*joinFacts)
		want   []string
	}{
		{"zero", server("https://0.0.0.0:6443"), []string{
			`member: spec.server: 0.0.0.0 is not the address of a server (unspecified): use one at which the host reaches it: give the member's URL with --member-server`}},
		{"zero, IPv6", server("https://[::]:6443"), []string{
			`member: spec.server: :: is not the address of a server (unspecified): use one at which the host reaches it: give the member's URL with --member-server`}},
		{"zero, as a number", server("https://0:6443"), []string{
			`member: spec.server: "0" is neither a DNS name nor an IP address: give the member's URL with --member-server`}},
		{"zero, of a proxy", proxied("http://0.0.0.0:3128"), []string{
			`member: spec.proxyURL: 0.0.0.0 is not the address of a server (unspecified): use one at which the host reaches it: give another proxy with --member-proxy-url`}},
		{"odd", server("https://api_east.example.com:6443"), nil},
		{"odd, IDN", server("https://münchen.example.com:6443"), []string{
			`member: spec.server: "münchen.example.com" must be written in ASCII: xn--mnchen-3ya.example.com: give the member's URL with --member-server`}},
		{"odd, punycode", server("https://xn--mnchen-3ya.example.com:6443"), nil},
		{"odd, capitals and a dot at the end", server("https://API.Example.COM.:6443"), nil},
		{"odd, a proxy of IDN", proxied("http://proxy.münchen.example:3128"), []string{
			`member: spec.proxyURL: "proxy.münchen.example" must be written in ASCII: proxy.xn--mnchen-3ya.example: give another proxy with --member-proxy-url`}},
		{"cabig", func(f *joinFacts) { f.Endpoint.CABundle = bytes.Repeat(ca, 220_000/len(ca)) }, []string{fmt.Sprintf(
			`member: spec.caBundle: it has %d bytes, and may have 40960: keep only the CA that signed the server's certificate: give the CA with --member-certificate-authority`,
			220_000/len(ca)*len(ca))}},
		{"cabig, as large as may be", func(f *joinFacts) { f.Endpoint.CABundle = bytes.Repeat(ca, 40_960/len(ca)) }, nil},
		{"catext", func(f *joinFacts) {
			f.Endpoint.CABundle = slices.Concat([]byte("# Subject: CN=test-ca\n"), ca, []byte("# the next\n"), ca, []byte("the end"))
		}, nil},
		{"proxy", proxied("http://127.0.0.1:3128"), []string{noted +
			at + `is reached through proxy 127.0.0.1, a loopback address, where the host reaches itself and not the proxy of the context: ` +
			`give the proxy that the host uses with --member-proxy-url, or none with --member-proxy-url=`}},
		{"proxy, by name", proxied("socks5://localhost:1080"), []string{noted +
			at + `is reached through proxy localhost, a loopback address, where the host reaches itself and not the proxy of the context: ` +
			`give the proxy that the host uses with --member-proxy-url, or none with --member-proxy-url=`}},
		{"proxy, of all", proxied("http://proxy.example.com:3128"), nil},
		{"othername", certificate(x509.HostnameError{Certificate: &x509.Certificate{DNSNames: []string{"other"}}, Host: "east.example.com"}), []string{
			at + `the certificate does not verify: get: x509: certificate is valid for other, not east.example.com: ` +
				`give a URL whose host is in the certificate with --member-server, or a name that is with --member-tls-server-name`}},
		{"othername, authority", certificate(x509.UnknownAuthorityError{}), []string{
			at + `the certificate does not verify: get: x509: certificate signed by unknown authority: give the CA that signed it with --member-certificate-authority`}},
		{"othername, time", certificate(x509.CertificateInvalidError{Reason: x509.Expired, Cert: &x509.Certificate{}, Detail: "in 1970"}), []string{
			at + `the certificate does not verify: get: x509: certificate has expired or is not yet valid: in 1970: renew it on the cluster, and check the clock of this machine`}},
		{"sso", certificate(&cluster.NotAPI{ContentType: "text/html"}), []string{
			at + `is not a Kubernetes API server: it answers with text/html in place of JSON: give the URL of the cluster's own API server with --member-server`}},
		{"spans", spans, []string{noted +
			`member: label topology.kubernetes.io/region: is required by federation "prod"; 1 of 3 nodes do not carry it, the others carry "eu", "us": ` +
			`choose one with --labels topology.kubernetes.io/region=VALUE`}},
		{"labels", func(f *joinFacts) {
			f.Host.Federation.Spec.Labels = []v1alpha1.LabelRule{
				{Key: "team", Required: true, Message: "name the owning team", Values: []string{"web"}}, {Key: "tier", Required: true, Values: []string{"gold", "tin"}},
				{Key: "note"}, {Key: "set", Required: true},
			}
		}, []string{
			noted + `member: label team: is required by federation "prod"; name the owning team: choose one with --labels team=VALUE`,
			noted + `member: label tier: is required by federation "prod"; supported values: "gold", "tin": choose one with --labels tier=VALUE`,
			noted + `member: label set: is required by federation "prod": choose one with --labels set=VALUE`}},
		{"labels, of a member", func(f *joinFacts) {
			joined(f)
			f.Host.Federation.Spec.Labels = []v1alpha1.LabelRule{{Key: "team", Required: true}}
		}, nil},
	} {
		t.Run(tt.row, func(t *testing.T) {
			t.Parallel()
			plan, against := planJoin(facts(tt.change), joinOptions(func(o *JoinOptions) { o.DryRun = cluster.DryRunClient }))
			var got []string
			for _, f := range against {
				got = append(got, f.String())
			}
			for _, f := range plan.notes {
				got = append(got, noted+f.String())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// spans are nodes in two regions and one without, and a federation that requires the region.
func spans(f *joinFacts) {
	f.Member.Topology = member.Topology{Nodes: 3, Regions: []string{"eu", "us"}, WithoutRegion: 1}
	f.Host.Federation.Spec.Labels = []v1alpha1.LabelRule{{Key: "topology.kubernetes.io/region", Required: true}}
}

// TestFieldCaseSpans holds what is added to the host's refusal of a label that the nodes do not agree on.
func TestFieldCaseSpans(t *testing.T) {
	t.Parallel()
	path := field.NewPath("metadata", "labels").Key("topology.kubernetes.io/region")
	refusal := apierrors.NewInvalid(v1alpha1.GroupVersion.WithKind("MemberCluster").GroupKind(), "east",
		field.ErrorList{field.Required(path, `is required by federation "prod"`)})
	const required = `metadata.labels[topology.kubernetes.io/region]: Required value: is required by federation "prod"`
	const remedy = `: choose one with --labels topology.kubernetes.io/region=VALUE`
	for _, tt := range []struct {
		name     string
		topology member.Topology
		options  func(*JoinOptions)
		want     string
	}{
		{"two regions and none", member.Topology{Nodes: 3, Regions: []string{"eu", "us"}, WithoutRegion: 1}, nil,
			required + `; 1 of 3 nodes do not carry it, the others carry "eu", "us"` + remedy},
		{"two regions", member.Topology{Nodes: 2, Regions: []string{"eu", "us"}}, nil, required + `; the nodes carry different ones, "eu", "us"` + remedy},
		{"none", member.Topology{Nodes: 2, WithoutRegion: 2}, nil, required + `; no node of the cluster carries it` + remedy},
		{"no nodes", member.Topology{}, nil, required + `; the cluster has no nodes to read it from` + remedy},
		{"given", member.Topology{}, func(o *JoinOptions) { o.Labels = map[string]string{"topology.kubernetes.io/region": ""} }, required},
	} {
		f := facts(func(f *joinFacts) { f.Member.Topology = tt.topology })
		got := explainPlaces(findingsOf(refusal), &f, joinOptions(tt.options))
		if len(got) != 1 || got[0].String() != tt.want {
			t.Errorf("%s: %v\nwant %s", tt.name, got, tt.want)
		}
	}
}

// TestFieldCaseServerName holds that the context's tls-server-name is in what is stored, until another server is named.
func TestFieldCaseServerName(t *testing.T) {
	t.Parallel()
	caller := endpoint.Endpoint{Server: "https://10.0.0.1:6443", CABundle: ca, TLSServerName: "east.example.com"}
	for name, tt := range map[string]struct {
		options func(*JoinOptions)
		want    string
	}{
		"of the context":                    {nil, "east.example.com"},
		"of the context, for the same":      {func(o *JoinOptions) { o.Server = "https://10.0.0.1:6443/" }, "east.example.com"},
		"none, for another server":          {func(o *JoinOptions) { o.Server = "https://10.0.0.2:6443" }, ""},
		"of a flag":                         {func(o *JoinOptions) { o.TLSServerName = new("other.example.com") }, "other.example.com"},
		"none, of an empty flag":            {func(o *JoinOptions) { o.TLSServerName = new("") }, ""},
		"of the context, beside another CA": {func(o *JoinOptions) { o.CABundle = []byte{} }, "east.example.com"},
	} {
		if got := endpointOf(joinOptions(tt.options), caller, nil); got.TLSServerName != tt.want {
			t.Errorf("%s: %q, want %q", name, got.TLSServerName, tt.want)
		}
	}
}

// TestFieldCaseProxyCleared holds that an empty --member-proxy-url is not one that was not typed.
func TestFieldCaseProxyCleared(t *testing.T) {
	t.Parallel()
	caller := endpoint.Endpoint{Server: "https://10.0.0.1:6443", ProxyURL: "http://127.0.0.1:3128"}
	stored := &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: "east"}}
	caller.Store(&stored.Spec)
	for name, existing := range map[string]*v1alpha1.MemberCluster{"a new member": nil, "a member": stored} {
		if got := endpointOf(joinOptions(nil), caller, existing); got.ProxyURL != caller.ProxyURL {
			t.Errorf("%s, no flag: %q", name, got.ProxyURL)
		}
		if got := endpointOf(joinOptions(func(o *JoinOptions) { o.ProxyURL = new("") }), caller, existing); got.ProxyURL != "" {
			t.Errorf("%s, an empty flag: %q", name, got.ProxyURL)
		}
	}
}

// TestFieldCaseAnonymous holds that a credential which does not arrive is one that is refused.
func TestFieldCaseAnonymous(t *testing.T) {
	t.Parallel()
	for fault, want := range map[cluster.Fault]bool{
		cluster.FaultAnonymous: true, cluster.FaultUnauthorized: true, cluster.FaultForbidden: true, cluster.FaultNotAPI: false, cluster.FaultUnreachable: false,
	} {
		if got := rejected(&cluster.Error{Fault: fault, Err: errors.New("no")}); got != want {
			t.Errorf("fault %v: %v", fault, got)
		}
	}
}
