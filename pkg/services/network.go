package services

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Network is what is known of the networks of a member.
type Network struct {
	// Pods and Services are the addresses of pods and of Services, as far as they are known.
	Pods, Services []Range
	// Domain says whether cluster DNS serves clusterset.local.
	Domain Domain
}

// Range is a range of addresses of one family.
type Range struct{ From, To netip.Addr }

// String is the range as a CIDR, or its ends where it is none.
func (r Range) String() string {
	for bits := range r.From.BitLen() + 1 {
		if p := netip.PrefixFrom(r.From, bits); p.Masked().Addr() == r.From && lastOf(p) == r.To {
			return p.String()
		}
	}
	return r.From.String() + "-" + r.To.String()
}

// MarshalText is String.
func (r Range) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// lastOf is the last address of a prefix.
func lastOf(p netip.Prefix) netip.Addr {
	bytes := p.Masked().Addr().AsSlice()
	for i := range bytes {
		if within := p.Bits() - i*8; within < 8 {
			bytes[i] |= byte(0xff >> max(within, 0))
		}
	}
	last, _ := netip.AddrFromSlice(bytes)
	return last
}

const (
	// maxRanges bounds the ranges of a member: nodes whose ranges lie next to each other are one.
	maxRanges = 1000
	// Networks of clusters are no larger than these prefixes. A larger one would overlap all others.
	leastBits4, leastBits6 = 8, 16
)

// parseRanges reads CIDRs, and says how many are none.
func parseRanges(cidrs []string) (ranges []Range, invalid int) {
	for _, cidr := range cidrs {
		p, err := netip.ParsePrefix(cidr)
		if err != nil || p.Addr().Is4In6() || p.Addr().Is4() && p.Bits() < leastBits4 || p.Addr().Is6() && p.Bits() < leastBits6 {
			invalid++
			continue
		}
		ranges = append(ranges, Range{p.Masked().Addr(), lastOf(p)})
	}
	return ranges, invalid
}

// join sorts ranges and makes one of those that overlap or touch.
func join(ranges []Range) (joined []Range) {
	ranges = slices.Clone(ranges)
	slices.SortFunc(ranges, func(a, b Range) int { return cmp.Or(a.From.Compare(b.From), a.To.Compare(b.To)) })
	for _, r := range ranges {
		if n := len(joined); n > 0 && joined[n-1].To.BitLen() == r.From.BitLen() && (!joined[n-1].To.Less(r.From) || joined[n-1].To.Next() == r.From) {
			if joined[n-1].To.Less(r.To) {
				joined[n-1].To = r.To
			}
			continue
		}
		joined = append(joined, r)
	}
	return joined
}

// Use is a range that a member uses.
type Use struct {
	Member string `json:"member"`
	// For is "pods" or "services".
	For   string `json:"for"`
	Range Range  `json:"range"`
}

func (u Use) String() string { return fmt.Sprintf("%s %s of %s", u.Range, u.For, u.Member) }

// Overlap is a range of addresses that several members use: an address in it leads elsewhere on each.
type Overlap struct {
	// Range is all that the uses have together.
	Range Range `json:"range"`
	Uses  []Use `json:"uses"`
}

// Members are those that use it, each once.
func (o Overlap) Members() (names []string) {
	for _, u := range o.Uses {
		if !slices.Contains(names, u.Member) {
			names = append(names, u.Member)
		}
	}
	slices.Sort(names)
	return names
}

// overlaps are the ranges that more than one member uses, with all that overlaps each: one row for clusters that were all made with the
// same ranges, and not one for each two of them.
func overlaps(members []Member) (all []Overlap) {
	var uses []Use
	for i := range members {
		n := members[i].Network
		if n == nil {
			continue
		}
		for _, r := range n.Pods {
			uses = append(uses, Use{members[i].Name, "pods", r})
		}
		for _, r := range n.Services {
			uses = append(uses, Use{members[i].Name, "services", r})
		}
	}
	slices.SortFunc(uses, func(a, b Use) int {
		return cmp.Or(a.Range.From.Compare(b.Range.From), a.Range.To.Compare(b.Range.To), cmp.Compare(a.Member, b.Member), cmp.Compare(a.For, b.For))
	})
	add := func(o Overlap) {
		if len(o.Uses) > 1 && slices.ContainsFunc(o.Uses, func(u Use) bool { return u.Member != o.Uses[0].Member }) {
			all = append(all, o)
		}
	}
	var at Overlap
	for _, u := range uses {
		if len(at.Uses) > 0 && at.Range.To.BitLen() == u.Range.From.BitLen() && !at.Range.To.Less(u.Range.From) {
			at.Uses = append(at.Uses, u)
			if at.Range.To.Less(u.Range.To) {
				at.Range.To = u.Range.To
			}
			continue
		}
		add(at)
		at = Overlap{Range: u.Range, Uses: []Use{u}}
	}
	add(at)
	return all
}

// Domain says whether cluster DNS serves clusterset.local.
type Domain string

// What is known of clusterset.local.
const (
	DomainServed    Domain = "served"
	DomainForwarded Domain = "forwarded"
	DomainNotServed Domain = "not served"
	DomainUnknown   Domain = "unknown"
)

// clusterSetDomain is the zone of services of other clusters (the KEP's specification.md).
const clusterSetDomain = "clusterset.local"

// domainOf reads a Corefile, the configuration of CoreDNS: served is a line "multicluster clusterset.local" of the plugin kubernetes, or of
// the older plugin of that name; forwarded is a server of its own for the zone, as Submariner adds one.
func domainOf(corefile string) Domain {
	found := DomainNotServed
	for line := range strings.Lines(corefile) {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		zones := words
		if words[0] == "multicluster" {
			zones = words[1:]
		} else if words[len(words)-1] != "{" {
			continue
		}
		for _, zone := range zones {
			zone, _, _ = strings.Cut(strings.TrimPrefix(zone, "dns://"), ":")
			if strings.TrimSuffix(zone, ".") != clusterSetDomain {
				continue
			}
			if words[0] == "multicluster" {
				return DomainServed
			}
			found = DomainForwarded
		}
	}
	return found
}
