// Package endpoint holds how the host reaches a member's API server, in one type that a MemberCluster, a stored
// credential, a plan, a check and a probe share, with one judgement of it. It is pure: nothing here connects.
//
// Package kubeconfig makes a client configuration of an Endpoint, and cluster.Conn has the one that it uses.
package endpoint

import (
	"bytes"
	"cmp"
	"fmt"
	"net/url"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// Endpoint is how to reach one API server. It holds no credential.
type Endpoint struct {
	// Server is an https URL.
	Server string
	// CABundle holds PEM certificates. Empty means the roots that the client trusts.
	CABundle []byte
	// ProxyURL is an http, https or socks5 URL, or empty.
	ProxyURL string
	// TLSServerName is the name that the server's certificate is verified for. Empty means the host of Server.
	TLSServerName string
	// InsecureSkipTLSVerify leaves the server's certificate unverified.
	InsecureSkipTLSVerify bool
}

// Of is the endpoint of a member.
func Of(m *v1alpha1.MemberCluster) Endpoint {
	return Endpoint{
		Server: m.Spec.Server, CABundle: m.Spec.CABundle, ProxyURL: m.Spec.ProxyURL,
		TLSServerName: m.Spec.TLSServerName, InsecureSkipTLSVerify: m.Spec.InsecureSkipTLSVerify,
	}
}

// Store writes the endpoint into a member's spec.
func (e Endpoint) Store(spec *v1alpha1.MemberClusterSpec) {
	spec.Server, spec.CABundle, spec.ProxyURL = e.Server, e.CABundle, e.ProxyURL
	spec.TLSServerName, spec.InsecureSkipTLSVerify = e.TLSServerName, e.InsecureSkipTLSVerify
}

// Canonical is the endpoint as it is stored: no slash at the end of a URL, no text between certificates, and no CA that
// is not used. What cannot be read stays as it is, for Validate to refuse.
func (e Endpoint) Canonical() Endpoint {
	e.Server, e.ProxyURL = strings.TrimRight(e.Server, "/"), strings.TrimRight(e.ProxyURL, "/")
	if e.InsecureSkipTLSVerify {
		e.CABundle = nil
	} else if certificates, err := ReadCertificates(e.CABundle); err == nil {
		e.CABundle = EncodeCertificates(certificates)
	}
	return e
}

// Difference is the first field, in the words of a message, in which two endpoints lead elsewhere or are verified
// otherwise; empty when they are equal. Spellings do not count: a default port, capitals of a host, text in a CA bundle.
func (e Endpoint) Difference(other Endpoint) string {
	switch {
	case KeyOf(e.Server) != KeyOf(other.Server):
		return "server"
	case !sameCertificates(e.CABundle, other.CABundle):
		return "CA"
	case KeyOf(e.ProxyURL) != KeyOf(other.ProxyURL):
		return "proxy"
	case e.serverName() != other.serverName():
		return "TLS server name"
	case e.InsecureSkipTLSVerify != other.InsecureSkipTLSVerify:
		return "TLS verification"
	}
	return ""
}

// Equal says whether requests to both endpoints go the same way to the same server.
func (e Endpoint) Equal(other Endpoint) bool { return e.Difference(other) == "" }

// SameServer says whether both endpoints lead to one server, with whatever credential: server, CA and server name are equal,
// and its certificate is verified on both. A proxy does not count: it can neither read what passes nor answer in the
// server's place.
func (e Endpoint) SameServer(other Endpoint) bool {
	key := e.ServerKey()
	return key != "" && key == other.ServerKey()
}

// ServerKey is equal for the endpoints of one server, as SameServer has it, and empty for one whose server is not verified.
func (e Endpoint) ServerKey() string {
	u, err := url.Parse(e.Server)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || e.InsecureSkipTLSVerify {
		return ""
	}
	return string(KeyOf(e.Server)) + " " + e.serverName() + " " + string(e.Canonical().CABundle)
}

func (e Endpoint) serverName() string { return normalHost(cmp.Or(e.TLSServerName, HostOf(e.Server))) }

// Validate is everything that speaks against the endpoint, whatever it leads to. The path is that of the spec that holds
// it: webhook and plugin report a fault in the same words. What a Federation must allow is not judged.
func (e Endpoint) Validate(spec *field.Path) field.ErrorList {
	faults := ValidateServer(spec.Child("server"), e.Server)
	faults = append(faults, ValidateServerName(spec.Child("tlsServerName"), e.TLSServerName)...)
	faults = append(faults, ValidateProxy(spec.Child("proxyURL"), e.ProxyURL)...)
	faults = append(faults, ValidateCABundle(spec.Child("caBundle"), e.CABundle)...)
	return append(faults, ValidateInsecure(spec, e)...)
}

// ValidateCABundle judges a CA bundle: none, or at least one certificate.
func ValidateCABundle(path *field.Path, bundle []byte) field.ErrorList {
	if len(bundle) > MaxCABundle {
		return field.ErrorList{invalid(path, fmt.Sprintf("it has %d bytes, and may have %d: keep only the CA that signed the server's certificate",
			len(bundle), MaxCABundle))}
	}
	if _, err := ReadCertificates(bundle); err != nil {
		return field.ErrorList{invalid(path, err.Error())}
	}
	return nil
}

// ValidateInsecure refuses a CA that would not be used: clients take only one of the two.
func ValidateInsecure(spec *field.Path, e Endpoint) field.ErrorList {
	if !e.InsecureSkipTLSVerify || len(e.CABundle) == 0 {
		return nil
	}
	return field.ErrorList{field.Forbidden(spec.Child("insecureSkipTLSVerify"), "may not be set together with "+spec.Child("caBundle").String())}
}

// invalid leaves the value out: a URL may hold a password, and a bundle is long.
func invalid(path *field.Path, detail string) *field.Error {
	return &field.Error{Type: field.ErrorTypeInvalid, Field: path.String(), BadValue: field.OmitValueType{}, Detail: detail}
}

func sameCertificates(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	first, err := ReadCertificates(a)
	if err != nil {
		return false
	}
	second, err := ReadCertificates(b)
	return err == nil && bytes.Equal(EncodeCertificates(first), EncodeCertificates(second))
}
