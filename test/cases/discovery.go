package cases

import (
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
)

// discovers lets discovery join clusters at some places.
func discovers(f *v1alpha1.Federation, endpoints ...string) {
	f.Spec.Discovery = &v1alpha1.Discovery{
		Acceptance: v1alpha1.DiscoveryManual, WhenGone: v1alpha1.GoneKeep, Endpoints: endpoints,
		Sources: []v1alpha1.DiscoverySource{{Kind: "ClusterAPI", Namespaces: []string{"team-x"}}},
	}
}

// found makes a member one that discovery joined.
func found(m *v1alpha1.MemberCluster) {
	m.Spec.Discovered = &v1alpha1.Discovered{Kind: "ClusterAPI", Namespace: "team-x", Name: m.Name, UID: "uid-" + m.Name}
}

func discovery() []Case {
	return []Case{
		create(rules.DiscoveredEndpoint, "found-listed", func(s set, m *v1alpha1.MemberCluster) {
			discovers(s.f, ".example.com", "10.20.0.0/16")
			found(m)
			m.Spec.ProxyURL = "http://10.20.3.4:3128"
		}),
		create(rules.DiscoveredEndpoint, "found-by-range", func(s set, m *v1alpha1.MemberCluster) {
			discovers(s.f, "10.20.0.0/16")
			found(m)
		}),
		create(rules.DiscoveredEndpoint, "found-elsewhere", func(s set, m *v1alpha1.MemberCluster) {
			discovers(s.f, "api.example.com")
			found(m)
			m.Spec.ProxyURL = "http://proxy.example.org:3128"
		},
			`spec.server: Forbidden: federation "found-elsewhere" does not allow it for clusters that discovery joins: "found-elsewhere-m.example.com" is not in spec.discovery.endpoints`,
			`spec.proxyURL: Forbidden: federation "found-elsewhere" does not allow it for clusters that discovery joins: "proxy.example.org" is not in spec.discovery.endpoints`),
		create(rules.DiscoveredEndpoint, "found-behind-proxy", func(s set, m *v1alpha1.MemberCluster) {
			discovers(s.f, "10.20.0.0/16")
			found(m)
			m.Spec.ProxyURL = "http://10.20.3.4:3128"
		}, `spec.server: Forbidden: federation "found-behind-proxy" does not allow it for clusters that discovery joins: "found-behind-proxy-m.example.com" is not in spec.discovery.endpoints by its name, which is what counts where a proxy resolves it`),
		create(rules.DiscoveredEndpoint, "found-metadata", func(s set, m *v1alpha1.MemberCluster) {
			discovers(s.f, "*")
			found(m)
			m.Spec.Server = "https://168.63.129.16"
		}, `spec.server: Forbidden: federation "found-metadata" does not allow it for clusters that discovery joins: "168.63.129.16" is an address of a cloud's metadata service, which discovery never allows`),
		create(rules.Endpoint, "found-no-url", func(s set, m *v1alpha1.MemberCluster) {
			discovers(s.f, "api.example.com")
			found(m)
			m.Spec.Server = "https://127.1"
		}, `spec.server: Invalid value: "127.1" is neither a DNS name nor an IP address`),
		create(rules.DiscoveredEndpoint, "found-without-list", func(_ set, m *v1alpha1.MemberCluster) {
			found(m)
			m.Spec.ProxyURL = "http://100.100.100.200"
		}, `spec.proxyURL: Forbidden: federation "found-without-list" does not allow it for clusters that discovery joins: "100.100.100.200" is an address of a cloud's metadata service, which discovery never allows`),
		create(rules.DiscoveredEndpoint, "joined-elsewhere", func(s set, _ *v1alpha1.MemberCluster) { discovers(s.f, "api.example.com") }),
		update(rules.DiscoveredEndpoint, "found-moves", func(s set, before, after *v1alpha1.MemberCluster) {
			discovers(s.f, "found-moves-m.example.com")
			found(before)
			found(after)
			after.Spec.Server = "https://elsewhere.example.com:6443"
		}, `spec.server: Forbidden: federation "found-moves" does not allow it for clusters that discovery joins: "elsewhere.example.com" is not in spec.discovery.endpoints`),
		update(rules.DiscoveredEndpoint, "found-before", func(s set, before, after *v1alpha1.MemberCluster) {
			discovers(s.f, "api.example.com")
			found(before)
			found(after)
			label(team, "x")(after)
		}),
		// The list becomes stricter, whatever members there are.
		change(rules.DiscoveryEndpoints, "found-closes", func(s set, before, after *v1alpha1.Federation) {
			discovers(before, ".example.com")
			discovers(after, "10.20.0.0/16", "api.example.com")
			s.others(1, func(m *v1alpha1.MemberCluster) {
				found(m)
				m.Spec.Server = "https://192.0.2.77:6443"
			})
		}),

		define(rules.DiscoveryEndpoints, "good-endpoints", func(_ *Case, f *v1alpha1.Federation) {
			discovers(f, "*", "api.example.com", ".k8s.example.com", "10.20.0.0/16", "10.20.3.4", "2001:db8::/32")
		}),
		define(rules.DiscoveryEndpoints, "bad-endpoints", func(_ *Case, f *v1alpha1.Federation) {
			discovers(f, "api.example.com", "https://api.example.com", "10.20.3.4/16", "10.20.3.4:6443", "localhost")
		},
			`spec.discovery.endpoints[1]: Invalid value: "https://api.example.com": it is a URL: write its host alone`,
			`spec.discovery.endpoints[2]: Invalid value: "10.20.3.4/16": it has bits beyond its length: write 10.20.0.0/16 for the range, or 10.20.3.4 for the address`,
			`spec.discovery.endpoints[3]: Invalid value: "10.20.3.4:6443": it has a port, and every port of a host is allowed: write 10.20.3.4`,
			`spec.discovery.endpoints[4]: Invalid value: "localhost": it is a loopback address, which discovery never allows`),
	}
}
