package endpoint

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// AnyEndpoint is the entry of an allow-list that allows every server, except those that are never allowed.
const AnyEndpoint = "*"

// AllowList is where API servers of discovered clusters, and proxies to them, may be: a Federation's spec.discovery.endpoints. The
// zero AllowList allows nothing.
//
// What a list never allows, by no entry, are loopback, link-local, unspecified, multicast and broadcast addresses, those of metadata
// services, and any IPv6 address in which one of those is embedded: mapped, NAT64 with a prefix of RFC 6052 or RFC 8215, 6to4,
// Teredo, ISATAP. The prefix of a NAT64 that a network has chosen for itself is not known here.
type AllowList struct {
	any      bool
	names    map[string]bool
	domains  []string
	prefixes []netip.Prefix
}

// NotAllowed says that an allow-list does not allow a server or a proxy.
type NotAllowed struct {
	// Host is the name or address that is not allowed, as it was given.
	Host string
	// Address is what Host resolved to; the zero Addr where Host is judged by itself.
	Address netip.Addr
	// Never says that no entry of a list would allow it.
	Never bool
	// Why is the rest of the sentence that begins with Host or Address.
	Why string
}

func (e *NotAllowed) Error() string {
	what := fmt.Sprintf("%q", e.Host)
	if address, err := netip.ParseAddr(normalHost(e.Host)); e.Address.IsValid() && (err != nil || address.Unmap() != e.Address) {
		what += " resolves to " + e.Address.String() + ", which"
	}
	return what + " " + e.Why
}

const (
	notListed     = "is not in spec.discovery.endpoints"
	notByName     = "is not in spec.discovery.endpoints by its name, which is what counts where a proxy resolves it"
	noHost        = "is neither a DNS name nor an IP address"
	neverAllowing = ", which discovery never allows"
)

// AllowListOf is the allow-list of a federation, as it is now. One without spec.discovery, or that is gone (nil), has one that allows
// what is not refused always: its members were allowed by a list that is not there any more.
func AllowListOf(federation *v1alpha1.Federation) (AllowList, error) {
	if federation == nil || federation.Spec.Discovery == nil {
		return AllowList{any: true}, nil
	}
	return ParseAllowList(federation.Spec.Discovery.Endpoints)
}

// ParseAllowList reads the entries of an allow-list. What is wrong with any of them is an error, and then the list allows nothing.
func ParseAllowList(entries []string) (AllowList, error) {
	var list AllowList
	for i, entry := range entries {
		if err := list.add(entry); err != nil {
			return AllowList{}, fmt.Errorf("entry %d, %q: %w", i+1, entry, err)
		}
	}
	return list, nil
}

// ValidateAllowList judges the entries of an allow-list, each by itself.
func ValidateAllowList(path *field.Path, entries []string) (faults field.ErrorList) {
	for i, entry := range entries {
		var list AllowList
		if err := list.add(entry); err != nil {
			faults = append(faults, field.Invalid(path.Index(i), entry, err.Error()))
		}
	}
	return faults
}

// add reads one entry. There is one way to write it, and the error says which.
func (l *AllowList) add(entry string) error {
	name, isDomain := strings.CutPrefix(entry, ".")
	address, err := netip.ParseAddr(entry)
	switch {
	case entry == AnyEndpoint:
		l.any = true
		return nil
	case strings.Contains(entry, "://"):
		return errors.New("it is a URL: write its host alone")
	case strings.HasPrefix(entry, "*."):
		return fmt.Errorf("write %s for a domain and all names below it", strings.TrimPrefix(entry, "*"))
	case strings.Contains(entry, "/"):
		return l.addRange(entry)
	case err == nil && address.Zone() != "":
		return errors.New("an address with a zone leads nowhere but from one machine: write an address without one")
	case err == nil:
		return l.addPrefix(entry, netip.PrefixFrom(address, address.BitLen()))
	}
	if host, _, ported := splitPort(entry); ported {
		return fmt.Errorf("it has a port, and every port of a host is allowed: write %s", host)
	}
	if strings.HasPrefix(entry, "[") {
		return errors.New("write an IPv6 address without brackets")
	}
	if fault := hostFault(name); fault != "" {
		return errors.New(fault)
	}
	if normal := normalHost(name); normal != name {
		return fmt.Errorf("write it in lower case and without a dot at its end: %s", entry[:len(entry)-len(name)]+normal)
	}
	if scope := scopeOf(name); scope != "" {
		return errors.New("it is " + scope.noun() + neverAllowing)
	}
	if isDomain {
		if _, err := netip.ParseAddr(name); err == nil {
			return errors.New("it is neither a domain nor an IP address")
		}
		l.domains = append(l.domains, name)
		return nil
	}
	if l.names == nil {
		l.names = map[string]bool{}
	}
	l.names[name] = true
	return nil
}

// splitPort cuts the port off a host; it is false where there is none. What has more colons is an IPv6 address.
func splitPort(entry string) (host, port string, ok bool) {
	if bracketed, found := strings.CutPrefix(entry, "["); found {
		host, port, ok = strings.Cut(bracketed, "]:")
		return host, port, ok
	}
	if strings.Count(entry, ":") != 1 {
		return "", "", false
	}
	host, port, _ = strings.Cut(entry, ":")
	return host, port, host != ""
}

func (l *AllowList) addRange(entry string) error {
	prefix, err := netip.ParsePrefix(entry)
	if err != nil {
		return errors.New("it is not a range of addresses in CIDR notation, such as 10.20.0.0/16 or 2001:db8::/32")
	}
	return l.addPrefix(entry, prefix)
}

func (l *AllowList) addPrefix(entry string, prefix netip.Prefix) error {
	if prefix.Addr().Is4In6() {
		if prefix.Bits() < 96 {
			return errors.New("it maps IPv4 addresses: write the range of the IPv4 addresses themselves")
		}
		mapped := netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-96)
		return fmt.Errorf("it maps IPv4 addresses: write %s", written(mapped.Masked(), mapped.IsSingleIP()))
	}
	if prefix != prefix.Masked() {
		return fmt.Errorf("it has bits beyond its length: write %s for the range, or %s for the address", prefix.Masked(), prefix.Addr())
	}
	single := !strings.Contains(entry, "/")
	if text := written(prefix, single); text != entry {
		return fmt.Errorf("write it as %s", text)
	}
	for _, block := range neverAllowed {
		if block.prefix.Bits() <= prefix.Bits() && block.prefix.Contains(prefix.Addr()) {
			return errors.New("it is " + block.noun + neverAllowing)
		}
	}
	if never := never(prefix.Addr(), nil); single && never != "" {
		return errors.New("it is " + never + neverAllowing)
	}
	l.prefixes = append(l.prefixes, prefix)
	return nil
}

// written is a range as it is written, or its only address.
func written(prefix netip.Prefix, single bool) string {
	if single {
		return prefix.Addr().String()
	}
	return prefix.String()
}

// Empty says whether the list allows nothing.
func (l AllowList) Empty() bool { return !l.any && len(l.names)+len(l.domains)+len(l.prefixes) == 0 }

// Equal says whether two lists have the same entries in one order.
func (l AllowList) Equal(other AllowList) bool {
	if len(l.names) != len(other.names) {
		return false
	}
	for name := range l.names {
		if !other.names[name] {
			return false
		}
	}
	return l.any == other.any && slices.Equal(l.domains, other.domains) && slices.Equal(l.prefixes, other.prefixes)
}

// Judge judges an endpoint by what it says, before anything is resolved: its server, and its proxy where it has one. A TLS server name
// leads nowhere, and takes no entry. The error is a *NotAllowed.
func (l AllowList) Judge(e Endpoint) error {
	if err := l.JudgeServer(e); err != nil {
		return err
	}
	return l.JudgeProxy(e)
}

// JudgeServer is Judge for the server alone. Through a proxy its name must be listed itself: what the name resolves to is the
// proxy's to find, and is not judged.
func (l AllowList) JudgeServer(e Endpoint) error {
	host := HostOf(e.Server)
	if err := l.Name(host); err != nil || e.ProxyURL == "" || l.any || l.Named(host) {
		return err
	}
	return &NotAllowed{Host: host, Why: notByName}
}

// JudgeProxy is Judge for the proxy alone.
func (l AllowList) JudgeProxy(e Endpoint) error {
	if e.ProxyURL == "" {
		return nil
	}
	return l.Name(HostOf(e.ProxyURL))
}

// Name judges the host of a server or a proxy by how it is written. An IP address is judged as Address does. A name that no entry has
// passes where the list has a range: the address that it resolves to is judged at each connection. What is no address as Go writes
// it but one for some resolvers (127.1, 0x7f.1, 2130706433) is neither. The error is a *NotAllowed.
func (l AllowList) Name(host string) error {
	if address, err := netip.ParseAddr(normalHost(host)); err == nil {
		return l.Address(host, address, nil)
	}
	if hostFault(host) != "" {
		return &NotAllowed{Host: host, Never: true, Why: noHost}
	}
	if scope := scopeOf(host); scope != "" {
		return &NotAllowed{Host: host, Never: true, Why: "is " + scope.noun() + neverAllowing}
	}
	if l.any || l.Named(host) || len(l.prefixes) > 0 {
		return nil
	}
	return &NotAllowed{Host: host, Why: notListed}
}

// Named says whether an entry other than "*" names a host: the name, a domain that it is in, or an address or a range where it is
// an address.
func (l AllowList) Named(host string) bool {
	host = normalHost(host)
	if address, err := netip.ParseAddr(host); err == nil {
		return l.inRange(address.WithZone("").Unmap())
	}
	return l.names[host] || slices.ContainsFunc(l.domains, func(domain string) bool {
		return host == domain || strings.HasSuffix(host, "."+domain)
	})
}

func (l AllowList) inRange(address netip.Addr) bool {
	return slices.ContainsFunc(l.prefixes, func(p netip.Prefix) bool { return p.Contains(address) })
}

// Address judges an address that is about to be dialled, which host was resolved to; host may be the address itself. None of own, the
// addresses at which the host's API server is reached, is ever allowed. The error is a *NotAllowed.
func (l AllowList) Address(host string, address netip.Addr, own []netip.Addr) error {
	if !address.IsValid() {
		return &NotAllowed{Host: host, Never: true, Why: noHost}
	}
	zone := address.Zone()
	address = address.WithZone("").Unmap()
	fault := &NotAllowed{Host: host, Address: address, Why: notListed}
	switch never := never(address, own); {
	case never != "":
		fault.Never, fault.Why = true, "is "+never+neverAllowing
	case zone != "":
		fault.Never, fault.Why = true, "is an address of one network interface"+neverAllowing
	case l.any || l.inRange(address) || l.Named(host):
		return nil
	}
	return fault
}

// block is a range of addresses that no list allows.
type block struct {
	prefix netip.Prefix
	noun   string
}

// neverAllowed are the addresses that lead to the machine that dials, or to what trusts it.
var neverAllowed = []block{
	{netip.MustParsePrefix("127.0.0.0/8"), Loopback.noun()},
	{netip.MustParsePrefix("::1/128"), Loopback.noun()},
	// Linux takes all of 0.0.0.0/8 for addresses of this network (RFC 1122, section 3.2.1.3), and 0.0.0.0 for itself.
	{netip.MustParsePrefix("0.0.0.0/8"), Unspecified.noun()},
	{netip.MustParsePrefix("::/128"), Unspecified.noun()},
	// Most metadata services have an address of these: 169.254.169.254, and 169.254.170.2 for the roles of ECS and EKS.
	{netip.MustParsePrefix("169.254.0.0/16"), LinkLocal.noun()},
	{netip.MustParsePrefix("fe80::/10"), LinkLocal.noun()},
	{netip.MustParsePrefix("224.0.0.0/4"), Multicast.noun()},
	{netip.MustParsePrefix("ff00::/8"), Multicast.noun()},
	{netip.MustParsePrefix("255.255.255.255/32"), "the broadcast address"},
	{netip.MustParsePrefix("fd00:ec2::/32"), metadataNoun},          // AWS: instance metadata, time, DNS, EKS Pod Identity
	{netip.MustParsePrefix("fd20:ce::254/128"), metadataNoun},       // Google Cloud
	{netip.MustParsePrefix("100.100.100.200/32"), metadataNoun},     // Alibaba Cloud
	{netip.MustParsePrefix("168.63.129.16/32"), metadataNoun},       // Azure's WireServer
	{netip.MustParsePrefix("192.0.0.192/32"), metadataNoun},         // Oracle Cloud, classic
	{netip.MustParsePrefix("fd00:c1::a9fe:a9fe/128"), metadataNoun}, // Oracle Cloud
	{netip.MustParsePrefix("fd00:42::42/128"), metadataNoun},        // Scaleway
}

const metadataNoun = "an address of a cloud's metadata service"

// noun is a scope in a sentence: "it is a loopback address".
func (s Scope) noun() string {
	if s == Unspecified {
		return "an unspecified address"
	}
	return "a " + string(s) + " address"
}

// never is why no list allows an address; empty for one that a list may allow. The addresses that it embeds count, too.
func never(address netip.Addr, own []netip.Addr) string {
	for _, a := range append([]netip.Addr{address}, embedded(address)...) {
		for _, b := range neverAllowed {
			if b.prefix.Contains(a) {
				return b.noun
			}
		}
		if slices.ContainsFunc(own, func(o netip.Addr) bool { return o.WithZone("").Unmap() == a }) {
			return "an address of the host's own API server"
		}
	}
	return ""
}

// embedded are the IPv4 addresses to which packets for an IPv6 address may be sent in the end.
func embedded(address netip.Addr) (list []netip.Addr) {
	if !address.Is6() || address.IsLoopback() || address.IsUnspecified() {
		return nil
	}
	b := address.As16()
	add := func(i ...int) { list = append(list, netip.AddrFrom4([4]byte{b[i[0]], b[i[1]], b[i[2]], b[i[3]]})) }
	within := func(prefix string) bool { return netip.MustParsePrefix(prefix).Contains(address) }
	switch {
	case within("::/96"), within("::ffff:0:0:0/96"), within("64:ff9b::/96"): // compatible (RFC 4291), translated (RFC 2765), NAT64
		add(12, 13, 14, 15)
	case within("64:ff9b:1::/48"): // NAT64 by a prefix of /48, /56, /64 or /96 in it (RFC 8215, in the layouts of RFC 6052, section 2.2)
		add(6, 7, 9, 10)
		add(7, 9, 10, 11)
		add(9, 10, 11, 12)
		add(12, 13, 14, 15)
		// In another layout than its own an address has zeros, and no gateway forwards to 0.0.0.0/8.
		list = slices.DeleteFunc(list, func(a netip.Addr) bool { return a.As4()[0] == 0 })
	case within("2002::/16"): // 6to4 (RFC 3056)
		add(2, 3, 4, 5)
	case within("2001::/32"): // Teredo (RFC 4380): the server, and the client with its bits inverted
		add(4, 5, 6, 7)
		list = append(list, netip.AddrFrom4([4]byte{^b[12], ^b[13], ^b[14], ^b[15]}))
	}
	if b[8]&^2 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe { // ISATAP (RFC 5214)
		add(12, 13, 14, 15)
	}
	return list
}
