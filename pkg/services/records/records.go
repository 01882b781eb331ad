// Package records says under which names the services that members export are found in DNS, and what these names lead to. It is pure:
// nothing here connects.
//
// The names are those of Kubernetes' federated services of 2015: one for the federation, and one for each region and each zone that has
// a member which exports the service. A name leads to the members in its scope that are Ready, and where there are none to those of the
// next wider scope.
package records

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// Types of records.
const (
	TypeA     = "A"
	TypeAAAA  = "AAAA"
	TypeCNAME = "CNAME"
)

const (
	// MaxTargets is how many addresses one name leads to. Those of the first members by name are taken.
	MaxTargets = 100
	// MaxNames is how many names one service has. Those of the first zones and regions are taken.
	MaxNames = 256
	// maxName is the length of a name in DNS, and maxLabel that of a part of it.
	maxName, maxLabel = 253, 63
)

// Zone says how the names of a federation are made, and the TTL of their records.
type Zone struct {
	Federation v1alpha1.FederationName
	// Domain is valid: a DNS name in lower case.
	Domain string
	// TTL of the records in seconds.
	TTL int64
}

// Service is what is exported, under one name by all members.
type Service struct{ Namespace, Name string }

func (s Service) String() string { return s.Namespace + "/" + s.Name }

// Compare orders services by namespace, then by name.
func (s Service) Compare(o Service) int {
	return cmp.Or(cmp.Compare(s.Namespace, o.Namespace), cmp.Compare(s.Name, o.Name))
}

// Exporter is a member that exports a service.
type Exporter struct {
	// Member is its name. No two exporters of a service have one name.
	Member string
	// Ready members are led to.
	Ready bool
	// Regions and Zones are those of the member's nodes. A member with several zones is in each of them; one with several regions is in
	// each region and in no zone, since it is not known which zone is in which region.
	Regions, Zones []string
	// Exported is what the member's load balancer has, as Accept returns it.
	Exported Exported
}

// Endpoint is a record set: all records of one type and one name.
type Endpoint struct {
	Name    string
	Type    string
	Targets []string
	TTL     int64
}

// scope is where the members are that a name leads to: in a zone of a region, in a region, or anywhere.
type scope struct{ region, zone string }

// wider are the scopes that a name falls back to, the next one first.
func (s scope) wider() []scope {
	switch {
	case s.zone != "":
		return []scope{{region: s.region}, {}}
	case s.region != "":
		return []scope{{}}
	}
	return nil
}

func (s scope) compare(o scope) int {
	return cmp.Or(cmp.Compare(s.region, o.region), cmp.Compare(s.zone, o.zone))
}

// name is the name of a service in a scope.
func (z Zone) name(s Service, in scope) string {
	labels := []string{s.Name, s.Namespace, string(z.Federation), "svc"}
	for _, part := range []string{in.zone, in.region} {
		if part != "" {
			labels = append(labels, part)
		}
	}
	return strings.Join(append(labels, z.Domain), ".")
}

// Of are the record sets of a service, sorted by name and type, and what a person should know of them, in at most MaxReports sentences
// and one more. last are the record sets that there were before. They stay while no member that exports the service is Ready.
func (z Zone) Of(s Service, exporters []Exporter, last []Endpoint) (endpoints []Endpoint, reports []string) {
	var left leftOut
	places := placesOf(exporters, &left)
	names := map[scope]string{}
	for _, in := range scopesOf(places, &left) {
		name := z.name(s, in)
		if len(name) > maxName {
			left.add("the name %q has more than %d characters, and no record", name, maxName)
			continue
		}
		names[in] = name
	}
	if len(names) == 0 {
		return nil, left.text()
	}
	byAddress := slices.ContainsFunc(exporters, func(e Exporter) bool { return len(e.Exported.Addresses) > 0 })
	targets := map[scope][]string{}
	for in := range names {
		targets[in] = targetsIn(in, places, byAddress)
	}
	if len(targets[scope{}]) == MaxTargets {
		left.add("a name leads to %d addresses at most: those of the first members by name", MaxTargets)
	}
	for _, p := range places {
		switch {
		case byAddress && len(p.Exported.Addresses) == 0 && len(p.Exported.Hostnames) > 0:
			left.add("member %q has the host name %q and no address, and others have addresses: no name leads to it", p.Member, p.Exported.Hostnames[0])
		case len(p.Exported.Addresses)+len(p.Exported.Hostnames) == 0:
			left.add("member %q exports it, and its load balancer has no address that can be used", p.Member)
		}
	}
	if len(targets[scope{}]) == 0 {
		endpoints = z.keep(slices.Collect(maps.Values(names)), last, byAddress)
		if len(exporters) > 0 {
			left.first(nothingReady(endpoints))
		}
		return endpoints, left.text()
	}
	for in, name := range names {
		found := targets[in]
		for _, next := range in.wider() {
			if len(found) > 0 {
				break
			}
			found = targets[next]
		}
		endpoints = append(endpoints, z.endpoints(name, found, byAddress)...)
	}
	slices.SortFunc(endpoints, compareEndpoints)
	return endpoints, left.text()
}

func nothingReady(kept []Endpoint) string {
	if len(kept) == 0 {
		return "no member that exports it is Ready with an address: there are no records"
	}
	return "no member that exports it is Ready with an address: the records stay as they were"
}

func compareEndpoints(a, b Endpoint) int {
	return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Type, b.Type))
}

// place is an exporter, and the scopes that it is in.
type place struct {
	Exporter
	scopes []scope
}

// placesOf are the exporters by name.
func placesOf(exporters []Exporter, left *leftOut) []place {
	places := make([]place, len(exporters))
	for i, e := range slices.SortedFunc(slices.Values(exporters), func(a, b Exporter) int { return cmp.Compare(a.Member, b.Member) }) {
		places[i] = place{e, e.scopes(left)}
	}
	return places
}

// scopesOf are the scopes that have an exporter, the whole federation first.
func scopesOf(places []place, left *leftOut) []scope {
	var scopes []scope
	for _, p := range places {
		scopes = append(scopes, p.scopes...)
	}
	slices.SortFunc(scopes, scope.compare)
	scopes = slices.Compact(scopes)
	if len(scopes) > MaxNames {
		left.add("members are in %d zones and regions: the first %d have names", len(scopes)-1, MaxNames-1)
		scopes = scopes[:MaxNames]
	}
	return scopes
}

// scopes are those that a member is in, the whole federation first.
func (e Exporter) scopes(left *leftOut) []scope {
	scopes := []scope{{}}
	valid := func(what, label string) bool {
		if len(validation.IsDNS1123Label(label)) == 0 {
			return true
		}
		left.add("member %q is in %s %s, which cannot be part of a name in DNS", e.Member, what, quoted(label))
		return false
	}
	for _, region := range e.Regions {
		if valid("region", region) {
			scopes = append(scopes, scope{region: region})
		}
	}
	if len(e.Regions) != 1 {
		if len(e.Zones) > 0 && len(e.Regions) > 1 {
			left.add("member %q is in %d regions, and has no names for its zones", e.Member, len(e.Regions))
		}
		return scopes
	}
	for _, zone := range e.Zones {
		if len(scopes) > 1 && valid("zone", zone) {
			scopes = append(scopes, scope{e.Regions[0], zone})
		}
	}
	return scopes
}

// targetsIn are what the Ready members in a scope have: all addresses, or the host name of the first.
func targetsIn(s scope, places []place, byAddress bool) (targets []string) {
	for _, p := range places {
		switch {
		case !p.Ready || !slices.Contains(p.scopes, s):
		case !byAddress && len(p.Exported.Hostnames) > 0:
			return p.Exported.Hostnames[:1]
		case byAddress:
			for _, target := range p.Exported.Addresses {
				if !slices.Contains(targets, target) && len(targets) < MaxTargets {
					targets = append(targets, target)
				}
			}
		}
	}
	return targets
}

// endpoints are the record sets of a name.
func (z Zone) endpoints(name string, targets []string, byAddress bool) (endpoints []Endpoint) {
	if !byAddress {
		return []Endpoint{{Name: name, Type: TypeCNAME, Targets: targets, TTL: z.TTL}}
	}
	byType := map[string][]string{}
	for _, target := range targets {
		recordType := TypeAAAA
		if netip.MustParseAddr(target).Is4() {
			recordType = TypeA
		}
		byType[recordType] = append(byType[recordType], target)
	}
	for _, recordType := range []string{TypeA, TypeAAAA} {
		if found := byType[recordType]; len(found) > 0 {
			slices.Sort(found)
			endpoints = append(endpoints, Endpoint{Name: name, Type: recordType, Targets: found, TTL: z.TTL})
		}
	}
	return endpoints
}

// keep are the records of before for the names of now. A name that had none gets those of the widest scope, which has the shortest name.
// What is not of the type that the records have now, or not as it would be made here, is left out: others may have changed it.
func (z Zone) keep(names []string, last []Endpoint, byAddress bool) (endpoints []Endpoint) {
	had := map[string][]string{}
	for _, e := range last {
		if (e.Type == TypeCNAME) == byAddress {
			continue
		}
		for _, target := range e.Targets {
			if byAddress {
				target, _ = address(target)
			} else {
				target, _ = z.hostname(target)
			}
			if target != "" && len(had[e.Name]) < MaxTargets && !slices.Contains(had[e.Name], target) {
				had[e.Name] = append(had[e.Name], target)
			}
		}
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) })
	for _, name := range names {
		targets := had[name]
		if len(targets) == 0 {
			targets = had[names[0]]
		}
		if len(targets) > 0 {
			if !byAddress {
				targets = targets[:1]
			}
			endpoints = append(endpoints, z.endpoints(name, targets, byAddress)...)
		}
	}
	slices.SortFunc(endpoints, compareEndpoints)
	return endpoints
}
