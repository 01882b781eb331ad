package records

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/kubefederate/kubectl-federate/pkg/text"
)

// Bounds on what one member exports. Each of the listed namespaces has an equal share of them, so that none takes the place of another.
const (
	// MaxServices is how many services a member exports. The first by namespace and name are taken.
	MaxServices = 1000
	// MaxIngress is how many addresses and host names its load balancer has for one service.
	MaxIngress = 16
	// MaxBytes is what all of it may take: names, addresses and host names.
	MaxBytes = 256 << 10
	// MaxReports is how many sentences are kept of what is left out.
	MaxReports = 10
)

// Export is a service that a member exports, with what its load balancer has, as the member says it.
type Export struct {
	Service
	// Ingress are IP addresses, and host names that are no addresses.
	Ingress []string
}

// Exported is what can be used of the addresses and host names of a service, each sorted and once.
type Exported struct {
	Addresses []string `json:"addresses,omitempty"`
	Hostnames []string `json:"hostnames,omitempty"`
}

// Accept is what can be used of what one member exports into the namespaces, and what was left out and why: the first MaxReports, and
// how many more.
func (z Zone) Accept(namespaces []string, exports []Export) (accepted map[Service]Exported, reports []string) {
	exports = slices.SortedStableFunc(slices.Values(exports), func(a, b Export) int { return a.Compare(b.Service) })
	accepted = map[Service]Exported{}
	left, services, taken := leftOut{}, map[string]int{}, map[string]int{}
	share := max(1, len(namespaces))
	for _, e := range exports {
		_, twice := accepted[e.Service]
		switch {
		case !slices.Contains(namespaces, e.Namespace) || twice:
			continue
		case len(validation.IsDNS1035Label(e.Name)) > 0 && len(validation.IsDNS1123Label(e.Name)) > 0:
			left.add("a service in namespace %s has the name %s, which is not valid", e.Namespace, quoted(e.Name))
			continue
		case services[e.Namespace] == MaxServices/share:
			left.add("service %s is left out: the member exports more than %d services of its namespace", e.Service, MaxServices/share)
			continue
		}
		found, why := z.usable(e.Ingress)
		size := len(e.Namespace) + len(e.Name)
		for _, target := range slices.Concat(found.Addresses, found.Hostnames) {
			size += len(target)
		}
		if taken[e.Namespace]+size > MaxBytes/share {
			left.add("service %s is left out: what the member exports of its namespace takes more than %d KiB", e.Service, MaxBytes/share>>10)
			continue
		}
		taken[e.Namespace] += size
		services[e.Namespace]++
		for _, text := range why {
			left.add("service %s: %s", e.Service, text)
		}
		accepted[e.Service] = found
	}
	return accepted, left.text()
}

// usable are the addresses and host names of a service that records can lead to, and what is wrong with the others.
func (z Zone) usable(ingress []string) (found Exported, why []string) {
	if len(ingress) > MaxIngress {
		why = append(why, fmt.Sprintf("its load balancer has more than %d addresses and host names: the first are read", MaxIngress))
		ingress = ingress[:MaxIngress]
	}
	for _, target := range ingress {
		_, notAddress := netip.ParseAddr(target)
		judge, into := address, &found.Addresses
		if notAddress != nil {
			judge, into = z.hostname, &found.Hostnames
		}
		valid, fault := judge(target)
		switch {
		case fault != "":
			why = append(why, fault)
		case !slices.Contains(*into, valid):
			*into = append(*into, valid)
		}
	}
	slices.Sort(found.Addresses)
	slices.Sort(found.Hostnames)
	return found, why
}

// unroutable are ranges that netip has no method for: this network, shared address space (RFC 6598), and class E.
var unroutable = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("240.0.0.0/4"),
}

var globalIPv6 = netip.MustParsePrefix("2000::/3")

// address is an IP address as records have it, or what keeps it from being in one.
func address(s string) (valid, fault string) {
	a, err := netip.ParseAddr(s)
	var kind string
	switch {
	case err != nil:
		return "", fmt.Sprintf("%s is no IP address", quoted(s))
	case a.Is4In6() || a.Zone() != "":
		kind = "of no use"
	case a.IsUnspecified():
		kind = "unspecified"
	case a.IsLoopback():
		kind = "loopback"
	case a.IsPrivate():
		kind = "private"
	case a.IsLinkLocalUnicast() || a.IsLinkLocalMulticast() || a.IsInterfaceLocalMulticast():
		kind = "link-local"
	case a.IsMulticast():
		kind = "multicast"
	case a.Is6() && !globalIPv6.Contains(a), slices.ContainsFunc(unroutable, func(p netip.Prefix) bool { return p.Contains(a) }):
		kind = "reserved"
	default:
		return a.String(), ""
	}
	return "", fmt.Sprintf("the address %s is %s", quoted(s), kind)
}

// hostname is a host name as records have it, or what keeps it from being in one.
func (z Zone) hostname(s string) (valid, fault string) {
	name := strings.TrimSuffix(strings.ToLower(s), ".")
	labels := strings.Split(name, ".")
	switch {
	case len(name) > maxName, len(validation.IsDNS1123Subdomain(name)) > 0, len(labels) < 2,
		slices.ContainsFunc(labels, func(l string) bool { return len(l) > maxLabel }), allDigits(labels[len(labels)-1]):
		return "", fmt.Sprintf("the host name %s is not valid", quoted(s))
	case name == "localhost" || strings.HasSuffix(name, ".localhost"):
		return "", fmt.Sprintf("the host name %s is loopback", quoted(s))
	case strings.HasSuffix(name, "."+z.Domain) && len(labels) > 4 && labels[2] == string(z.Federation) && labels[3] == "svc":
		return "", fmt.Sprintf("the host name %s is one of the federation's own", quoted(s))
	}
	return name, ""
}

// allDigits says whether a label is a number: no top-level domain is, and some read such a name as an address.
func allDigits(label string) bool { return strings.Trim(label, "0123456789") == "" }

// quoted is what a member says, as a message shows it.
func quoted(s string) string { return fmt.Sprintf("%q", text.Cut(s, maxLabel)) }

// leftOut are the first sentences of what is left out, and how many there are.
type leftOut struct {
	texts []string
	all   int
}

func (l *leftOut) add(format string, args ...any) {
	if l.all++; len(l.texts) < MaxReports {
		l.texts = append(l.texts, fmt.Sprintf(format, args...))
	}
}

// first adds a sentence in front of all others.
func (l *leftOut) first(text string) {
	l.all++
	if l.texts = slices.Insert(l.texts, 0, text); len(l.texts) > MaxReports {
		l.texts = l.texts[:MaxReports]
	}
}

func (l *leftOut) text() []string {
	if more := l.all - len(l.texts); more > 0 {
		return append(l.texts, fmt.Sprintf("and %d more", more))
	}
	return l.texts
}

// Usable is what can be used of what was once accepted, and others may have changed since.
func (z Zone) Usable(e Exported) Exported {
	found, _ := z.usable(slices.Concat(e.Addresses, e.Hostnames))
	return found
}
