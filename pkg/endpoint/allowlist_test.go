package endpoint_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
)

func listOf(t testing.TB, entries ...string) endpoint.AllowList {
	t.Helper()
	list, err := endpoint.ParseAllowList(entries)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func said(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestAllowListEntries(t *testing.T) {
	t.Parallel()
	for _, entry := range []string{
		"*", "api.example.com", "a_b.example.com", "localhostess", "xn--mnchen-3ya.example.com", ".example.com", ".com", "10.20.0.1", "2001:db8::1", "10.20.0.0/16",
		"10.20.0.1/32", "0.0.0.0/0", "::/0", "2001:db8::/32", "169.0.0.0/8", "240.0.0.1", "64:ff9b::/96", "192.0.0.0/24",
	} {
		if err := endpoint.ValidateAllowList(nil, []string{entry}); len(err) > 0 {
			t.Errorf("%q: %v", entry, err)
		}
		if _, err := endpoint.ParseAllowList([]string{entry}); err != nil {
			t.Errorf("%q: %v", entry, err)
		}
	}
	for entry, want := range map[string]string{
		"":                        "it must have a host",
		".":                       "it must have a host",
		"https://api.example.com": "it is a URL: write its host alone",
		"*.example.com":           "write .example.com for a domain and all names below it",
		"api.*.com":               `"api.*.com" is neither a DNS name nor an IP address`,
		"api.example.com:6443":    "it has a port, and every port of a host is allowed: write api.example.com",
		"10.20.0.1:6443":          "it has a port, and every port of a host is allowed: write 10.20.0.1",
		"[2001:db8::1]:6443":      "it has a port, and every port of a host is allowed: write 2001:db8::1",
		"[2001:db8::1]":           "write an IPv6 address without brackets",
		"API.example.com":         "write it in lower case and without a dot at its end: api.example.com",
		"api.example.com.":        "write it in lower case and without a dot at its end: api.example.com",
		".Example.com.":           "write it in lower case and without a dot at its end: .example.com",
		"münchen.example.com":     `"münchen.example.com" must be written in ASCII: xn--mnchen-3ya.example.com`,
		"a..b":                    `"a..b" is neither a DNS name nor an IP address`,
		"..example.com":           `".example.com" is neither a DNS name nor an IP address`,
		".10.20.0.1":              "it is neither a domain nor an IP address",
		"10.20":                   `"10.20" is neither a DNS name nor an IP address`,
		"0x0a140001":              `"0x0a140001" is neither a DNS name nor an IP address`,
		"0x":                      `"0x" is neither a DNS name nor an IP address`,
		"010.20.0.1":              `"010.20.0.1" is neither a DNS name nor an IP address`,
		"169213953":               `"169213953" is neither a DNS name nor an IP address`,
		"10.20.0.0/33":            "it is not a range of addresses in CIDR notation, such as 10.20.0.0/16 or 2001:db8::/32",
		"10.20.0.0/255.255.0.0":   "it is not a range of addresses in CIDR notation, such as 10.20.0.0/16 or 2001:db8::/32",
		"10.20/16":                "it is not a range of addresses in CIDR notation, such as 10.20.0.0/16 or 2001:db8::/32",
		"example.com/16":          "it is not a range of addresses in CIDR notation, such as 10.20.0.0/16 or 2001:db8::/32",
		"10.20.3.4/16":            "it has bits beyond its length: write 10.20.0.0/16 for the range, or 10.20.3.4 for the address",
		"2001:DB8::1":             "write it as 2001:db8::1",
		"2001:db8:0::/32":         "write it as 2001:db8::/32",
		"::ffff:10.20.0.1":        "it maps IPv4 addresses: write 10.20.0.1",
		"::ffff:10.20.0.0/112":    "it maps IPv4 addresses: write 10.20.0.0/16",
		"::ffff:0:0/90":           "it maps IPv4 addresses: write the range of the IPv4 addresses themselves",
		"2001:db8::1%eth0":        "an address with a zone leads nowhere but from one machine: write an address without one",
		"localhost":               "it is a loopback address, which discovery never allows",
		".localhost":              "it is a loopback address, which discovery never allows",
		"127.0.0.1":               "it is a loopback address, which discovery never allows",
		"127.8.0.0/16":            "it is a loopback address, which discovery never allows",
		"::1":                     "it is a loopback address, which discovery never allows",
		"169.254.0.0/16":          "it is a link-local address, which discovery never allows",
		"fe80::/64":               "it is a link-local address, which discovery never allows",
		"0.0.0.0":                 "it is an unspecified address, which discovery never allows",
		"ff02::1":                 "it is a multicast address, which discovery never allows",
		"64:ff9b::127.0.0.1":      "write it as 64:ff9b::7f00:1",
		"64:ff9b::7f00:1":         "it is a loopback address, which discovery never allows",
		"168.63.129.16":           "it is an address of a cloud's metadata service, which discovery never allows",
	} {
		faults := endpoint.ValidateAllowList(field.NewPath("endpoints"), []string{"ok.example.com", entry})
		if len(faults) != 1 || faults[0].Field != "endpoints[1]" || faults[0].Detail != want || faults[0].Type != field.ErrorTypeInvalid {
			t.Errorf("%q: got %v, want %q", entry, faults, want)
		}
		list, err := endpoint.ParseAllowList([]string{"ok.example.com", entry})
		if got := said(err); got != fmt.Sprintf("entry 2, %q: %s", entry, want) {
			t.Errorf("%q: got %q", entry, got)
		}
		if !list.Empty() {
			t.Errorf("%q: a list with a bad entry allows something", entry)
		}
	}
}

func TestAllowListName(t *testing.T) {
	t.Parallel()
	names := listOf(t, "api.example.com", ".k8s.example.com")
	ranges := listOf(t, "10.20.0.0/16", "2001:db8::/32", "192.0.2.7")
	for name, c := range map[string]struct {
		list endpoint.AllowList
		host string
		want string
	}{
		"listed":                 {names, "api.example.com", ""},
		"capitals and last dot":  {names, "API.Example.com.", ""},
		"domain itself":          {names, "k8s.example.com", ""},
		"below the domain":       {names, "a.b.k8s.example.com", ""},
		"ends like the domain":   {names, "evilk8s.example.com", `"evilk8s.example.com" is not in spec.discovery.endpoints`},
		"below a listed name":    {names, "x.api.example.com", `"x.api.example.com" is not in spec.discovery.endpoints`},
		"domain in the middle":   {names, "k8s.example.com.evil.com", `"k8s.example.com.evil.com" is not in spec.discovery.endpoints`},
		"address, only names":    {names, "10.20.0.1", `"10.20.0.1" is not in spec.discovery.endpoints`},
		"name, a range":          {ranges, "any.example.org", ""},
		"address in the range":   {ranges, "10.20.255.255", ""},
		"address, last dot":      {ranges, "10.20.0.1.", ""},
		"mapped":                 {ranges, "::ffff:10.20.0.1", ""},
		"listed address":         {ranges, "192.0.2.7", ""},
		"beside the address":     {ranges, "192.0.2.8", `"192.0.2.8" is not in spec.discovery.endpoints`},
		"IPv6 in the range":      {ranges, "2001:db8:ffff::1", ""},
		"outside":                {ranges, "10.21.0.0", `"10.21.0.0" is not in spec.discovery.endpoints`},
		"any name":               {listOf(t, "*"), "any.example.org", ""},
		"any address":            {listOf(t, "*"), "203.0.113.1", ""},
		"empty list":             {endpoint.AllowList{}, "api.example.com", `"api.example.com" is not in spec.discovery.endpoints`},
		"empty list, address":    {endpoint.AllowList{}, "10.20.0.1", `"10.20.0.1" is not in spec.discovery.endpoints`},
		"no host":                {listOf(t, "*"), "", `"" is neither a DNS name nor an IP address`},
		"localhost":              {listOf(t, "*"), "LocalHost.", `"LocalHost." is a loopback address, which discovery never allows`},
		"below localhost":        {listOf(t, "*"), "a.localhost", `"a.localhost" is a loopback address, which discovery never allows`},
		"loopback":               {listOf(t, "*"), "127.0.0.1", `"127.0.0.1" is a loopback address, which discovery never allows`},
		"loopback, in a range":   {listOf(t, "0.0.0.0/0"), "127.0.0.1", `"127.0.0.1" is a loopback address, which discovery never allows`},
		"mapped loopback":        {listOf(t, "*"), "::ffff:127.0.0.1", `"::ffff:127.0.0.1" is a loopback address, which discovery never allows`},
		"mapped loopback in hex": {listOf(t, "*"), "::ffff:7f00:1", `"::ffff:7f00:1" is a loopback address, which discovery never allows`},
		"short":                  {listOf(t, "*"), "127.1", `"127.1" is neither a DNS name nor an IP address`},
		"hexadecimal":            {listOf(t, "*"), "0x7f.1", `"0x7f.1" is neither a DNS name nor an IP address`},
		"hexadecimal last":       {listOf(t, "*"), "127.0.0.0X1", `"127.0.0.0X1" is neither a DNS name nor an IP address`},
		"one number":             {listOf(t, "*"), "2130706433", `"2130706433" is neither a DNS name nor an IP address`},
		"one hexadecimal":        {listOf(t, "*"), "0x7f000001", `"0x7f000001" is neither a DNS name nor an IP address`},
		"long hexadecimal":       {listOf(t, "*"), "0xffffffffffffffff7f000001", `"0xffffffffffffffff7f000001" is neither a DNS name nor an IP address`},
		"octal":                  {listOf(t, "*"), "0177.0.0.1", `"0177.0.0.1" is neither a DNS name nor an IP address`},
		"full-width digits":      {listOf(t, "*"), "１２７.０.０.１", `"１２７.０.０.１" is neither a DNS name nor an IP address`},
		"ideographic dots":       {listOf(t, "*"), "127。0。0。1", `"127。0。0。1" is neither a DNS name nor an IP address`},
		"zone":                   {listOf(t, "*"), "2001:db8::1%eth0", `"2001:db8::1%eth0" resolves to 2001:db8::1, which is an address of one network interface, which discovery never allows`},
		"link-local with a zone": {listOf(t, "*"), "fe80::1%eth0", `"fe80::1%eth0" resolves to fe80::1, which is a link-local address, which discovery never allows`},
		"not a name":             {listOf(t, "*"), "a b\x1b[31m", `"a b\x1b[31m" is neither a DNS name nor an IP address`},
	} {
		err := c.list.Name(c.host)
		if refused := (*endpoint.NotAllowed)(nil); said(err) != c.want || err != nil && !errors.As(err, &refused) {
			t.Errorf("%s: got %q, want %q", name, said(err), c.want)
		}
	}
}

// What leads to the machine itself, or to what trusts it, is refused by every list that would allow it.
func TestAllowListNever(t *testing.T) {
	t.Parallel()
	const (
		loopback, linkLocal, unspecified = "is a loopback address", "is a link-local address", "is an unspecified address"
		multicast, broadcast, metadata   = "is a multicast address", "is the broadcast address", "is an address of a cloud's metadata service"
		host                             = "is an address of the host's own API server"
	)
	own := []netip.Addr{netip.MustParseAddr("203.0.113.5"), netip.MustParseAddr("::ffff:10.96.0.1"), netip.MustParseAddr("2001:db8:5::1")}
	lists := map[string]endpoint.AllowList{
		"any": listOf(t, "*"), "ranges": listOf(t, "0.0.0.0/0", "::/0"), "name": listOf(t, "api.example.com"), "domain": listOf(t, ".com"),
	}
	for address, want := range map[string]string{
		"127.0.0.1": loopback, "127.255.255.254": loopback, "::1": loopback, "::ffff:127.0.0.1": loopback,
		"169.254.169.254": linkLocal, "169.254.170.2": linkLocal, "::ffff:169.254.169.254": linkLocal, "fe80::1": linkLocal, "febf::1": linkLocal, "fe80::1%eth0": linkLocal,
		"0.0.0.0": unspecified, "0.1.2.3": unspecified, "::": unspecified, "::ffff:0.0.0.0": unspecified,
		"224.0.0.1": multicast, "239.255.255.255": multicast, "ff02::1": multicast, "255.255.255.255": broadcast,
		"fd00:ec2::254": metadata, "fd00:ec2::23": metadata, "fd20:ce::254": metadata, "100.100.100.200": metadata, "168.63.129.16": metadata,
		"::ffff:168.63.129.16": metadata, "192.0.0.192": metadata, "fd00:c1::a9fe:a9fe": metadata, "fd00:42::42": metadata,
		"203.0.113.5": host, "10.96.0.1": host, "2001:db8:5::1": host, "::ffff:203.0.113.5": host,
		// The same, in an IPv6 address that leads there.
		"::127.0.0.1": loopback, "::a9fe:a9fe": linkLocal, "::ffff:0:127.0.0.1": loopback,
		"64:ff9b::127.0.0.1": loopback, "64:ff9b::169.254.169.254": linkLocal, "64:ff9b::168.63.129.16": metadata, "64:ff9b::203.0.113.5": host,
		"64:ff9b:1::127.0.0.1": loopback, "64:ff9b:1:7f00:0:100::": loopback, "64:ff9b:1:aa7f:0:1::": loopback, "64:ff9b:1:aaaa:7f:0:100:0": loopback,
		"64:ff9b:1:a9fe:a9:fe00::": linkLocal,
		"2002:7f00:1::":            loopback, "2002:a9fe:a9fe::1": linkLocal, "2002:cb00:7105::1": host,
		"2001:0:7f00:1::80ff:fffe": loopback, "2001:0:102:304::80ff:fffe": loopback, "2001:0:a9fe:a9fe::1": linkLocal,
		"2001:db8::5efe:127.0.0.1": loopback, "2001:db8::200:5efe:169.254.169.254": linkLocal,
	} {
		for name, list := range lists {
			var text string
			if a := netip.MustParseAddr(address); a.Is4In6() || a.Zone() != "" {
				text = a.WithZone("").Unmap().String()
			} else {
				text = a.String()
			}
			want := fmt.Sprintf(`"api.example.com" resolves to %s, which %s, which discovery never allows`, text, want)
			if got := said(list.Address("api.example.com", netip.MustParseAddr(address), own)); got != want {
				t.Errorf("%s, list %s: got %q, want %q", address, name, got, want)
			}
		}
	}
	// Their neighbours are not.
	for _, address := range []string{
		"126.255.255.255", "128.0.0.1", "169.253.255.255", "169.255.0.0", "1.0.0.0", "223.255.255.255", "240.0.0.1", "255.255.255.254", "fec0::1", "fd00:ec3::254", "fd20:ce::253",
		"100.100.100.201", "168.63.129.17", "203.0.113.6", "10.96.0.2", "64:ff9b::10.20.0.1", "2002:a14:1::", "2001:db8::1", "64:ff9b:1::10.20.0.1", "2001:1::7f00:1", "fd00::1", "10.0.0.1", "100.64.0.1",
		"64:ff9b:1:a14:1:203:405:607",
	} {
		for name, list := range lists {
			if err := list.Address("api.example.com", netip.MustParseAddr(address), own); err != nil {
				t.Errorf("%s, list %s: %v", address, name, err)
			}
		}
	}
}

func TestAllowListAddress(t *testing.T) {
	t.Parallel()
	list := listOf(t, "api.example.com", ".k8s.example.com", "10.20.0.0/16", "2001:db8::/32")
	for name, c := range map[string]struct{ host, address, want string }{
		"listed name":        {"api.example.com", "198.51.100.1", ""},
		"listed domain":      {"A.k8s.example.com.", "198.51.100.1", ""},
		"name, in the range": {"other.example.com", "10.20.3.4", ""},
		"name, mapped":       {"other.example.com", "::ffff:10.20.3.4", ""},
		"name, IPv6":         {"other.example.com", "2001:db8::9", ""},
		"name, outside":      {"other.example.com", "10.21.0.1", `"other.example.com" resolves to 10.21.0.1, which is not in spec.discovery.endpoints`},
		"address":            {"10.20.3.4", "10.20.3.4", ""},
		"address, outside":   {"10.21.0.1", "10.21.0.1", `"10.21.0.1" is not in spec.discovery.endpoints`},
		"mapped, outside":    {"::ffff:10.21.0.1", "::ffff:10.21.0.1", `"::ffff:10.21.0.1" is not in spec.discovery.endpoints`},
		"NAT64 of the range": {"other.example.com", "64:ff9b::10.20.3.4", `"other.example.com" resolves to 64:ff9b::a14:304, which is not in spec.discovery.endpoints`},
		"zone":               {"other.example.com", "2001:db8::9%eth0", `"other.example.com" resolves to 2001:db8::9, which is an address of one network interface, which discovery never allows`},
	} {
		if got := said(list.Address(c.host, netip.MustParseAddr(c.address), nil)); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
	if got := said(list.Address("api.example.com", netip.Addr{}, nil)); got != `"api.example.com" is neither a DNS name nor an IP address` {
		t.Errorf("no address: %q", got)
	}
}

func TestAllowListJudge(t *testing.T) {
	t.Parallel()
	list := listOf(t, "api.example.com", "proxy.example.com", "10.20.0.0/16")
	for name, c := range map[string]struct {
		endpoint endpoint.Endpoint
		want     string
	}{
		"server":                   {endpoint.Endpoint{Server: "https://api.example.com:6443/k8s", TLSServerName: "anything"}, ""},
		"name in a range, perhaps": {endpoint.Endpoint{Server: "https://other.example.com"}, ""},
		"address":                  {endpoint.Endpoint{Server: "https://10.21.0.1:6443"}, `"10.21.0.1" is not in spec.discovery.endpoints`},
		"IPv6 address":             {endpoint.Endpoint{Server: "https://[::1]:6443"}, `"::1" is a loopback address, which discovery never allows`},
		"listed proxy":             {endpoint.Endpoint{Server: "https://api.example.com", ProxyURL: "http://proxy.example.com:3128"}, ""},
		"proxy by address":         {endpoint.Endpoint{Server: "https://10.20.0.1", ProxyURL: "socks5://10.20.0.9"}, ""},
		"proxy elsewhere":          {endpoint.Endpoint{Server: "https://api.example.com", ProxyURL: "http://10.21.0.1:3128"}, `"10.21.0.1" is not in spec.discovery.endpoints`},
		"proxy on loopback":        {endpoint.Endpoint{Server: "https://api.example.com", ProxyURL: "http://localhost"}, `"localhost" is a loopback address, which discovery never allows`},
		"a name behind a proxy":    {endpoint.Endpoint{Server: "https://other.example.com", ProxyURL: "http://proxy.example.com"}, `"other.example.com" is not in spec.discovery.endpoints by its name, which is what counts where a proxy resolves it`},
		"loopback behind a proxy":  {endpoint.Endpoint{Server: "https://127.0.0.1", ProxyURL: "http://proxy.example.com"}, `"127.0.0.1" is a loopback address, which discovery never allows`},
		"no server":                {endpoint.Endpoint{}, `"" is neither a DNS name nor an IP address`},
	} {
		if got := said(list.Judge(c.endpoint)); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
	anyone := endpoint.Endpoint{Server: "https://other.example.com", ProxyURL: "http://other.example.org"}
	if err := listOf(t, "*").Judge(anyone); err != nil {
		t.Error(err)
	}
}

func TestAllowListNamed(t *testing.T) {
	t.Parallel()
	list := listOf(t, "*", "proxy.example.com", ".corp.example.com", "10.20.0.0/16")
	for host, want := range map[string]bool{
		"proxy.example.com": true, "PROXY.example.com.": true, "a.corp.example.com": true, "10.20.1.1": true, "::ffff:10.20.1.1": true,
		"other.example.com": false, "10.21.1.1": false, "": false,
	} {
		if list.Named(host) != want {
			t.Errorf("%q: want %v", host, want)
		}
	}
}

func TestAllowListOf(t *testing.T) {
	t.Parallel()
	federation := func(entries ...string) *v1alpha1.Federation {
		return &v1alpha1.Federation{Spec: v1alpha1.FederationSpec{Discovery: &v1alpha1.Discovery{Endpoints: entries}}}
	}
	for name, c := range map[string]struct {
		federation         *v1alpha1.Federation
		listed, other, bad bool
	}{
		"a list":       {federation("api.example.com"), true, false, false},
		"bad list":     {federation("api.example.com", "10.0.0.1:80"), false, false, true},
		"no discovery": {&v1alpha1.Federation{}, true, true, false},
		"gone":         {nil, true, true, false},
	} {
		list, err := endpoint.AllowListOf(c.federation)
		if got := list.Name("api.example.com") == nil; got != c.listed || (list.Name("other.example.com") == nil) != c.other || (err != nil) != c.bad {
			t.Errorf("%s: allows %v: %v", name, got, err)
		}
		if list.Name("127.0.0.1") == nil {
			t.Errorf("%s: allows loopback", name)
		}
	}
}

func TestAllowListEqual(t *testing.T) {
	t.Parallel()
	lists := []endpoint.AllowList{
		{}, listOf(t, "*"), listOf(t, "a.com"), listOf(t, "b.com"), listOf(t, "a.com", "b.com"), listOf(t, ".a.com"), listOf(t, "10.0.0.1"), listOf(t, "10.0.0.0/8"),
		listOf(t, "10.0.0.0/8", "a.com"),
	}
	for i, a := range lists {
		for j, b := range lists {
			if a.Equal(b) != (i == j) {
				t.Errorf("lists %d and %d", i, j)
			}
		}
	}
	if a, b := listOf(t, "a.com", "10.0.0.0/8"), listOf(t, "10.0.0.0/8", "a.com"); !a.Equal(b) {
		t.Error("names and ranges have an order among each other")
	}
}

// numeric is what inet_aton makes of a host: one to four numbers, each decimal, octal or hexadecimal, of which the last fills the rest.
func numeric(host string) (netip.Addr, bool) {
	parts := strings.Split(host, ".")
	if len(parts) > 4 {
		return netip.Addr{}, false
	}
	var value uint64
	for i, part := range parts {
		n, err := strconv.ParseUint(part, 0, 32)
		last := i == len(parts)-1
		if err != nil || strings.Contains(part, "_") || !last && n > 255 || last && n >= 1<<(8*(5-len(parts))) {
			return netip.Addr{}, false
		}
		if last {
			value |= n
		} else {
			value |= n << (24 - 8*i)
		}
	}
	return netip.AddrFrom4([4]byte{byte(value >> 24), byte(value >> 16), byte(value >> 8), byte(value)}), true
}

// FuzzAllowList holds that no list lets a connection go to what is refused always, in whatever notation and by whatever entry, and that
// an entry means one thing only.
func FuzzAllowList(f *testing.F) {
	f.Add("*", "0x7f.1", []byte{127, 0, 0, 1})
	f.Add(".example.com", "a.example.com", []byte{169, 254, 169, 254})
	f.Add("0.0.0.0/0", "2130706433", []byte{0, 0, 0, 0})
	f.Add("::/0", "::ffff:127.0.0.1", netip.MustParseAddr("64:ff9b::7f00:1").AsSlice())
	f.Add("10.0.0.0/8", "010.0.0.1", netip.MustParseAddr("2002:7f00:1::").AsSlice())
	f.Add("::ffff:0:0/96", "fe80::1%eth0", netip.MustParseAddr("fe80::1").AsSlice())
	f.Fuzz(func(t *testing.T, entry, host string, raw []byte) {
		list, err := endpoint.ParseAllowList([]string{entry})
		if err != nil {
			if !list.Empty() || len(endpoint.ValidateAllowList(nil, []string{entry})) != 1 {
				t.Fatalf("entry %q is refused, and not by both: %v", entry, err)
			}
			return
		}
		if list.Empty() || entry != strings.ToLower(entry) || strings.ContainsAny(entry, "%[]") {
			t.Fatalf("entry %q is taken", entry)
		}
		named := list.Name(host)
		if _, err := netip.ParseAddr(strings.TrimSuffix(host, ".")); err != nil {
			if _, ok := numeric(host); ok && named == nil {
				t.Fatalf("host %q is a number to some resolvers", host)
			}
		}
		address, ok := netip.AddrFromSlice(raw)
		if !ok {
			return
		}
		own := netip.MustParseAddr("203.0.113.5")
		err = list.Address(host, address, []netip.Addr{own})
		plain := address.Unmap()
		if bad := plain.IsLoopback() || plain.IsLinkLocalUnicast() || plain.IsUnspecified() || plain.IsMulticast() || plain == own; bad && err == nil {
			t.Fatalf("entry %q lets %q go to %s", entry, host, address)
		}
		inside := false
		if prefix, err := netip.ParsePrefix(entry); err == nil {
			inside = prefix.Contains(plain)
		} else if single, err := netip.ParseAddr(entry); err == nil {
			inside = single == plain
		}
		normal := strings.ToLower(strings.TrimSuffix(host, "."))
		below := strings.HasPrefix(entry, ".") && (normal == entry[1:] || strings.HasSuffix(normal, entry))
		if err == nil && entry != "*" && !inside && normal != entry && !below {
			t.Fatalf("entry %q lets %q go to %s", entry, host, address)
		}
		if hosts := []string{host, address.String()}; slices.Contains(hosts, "") {
			return
		}
		if judged := list.Name(address.String()); err == nil && inside && judged != nil {
			t.Fatalf("entry %q allows %s at a dial and not by name: %v", entry, address, judged)
		}
	})
}
