package endpoint

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Key is a URL in the form that its spellings share: lower-case host, explicit port, no slash at the end of the path. It
// is empty for what has no host.
type Key string

// The lengths that the CustomResourceDefinition allows, in characters.
const (
	maxURL        = 2048
	maxServerName = 253
)

// defaultPorts are the ports that a URL without one means.
var defaultPorts = map[string]string{"https": "443", "http": "80", "socks5": "1080"}

// KeyOf is the key of a server's or a proxy's URL.
func KeyOf(text string) Key {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" {
		return ""
	}
	port := u.Port()
	if port == "" {
		port = defaultPorts[u.Scheme]
	}
	key := net.JoinHostPort(normalHost(u.Hostname()), port) + strings.TrimRight(u.EscapedPath(), "/")
	if u.Scheme != "https" {
		key = u.Scheme + "://" + key
	}
	return Key(key)
}

// HostOf is the host of a URL; empty when it has none.
func HostOf(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// normalHost is a host without capitals and without the dot that ends an absolute name.
func normalHost(host string) string { return strings.ToLower(strings.TrimSuffix(host, ".")) }

// Scope is how far an address leads.
type Scope string

// Scopes. A name that only DNS knows has none, nor has an address that leads to other networks.
const (
	Loopback    Scope = "loopback"
	LinkLocal   Scope = "link-local"
	Unspecified Scope = "unspecified"
	Multicast   Scope = "multicast"
)

// ScopeOf is the scope of a URL's host, in any notation. It is empty when the host is not restricted to one.
func ScopeOf(text string) Scope { return scopeOf(HostOf(text)) }

func scopeOf(host string) Scope {
	host = normalHost(host)
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return Loopback
	}
	address, err := netip.ParseAddr(host)
	if err != nil {
		return ""
	}
	switch address = address.Unmap(); {
	case address.IsLoopback():
		return Loopback
	case address.IsLinkLocalUnicast():
		return LinkLocal
	case address.IsUnspecified():
		return Unspecified
	case address.IsMulticast():
		return Multicast
	}
	return ""
}

// ValidateServer judges the URL of an API server: https, a host, maybe a port and a path.
func ValidateServer(path *field.Path, server string) field.ErrorList {
	u, faults := validateURL(path, server, "https")
	if u == nil {
		return faults
	}
	if u.Scheme == "https" && !strings.HasPrefix(server, "https:") {
		faults = append(faults, invalid(path, "the scheme must be in lower case"))
	}
	if u.RawQuery != "" || u.ForceQuery {
		faults = append(faults, invalid(path, "it must not have a query"))
	}
	if strings.Contains(server, "#") { // a fragment, if an empty one
		faults = append(faults, invalid(path, "it must not have a fragment"))
	}
	return faults
}

// ValidateProxy judges the URL of a proxy: none, or http, https or socks5 with a host and maybe a port.
func ValidateProxy(path *field.Path, proxy string) field.ErrorList {
	if proxy == "" {
		return nil
	}
	u, faults := validateURL(path, proxy, "http", "https", "socks5")
	if u != nil && ((u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.ForceQuery || strings.Contains(proxy, "#")) {
		faults = append(faults, invalid(path, "it must end after host and port"))
	}
	return faults
}

// ValidateServerName judges the name that a certificate is verified for: none, or a DNS name or an IP address.
func ValidateServerName(path *field.Path, name string) field.ErrorList {
	if name == "" {
		return nil
	}
	if faults := validateLength(path, name, maxServerName); faults != nil {
		return faults
	}
	if fault := hostFault(name); fault != "" {
		return field.ErrorList{invalid(path, fault)}
	}
	return nil
}

// validateLength judges a text by the length that the CustomResourceDefinition allows.
func validateLength(path *field.Path, text string, most int) field.ErrorList {
	if n := utf8.RuneCountInString(text); n > most {
		return field.ErrorList{invalid(path, fmt.Sprintf("it has %d characters, and may have %d", n, most))}
	}
	return nil
}

// validateURL judges what all URLs have in common. It returns no URL where the text is none.
func validateURL(path *field.Path, text string, schemes ...string) (*url.URL, field.ErrorList) {
	if faults := validateLength(path, text, maxURL); faults != nil {
		return nil, faults
	}
	u, err := url.Parse(text)
	if err != nil {
		// Not the error: it quotes the URL, which may hold a password.
		return nil, field.ErrorList{invalid(path, "it is not a URL")}
	}
	var faults field.ErrorList
	if !slices.Contains(schemes, u.Scheme) {
		allowed := schemes[0]
		if last := len(schemes) - 1; last > 0 {
			allowed = strings.Join(schemes[:last], ", ") + " or " + schemes[last]
		}
		faults = append(faults, invalid(path, fmt.Sprintf("the scheme must be %s, and is %q", allowed, u.Scheme)))
	}
	if fault := hostFault(u.Hostname()); fault != "" {
		faults = append(faults, invalid(path, fault))
	} else if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			faults = append(faults, invalid(path, fmt.Sprintf("port %s is not between 1 and 65535", port)))
		}
	}
	if u.User != nil {
		faults = append(faults, invalid(path, "it must not hold a user: everyone who may get members reads it"))
	}
	return u, faults
}

// zoneCharacters are those of an IPv6 zone: the name or number of a network interface.
const zoneCharacters = "abcdefghijklmnopqrstuvwxyz0123456789-_.~"

// hostFault says what is wrong with a host; empty when nothing is.
func hostFault(host string) string {
	name := normalHost(host)
	if name == "" {
		return "it must have a host"
	}
	if scope := scopeOf(name); scope == Unspecified || scope == Multicast {
		return fmt.Sprintf("%s is not the address of a server (%s): use one at which the host reaches it", host, scope)
	}
	if address, err := netip.ParseAddr(name); err == nil && strings.Trim(address.Zone(), zoneCharacters) == "" {
		return ""
	}
	// Of the host itself: lower case makes ASCII of a Kelvin sign.
	if ascii, err := idna.Lookup.ToASCII(name); err == nil && strings.ContainsFunc(host, func(r rune) bool { return r > unicode.MaxASCII }) {
		return fmt.Sprintf("%q must be written in ASCII: %s", host, ascii)
	}
	// Resolvers and certificates take underscores, which RFC 1123 does not.
	faults := validation.IsDNS1123Subdomain(strings.ReplaceAll(name, "_", "x"))
	// Some resolvers read a name that ends in a number as an IPv4 address: 127.1, 2130706433, 0x7f.1.
	if len(faults) > 0 || endsInNumber(name) || slices.ContainsFunc(strings.Split(name, "."), func(label string) bool { return len(label) > 63 }) {
		return fmt.Sprintf("%q is neither a DNS name nor an IP address", host)
	}
	return ""
}

func endsInNumber(name string) bool {
	last := name[strings.LastIndexByte(name, '.')+1:]
	_, err := strconv.ParseUint(last, 0, 64)
	hex, isHex := strings.CutPrefix(last, "0x")
	return err == nil || strings.Trim(last, "0123456789") == "" || isHex && strings.Trim(hex, "0123456789abcdef") == ""
}
