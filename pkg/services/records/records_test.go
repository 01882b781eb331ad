package records

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var (
	shop   = Service{"shop", "cart"}
	prod   = Zone{Federation: "prod", Domain: "example.com", TTL: 60}
	global = "cart.shop.prod.svc.example.com"
	east   = "cart.shop.prod.svc.us-east.example.com"
	eastA  = "cart.shop.prod.svc.us-east-a.us-east.example.com"
	eastB  = "cart.shop.prod.svc.us-east-b.us-east.example.com"
	west   = "cart.shop.prod.svc.us-west.example.com"
)

// exporter is a Ready member in a region and zones, as "name region zone,zone".
func exporter(where string, targets ...string) Exporter {
	f := append(strings.Fields(where), "", "")
	e := Exporter{Member: f[0], Ready: true}
	if f[1] != "" {
		e.Regions = []string{f[1]}
	}
	if f[2] != "" {
		e.Zones = strings.Split(f[2], ",")
	}
	e.Exported, _ = prod.usable(targets)
	return e
}

func failing(e Exporter) Exporter {
	e.Ready = false
	return e
}

// lines are record sets, one a line: "name type target,target"; the longest name first.
func lines(endpoints []Endpoint) []string {
	var all []string
	for _, e := range endpoints {
		all = append(all, e.Name+" "+e.Type+" "+strings.Join(e.Targets, ","))
	}
	slices.SortStableFunc(all, func(a, b string) int { return strings.Count(b, ".svc.us-") - strings.Count(a, ".svc.us-") })
	return all
}

func parse(text ...string) (endpoints []Endpoint) {
	for _, line := range text {
		f := strings.Fields(line)
		endpoints = append(endpoints, Endpoint{Name: f[0], Type: f[1], Targets: strings.Split(f[2], ","), TTL: 60})
	}
	return endpoints
}

func TestRecords(t *testing.T) {
	t.Parallel()
	one := exporter("one us-east us-east-a,us-east-b", "203.0.113.1")
	two := exporter("two us-east us-east-b", "203.0.113.2")
	three := exporter("three us-west", "203.0.113.3")
	names := []Exporter{exporter("a us-east", "lb-a.example.net"), exporter("b us-west", "lb-b.example.net")}
	const stays = "no member that exports it is Ready with an address: the records stay as they were"
	for _, tt := range []struct {
		name      string
		exporters []Exporter
		last      []Endpoint
		want      []string
		reports   []string
	}{
		{name: "no member exports it", last: parse(global + " A 203.0.113.1")},
		{name: "one member without a region", exporters: []Exporter{exporter("one", "203.0.113.1")}, want: []string{global + " A 203.0.113.1"}},
		{
			name: "all are Ready", exporters: []Exporter{three, two, one},
			want: []string{
				eastA + " A 203.0.113.1", eastB + " A 203.0.113.1,203.0.113.2", east + " A 203.0.113.1,203.0.113.2",
				west + " A 203.0.113.3", global + " A 203.0.113.1,203.0.113.2,203.0.113.3",
			},
		},
		{
			name: "a zone falls back to its region", exporters: []Exporter{failing(one), two, three},
			want: []string{
				eastA + " A 203.0.113.2", eastB + " A 203.0.113.2", east + " A 203.0.113.2",
				west + " A 203.0.113.3", global + " A 203.0.113.2,203.0.113.3",
			},
		},
		{
			name: "a region falls back to the federation", exporters: []Exporter{failing(one), failing(two), three},
			want: []string{
				eastA + " A 203.0.113.3", eastB + " A 203.0.113.3", east + " A 203.0.113.3",
				west + " A 203.0.113.3", global + " A 203.0.113.3",
			},
		},
		{
			name: "none is Ready: the last stay, and a new name gets those of the federation", exporters: []Exporter{failing(one), failing(three)},
			last: parse(eastA+" A 203.0.113.9", global+" A 203.0.113.8,203.0.113.9", "other.shop.prod.svc.example.com A 203.0.113.7"),
			want: []string{
				eastA + " A 203.0.113.9", eastB + " A 203.0.113.8,203.0.113.9", east + " A 203.0.113.8,203.0.113.9",
				west + " A 203.0.113.8,203.0.113.9", global + " A 203.0.113.8,203.0.113.9",
			},
			reports: []string{stays},
		},
		{
			name: "none is Ready and there were no records", exporters: []Exporter{failing(one)},
			reports: []string{"no member that exports it is Ready with an address: there are no records"},
		},
		{
			name: "what others wrote into the last records does not stay", exporters: []Exporter{failing(three)},
			last: parse(global+" CNAME lb.example.net", global+" A 10.0.0.1,nonsense,203.0.113.9,203.0.113.9", west+" TXT text"),
			want: []string{west + " A 203.0.113.9", global + " A 203.0.113.9"}, reports: []string{stays},
		},
		{
			name: "addresses of both families", exporters: []Exporter{exporter("one us-west", "2001:db8::1", "203.0.113.1"), exporter("two us-west", "2001:DB8:0::2")},
			want: []string{
				west + " A 203.0.113.1", west + " AAAA 2001:db8::1,2001:db8::2",
				global + " A 203.0.113.1", global + " AAAA 2001:db8::1,2001:db8::2",
			},
		},
		{
			name: "host names alone: the first Ready member's", exporters: []Exporter{names[1], names[0]},
			want: []string{east + " CNAME lb-a.example.net", west + " CNAME lb-b.example.net", global + " CNAME lb-a.example.net"},
		},
		{
			name: "host names alone, and the first member fails", exporters: []Exporter{failing(names[0]), names[1]},
			want: []string{east + " CNAME lb-b.example.net", west + " CNAME lb-b.example.net", global + " CNAME lb-b.example.net"},
		},
		{
			name: "host names alone, and all fail", exporters: []Exporter{failing(names[0]), failing(names[1])},
			last: parse(east+" CNAME lb-b.example.net", global+" CNAME lb-b.example.net"),
			want: []string{east + " CNAME lb-b.example.net", west + " CNAME lb-b.example.net", global + " CNAME lb-b.example.net"}, reports: []string{stays},
		},
		{
			name: "an address of one: host names are left out", exporters: []Exporter{names[0], three},
			want:    []string{east + " A 203.0.113.3", west + " A 203.0.113.3", global + " A 203.0.113.3"},
			reports: []string{`member "a" has the host name "lb-a.example.net" and no address, and others have addresses: no name leads to it`},
		},
		{
			name: "the type does not follow from who is Ready", exporters: []Exporter{names[0], failing(three)},
			last: parse(global + " A 203.0.113.3"),
			want: []string{east + " A 203.0.113.3", west + " A 203.0.113.3", global + " A 203.0.113.3"},
			reports: []string{
				stays,
				`member "a" has the host name "lb-a.example.net" and no address, and others have addresses: no name leads to it`,
			},
		},
		{
			name: "a load balancer that has no address yet", exporters: []Exporter{exporter("one us-east"), three},
			want:    []string{east + " A 203.0.113.3", west + " A 203.0.113.3", global + " A 203.0.113.3"},
			reports: []string{`member "one" exports it, and its load balancer has no address that can be used`},
		},
		{
			name: "several regions", exporters: []Exporter{{
				Member: "one", Ready: true, Regions: []string{"us-east", "us-west"}, Zones: []string{"us-east-a"}, Exported: Exported{Addresses: []string{"203.0.113.1"}},
			}},
			want:    []string{east + " A 203.0.113.1", west + " A 203.0.113.1", global + " A 203.0.113.1"},
			reports: []string{`member "one" is in 2 regions, and has no names for its zones`},
		},
		{
			name: "hostile regions and zones", exporters: []Exporter{
				exporter("one evil.example.com zone", "203.0.113.1"), exporter("two us-east *,"+strings.Repeat("z", 64), "203.0.113.2"),
			},
			want: []string{east + " A 203.0.113.2", global + " A 203.0.113.1,203.0.113.2"},
			reports: []string{
				`member "one" is in region "evil.example.com", which cannot be part of a name in DNS`,
				`member "two" is in zone "*", which cannot be part of a name in DNS`,
				`member "two" is in zone "` + strings.Repeat("z", 60) + `…", which cannot be part of a name in DNS`,
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, reports := prod.Of(shop, tt.exporters, tt.last)
			if diff := cmp.Diff(tt.want, lines(got)); diff != "" {
				t.Errorf("records (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.reports, reports); diff != "" {
				t.Errorf("reports (-want +got):\n%s", diff)
			}
			checkValid(t, prod, shop, got)
		})
	}
}

// TestRecordBounds holds how many names and targets a service has, and how long a name is.
func TestRecordBounds(t *testing.T) {
	t.Parallel()
	crowd := make([]Exporter, 0, MaxNames)
	for i := range MaxNames {
		crowd = append(crowd, exporter(fmt.Sprintf("m%03d r%03d", i, i), fmt.Sprintf("203.0.113.%d", i)))
	}
	got, reports := prod.Of(shop, crowd, nil)
	if len(got) != MaxNames || len(got[len(got)-1].Targets) != 1 {
		t.Errorf("%d names", len(got))
	}
	if i := slices.IndexFunc(got, func(e Endpoint) bool { return e.Name == global }); len(got[i].Targets) != MaxTargets {
		t.Errorf("the name of the federation leads to %d addresses", len(got[i].Targets))
	}
	want := []string{
		"members are in 256 zones and regions: the first 255 have names",
		"a name leads to 100 addresses at most: those of the first members by name",
	}
	if diff := cmp.Diff(want, reports); diff != "" {
		t.Error(diff)
	}
	checkValid(t, prod, shop, got)

	long := prod
	long.Domain = strings.Repeat(strings.Repeat("d", 55)+".", 3) + strings.Repeat("d", 62)
	got, reports = long.Of(shop, []Exporter{exporter("one us-east", "203.0.113.1")}, nil)
	want = []string{fmt.Sprintf("the name %q has more than 253 characters, and no record", "cart.shop.prod.svc.us-east."+long.Domain)}
	if diff := cmp.Diff(want, reports); diff != "" || len(got) != 1 {
		t.Errorf("%d record sets, %s", len(got), diff)
	}
}

// checkValid holds what is so whatever members say.
func checkValid(t *testing.T, z Zone, s Service, endpoints []Endpoint) {
	t.Helper()
	types := map[string][]string{}
	for i, e := range endpoints {
		if i > 0 && compareEndpoints(endpoints[i-1], e) >= 0 {
			t.Errorf("%v does not come after %v", e, endpoints[i-1])
		}
		types[e.Name] = append(types[e.Name], e.Type)
		labels := strings.Split(strings.TrimSuffix(e.Name, "."+z.Domain), ".")
		if len(e.Name) > 253 || len(labels) < 4 || len(labels) > 6 || !strings.HasPrefix(e.Name, s.Name+"."+s.Namespace+"."+string(z.Federation)+".svc.") {
			t.Errorf("the name %q", e.Name)
		}
		if len(e.Targets) == 0 || len(e.Targets) > MaxTargets || !slices.IsSorted(e.Targets) || len(slices.Compact(slices.Clone(e.Targets))) < len(e.Targets) || e.TTL != z.TTL {
			t.Errorf("the record set %v", e)
		}
		for _, target := range e.Targets {
			judge := address
			if e.Type == TypeCNAME {
				judge = z.hostname
			}
			if valid, fault := judge(target); valid != target || strings.Contains(target, ":") != (e.Type == TypeAAAA) {
				t.Errorf("the target %q of type %s: %s", target, e.Type, fault)
			}
		}
		if e.Type == TypeCNAME && len(e.Targets) > 1 {
			t.Errorf("the CNAME %v", e)
		}
	}
	for name, all := range types {
		if slices.Contains(all, TypeCNAME) && len(all) > 1 {
			t.Errorf("%s has records of types %v", name, all)
		}
	}
	if len(types) > MaxNames {
		t.Errorf("%d names", len(types))
	}
}

// FuzzRecords holds that whatever members say, the record sets are valid and follow from their input alone.
func FuzzRecords(f *testing.F) {
	f.Add("us-east", "us-east-a", "203.0.113.1", "lb.example.net", uint8(3), global)
	f.Add("us-east.", "*", "::ffff:10.0.0.1", "localhost", uint8(0), "x")
	f.Add("", "a.b", "fe80::1%eth0", "cart.shop.prod.svc.example.com", uint8(1), east)
	f.Fuzz(func(t *testing.T, region, zone, first, second string, ready uint8, name string) {
		accepted, reports := prod.Accept([]string{"shop"}, []Export{{shop, []string{first, second}}, {Service{"other", name}, []string{first}}, {Service{"shop", name}, []string{second}}})
		if len(reports) > MaxReports+1 {
			t.Errorf("%d reports", len(reports))
		}
		for s := range accepted {
			if s.Namespace != "shop" {
				t.Errorf("%v was accepted", s)
			}
		}
		exporters := []Exporter{
			{Member: "a", Ready: ready&1 > 0, Regions: []string{region}, Zones: []string{zone, "z"}, Exported: accepted[shop]},
			{Member: "b", Ready: ready&2 > 0, Regions: []string{"us-west", region}, Exported: Exported{Hostnames: []string{"lb.example.net"}}},
			{Member: "c", Ready: ready&4 > 0, Regions: []string{"us-west"}, Zones: []string{zone}, Exported: accepted[Service{"shop", name}]},
		}
		last := []Endpoint{{name, TypeA, []string{first, second}, 5}, {global, TypeCNAME, []string{second}, 5}, {global, TypeAAAA, []string{first}, 5}}
		got, _ := prod.Of(shop, exporters, last)
		checkValid(t, prod, shop, got)
		slices.Reverse(exporters)
		again, _ := prod.Of(shop, exporters, last)
		if diff := cmp.Diff(got, again); diff != "" {
			t.Errorf("the order of members counts:\n%s", diff)
		}
	})
}
