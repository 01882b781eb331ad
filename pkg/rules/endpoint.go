package rules

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// Endpoint: the host can tell where a member is.
//
// Reads: spec.server, and those of all members.
// Allows: an https URL with a host name or address and maybe a port and a path; no user, query or fragment. A
// loopback or link-local address, and an address that another member has too, only warn: test clusters and
// proxies have them.
// Does not promise: that anything answers there.
const Endpoint ID = "endpoint"

// EndpointKey is an endpoint in the form that two spellings of it share: lower-case host, explicit port, no slash at the
// end of the path. It is empty for what is no endpoint.
type EndpointKey string

// EndpointKeyOf is the key of a spec.server.
func EndpointKeyOf(server string) EndpointKey {
	u, err := url.Parse(server)
	if err != nil || u.Hostname() == "" {
		return ""
	}
	port := u.Port()
	if port == "" {
		port = "443"
	}
	return EndpointKey(net.JoinHostPort(strings.ToLower(strings.TrimSuffix(u.Hostname(), ".")), port) + strings.TrimRight(u.EscapedPath(), "/"))
}

func endpoint(s Snapshot, m *v1alpha1.MemberCluster) (found Findings) {
	path := specPath.Child("server")
	u, err := url.Parse(m.Spec.Server)
	if err != nil {
		// Not the error: it quotes the URL, which may hold a password.
		found.refuse(invalidURL(path, "it is not a URL"))
		return found
	}
	if u.Scheme != "https" {
		found.refuse(invalidURL(path, fmt.Sprintf("the scheme must be https, and is %q", u.Scheme)))
	}
	if fault := hostFault(u); fault != "" {
		found.refuse(invalidURL(path, fault))
	}
	if u.User != nil {
		found.refuse(invalidURL(path, "it must not hold a user: everyone who may get members reads it"))
	}
	if u.RawQuery != "" || u.ForceQuery {
		found.refuse(invalidURL(path, "it must not have a query"))
	}
	if u.Fragment != "" {
		found.refuse(invalidURL(path, "it must not have a fragment"))
	}
	if len(found.Refusals) > 0 {
		return found
	}
	if kind := unreachable(u.Hostname()); kind != "" {
		found.warn(advice(path, "%s is a %s address: only this machine reaches it", u.Hostname(), kind))
	}
	for _, other := range s.Identities.MembersAt(EndpointKeyOf(m.Spec.Server)) {
		if other.Name != m.Name {
			found.warn(advice(path, "member %q has the same endpoint", other.Name))
			break
		}
	}
	return found
}

// invalidURL leaves the value out, since a URL may hold a password.
func invalidURL(path *field.Path, detail string) *field.Error {
	return &field.Error{Type: field.ErrorTypeInvalid, Field: path.String(), BadValue: field.OmitValueType{}, Detail: detail}
}

// hostFault says what is wrong with the host and port of a URL.
func hostFault(u *url.URL) string {
	host := u.Hostname()
	if host == "" {
		return "it must have a host"
	}
	if address, err := netip.ParseAddr(host); err == nil {
		if address.IsUnspecified() || address.IsMulticast() {
			return fmt.Sprintf("%s is the address of no server", host)
		}
	} else if faults := validation.IsDNS1123Subdomain(strings.ToLower(strings.TrimSuffix(host, "."))); len(faults) > 0 {
		return fmt.Sprintf("%q is neither a DNS name nor an IP address", host)
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return fmt.Sprintf("%s is no port", port)
		}
	}
	return ""
}

// unreachable names the kind of an address that means another machine, or none, elsewhere.
func unreachable(host string) string {
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return "loopback"
	}
	address, err := netip.ParseAddr(host)
	switch {
	case err != nil:
		return ""
	case address.Unmap().IsLoopback():
		return "loopback"
	case address.Unmap().IsLinkLocalUnicast():
		return "link-local"
	}
	return ""
}
