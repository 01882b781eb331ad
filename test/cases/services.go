package cases

import (
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/rules"
)

// services are the cases of where exported services are read, and their names written.
func services() []Case {
	named := func(f *v1alpha1.Federation, dns string, namespaces ...string) {
		f.Spec.Services = &v1alpha1.Services{Namespaces: namespaces, DNS: v1alpha1.ServicesDNS{Domain: "example.com", Namespace: dns, TTL: 60}}
	}
	return []Case{
		define(rules.Services, "named-services", func(_ *Case, f *v1alpha1.Federation) { named(f, "external-dns", "shop", "default") }),
		define(rules.Services, "own-services", func(_ *Case, f *v1alpha1.Federation) {
			named(f, v1alpha1.HostNamespace, "shop", "kube-system", "kubefederate-member")
		},
			`spec.services.namespaces[1]: Forbidden: namespace "kube-system" of a member exports no services`,
			`spec.services.namespaces[2]: Forbidden: namespace "kubefederate-member" of a member exports no services`,
			`spec.services.dns.namespace: Forbidden: namespace "kubefederate-system" holds keys of this host`),
	}
}
