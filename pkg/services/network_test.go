package services

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func network(t *testing.T, name string, pods, services []string) Member {
	t.Helper()
	p, invalid := parseRanges(pods)
	s, more := parseRanges(services)
	if invalid+more > 0 {
		t.Fatalf("%d ranges are none", invalid+more)
	}
	return Member{Name: name, Network: &Network{Pods: join(p), Services: join(s)}}
}

// TestOverlaps has one row for all that share addresses, also where pods of one are Services of another.
func TestOverlaps(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		members []Member
		want    []string
	}{
		{"apart", []Member{network(t, "a", []string{"10.244.0.0/24", "10.244.1.0/24"}, []string{"10.96.0.0/16"}), network(t, "b", []string{"10.245.0.0/16"}, []string{"10.97.0.0/16"})}, nil},
		{"all alike", []Member{network(t, "a", []string{"10.244.0.0/24", "10.244.1.0/24"}, nil), network(t, "b", []string{"10.244.0.0/16"}, nil), network(t, "c", []string{"10.244.128.0/24"}, nil)},
			[]string{"10.244.0.0/16: 10.244.0.0/23 pods of a, 10.244.0.0/16 pods of b, 10.244.128.0/24 pods of c"}},
		{"pods and Services", []Member{network(t, "a", []string{"10.96.8.0/24"}, nil), network(t, "b", nil, []string{"10.96.0.0/12"})},
			[]string{"10.96.0.0/12: 10.96.0.0/12 services of b, 10.96.8.0/24 pods of a"}},
		{"within one member", []Member{network(t, "a", []string{"10.96.8.0/24"}, []string{"10.96.0.0/12"}), network(t, "b", []string{"10.1.0.0/16"}, nil)}, nil},
		{"IPv6", []Member{network(t, "a", []string{"fd00:10::/64"}, nil), network(t, "b", []string{"fd00:10::8000:0:0:0/65"}, nil)},
			[]string{"fd00:10::/64: fd00:10::/64 pods of a, fd00:10:0:0:8000::/65 pods of b"}},
		{"neighbors", []Member{network(t, "a", []string{"10.0.0.0/24"}, nil), network(t, "b", []string{"10.0.1.0/24"}, nil)}, nil},
		{"not known", []Member{{Name: "a"}, network(t, "b", []string{"10.0.1.0/24"}, nil)}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, o := range overlaps(tt.members) {
				var uses []string
				for _, u := range o.Uses {
					uses = append(uses, u.String())
				}
				got = append(got, o.Range.String()+": "+strings.Join(uses, ", "))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestRanges drops what no cluster has, and joins what lies next to each other.
func TestRanges(t *testing.T) {
	t.Parallel()
	if ranges, invalid := parseRanges([]string{"0.0.0.0/0", "::/0", "10.0.0.0", "10.0.0.0/33", "::ffff:10.0.0.0/104", "x", "10.1.2.3/16"}); invalid != 6 || fmt.Sprint(ranges) != "[10.1.0.0/16]" {
		t.Errorf("%v, and %d are none", ranges, invalid)
	}
	var c cidrs
	for i := range 3 * maxRanges {
		c.add([]string{fmt.Sprintf("10.%d.%d.0/25", i/256, i%256), "10.0.0.0/25", "10.0.0.0/25"})
	}
	if ranges, note := c.result("addresses of pods"); len(ranges) != maxRanges || note != "of the addresses of pods it names, 5000 are left out: they are no ranges that a cluster has, or too many" {
		t.Errorf("%d ranges: %s", len(ranges), note)
	}
	var d cidrs
	d.add([]string{"10.244.2.0/24"})
	d.add([]string{"10.244.0.0/24"})
	d.add([]string{"10.244.1.0/24"})
	if ranges, note := d.result(""); fmt.Sprint(ranges) != "[10.244.0.0-10.244.2.255]" || note != "" {
		t.Errorf("%v %s", ranges, note)
	}
}

// TestDomain reads Corefiles of kubeadm, of CoreDNS' older plugin, and of Submariner.
func TestDomain(t *testing.T) {
	t.Parallel()
	const kubeadm = `.:53 {
    errors
    health {
       lameduck 5s
    }
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
    }
    forward . /etc/resolv.conf
}
`
	for _, tt := range []struct {
		name, corefile string
		want           Domain
	}{
		{"as kubeadm makes it", kubeadm, DomainNotServed},
		{"with the plugin kubernetes", strings.ReplaceAll(strings.ReplaceAll(kubeadm, "kubernetes cluster.local", "kubernetes cluster.local clusterset.local"),
			"pods insecure", "pods insecure\n       multicluster clusterset.local"), DomainServed},
		{"with the older plugin", strings.ReplaceAll(kubeadm, "    forward", "    multicluster clusterset.local.\n    forward"), DomainServed},
		{"with Submariner", "#lighthouse-start AUTO-GENERATED SECTION. DO NOT EDIT\nclusterset.local:53 {\n    forward . 10.96.1.1\n}\n#lighthouse-end\n" + kubeadm, DomainForwarded},
		{"in a comment", kubeadm + "# multicluster clusterset.local\n# clusterset.local:53 {", DomainNotServed},
		{"another zone", strings.ReplaceAll(kubeadm, "pods insecure", "multicluster clusterset.example"), DomainNotServed},
		{"empty", "", DomainNotServed},
	} {
		if got := domainOf(tt.corefile); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}
