package records

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestTargets holds which addresses and host names records lead to.
func TestTargets(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 63)
	for target, want := range map[string]struct{ valid, fault string }{
		"203.0.113.1":       {valid: "203.0.113.1"},
		"8.8.8.8":           {valid: "8.8.8.8"},
		"2001:DB8:0:0::1":   {valid: "2001:db8::1"},
		"10.0.0.1":          {fault: `the address "10.0.0.1" is private`},
		"172.31.255.1":      {fault: `the address "172.31.255.1" is private`},
		"192.168.1.1":       {fault: `the address "192.168.1.1" is private`},
		"fd00::1":           {fault: `the address "fd00::1" is private`},
		"127.0.0.1":         {fault: `the address "127.0.0.1" is loopback`},
		"::1":               {fault: `the address "::1" is loopback`},
		"169.254.169.254":   {fault: `the address "169.254.169.254" is link-local`},
		"fe80::1":           {fault: `the address "fe80::1" is link-local`},
		"fe80::1%eth0":      {fault: `the address "fe80::1%eth0" is of no use`},
		"224.0.0.1":         {fault: `the address "224.0.0.1" is link-local`},
		"239.1.1.1":         {fault: `the address "239.1.1.1" is multicast`},
		"ff0e::1":           {fault: `the address "ff0e::1" is multicast`},
		"0.0.0.0":           {fault: `the address "0.0.0.0" is unspecified`},
		"::":                {fault: `the address "::" is unspecified`},
		"0.1.2.3":           {fault: `the address "0.1.2.3" is reserved`},
		"100.64.0.1":        {fault: `the address "100.64.0.1" is reserved`},
		"255.255.255.255":   {fault: `the address "255.255.255.255" is reserved`},
		"64:ff9b::10.0.0.1": {fault: `the address "64:ff9b::a00:1" is reserved`},
		"::ffff:10.0.0.1":   {fault: `the address "::ffff:10.0.0.1" is of no use`},

		"lb.example.net":                   {valid: "lb.example.net"},
		"LB.Example.net.":                  {valid: "lb.example.net"},
		"lb.example.com":                   {valid: "lb.example.com"},
		"":                                 {fault: `the host name "" is not valid`},
		"lb":                               {fault: `the host name "lb" is not valid`},
		"*.example.net":                    {fault: `the host name "*.example.net" is not valid`},
		"a b.example.net":                  {fault: `the host name "a b.example.net" is not valid`},
		"lb..example.net":                  {fault: `the host name "lb..example.net" is not valid`},
		"10.0.0":                           {fault: `the host name "10.0.0" is not valid`},
		"010.0.0.1":                        {fault: `the host name "010.0.0.1" is not valid`},
		long + "a.example.net":             {fault: `the host name "` + long[:60] + `…" is not valid`},
		strings.Repeat("a.", 126) + "net":  {fault: `the host name "` + strings.Repeat("a.", 30) + `…" is not valid`},
		"\x1b[31m.example.net":             {fault: `the host name "\x1b[31m.example.net" is not valid`},
		"localhost":                        {fault: `the host name "localhost" is not valid`},
		"a.localhost":                      {fault: `the host name "a.localhost" is loopback`},
		global:                             {fault: `the host name "cart.shop.prod.svc.example.com" is one of the federation's own`},
		"Pay.shop.prod.svc.eu.Example.com": {fault: `the host name "Pay.shop.prod.svc.eu.Example.com" is one of the federation's own`},
	} {
		found, why := prod.usable([]string{target})
		got := strings.Join(append(found.Addresses, found.Hostnames...), ",")
		fault := strings.Replace(want.fault, "64:ff9b::a00:1", "64:ff9b::10.0.0.1", 1)
		if got != want.valid || strings.Join(why, ",") != fault {
			t.Errorf("%q: %q, %q", target, got, why)
		}
	}
}

// TestAccept holds what is taken of what one member exports.
func TestAccept(t *testing.T) {
	t.Parallel()
	many := func(n int) (exports []Export) {
		for i := range n {
			exports = append(exports, Export{Service{"shop", fmt.Sprintf("s%04d", i)}, []string{"203.0.113.1"}})
		}
		return exports
	}
	large := func() (exports []Export) {
		for i := range 100 {
			e := Export{Service: Service{"shop", fmt.Sprintf("s%04d", i)}}
			for j := range MaxIngress {
				e.Ingress = append(e.Ingress, fmt.Sprintf("%s%02d.example.net", strings.Repeat("long.", 40), j))
			}
			exports = append(exports, e)
		}
		return exports
	}
	var crowded []string
	for i := range 5000 {
		crowded = append(crowded, fmt.Sprintf("203.0.%d.%d", i/256, i%256))
	}
	for _, tt := range []struct {
		name    string
		exports []Export
		// want is how many services are taken.
		want    int
		reports []string
	}{
		{name: "one of a namespace that is not listed", exports: []Export{{shop, []string{"203.0.113.1"}}, {Service{"kube-system", "api"}, []string{"203.0.113.1"}}}, want: 1},
		{name: "one of no valid name", exports: []Export{{Service{"shop", "a.b"}, nil}, {Service{"shop", "X\n"}, nil}}, reports: []string{
			`a service in namespace shop has the name "X\n", which is not valid`, `a service in namespace shop has the name "a.b", which is not valid`,
		}},
		{name: "the same twice", exports: []Export{{shop, []string{"203.0.113.1"}}, {shop, []string{"203.0.113.2"}}}, want: 1},
		{name: "too many addresses", exports: []Export{{shop, crowded}}, want: 1, reports: []string{
			"service shop/cart: its load balancer has more than 16 addresses and host names: the first are read",
		}},
		{name: "too many services", exports: many(MaxServices + 12), want: MaxServices, reports: []string{
			"service shop/s1000 is left out: the member exports more than 1000 services of its namespace", "service shop/s1001 is left out: the member exports more than 1000 services of its namespace",
			"service shop/s1002 is left out: the member exports more than 1000 services of its namespace", "service shop/s1003 is left out: the member exports more than 1000 services of its namespace",
			"service shop/s1004 is left out: the member exports more than 1000 services of its namespace", "service shop/s1005 is left out: the member exports more than 1000 services of its namespace",
			"service shop/s1006 is left out: the member exports more than 1000 services of its namespace", "service shop/s1007 is left out: the member exports more than 1000 services of its namespace",
			"service shop/s1008 is left out: the member exports more than 1000 services of its namespace", "service shop/s1009 is left out: the member exports more than 1000 services of its namespace",
			"and 2 more",
		}},
		{name: "too many bytes", exports: large()[:77], want: 76, reports: []string{"service shop/s0076 is left out: what the member exports of its namespace takes more than 256 KiB"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, reports := prod.Accept([]string{"shop"}, tt.exports)
			if len(got) != tt.want {
				t.Errorf("%d services are taken, want %d", len(got), tt.want)
			}
			if diff := cmp.Diff(tt.reports, reports); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestAcceptShares holds that what a member exports of one namespace takes the place of nothing in another.
func TestAcceptShares(t *testing.T) {
	t.Parallel()
	exports := []Export{{shop, []string{"203.0.113.1"}}}
	for i := range 2 * MaxServices {
		exports = append(exports, Export{Service{"aaa", fmt.Sprintf("s%04d", i)}, nil})
	}
	got, _ := prod.Accept([]string{"aaa", "shop"}, exports)
	if _, taken := got[shop]; !taken || len(got) != MaxServices/2+1 {
		t.Errorf("%d services are taken, that of the other namespace: %t", len(got), taken)
	}
}
