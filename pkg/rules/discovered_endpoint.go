package rules

import (
	"fmt"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
)

// DiscoveredEndpoint: a member that discovery joined is where its federation allows such members.
//
// Reads: spec.discovered, spec.server and spec.proxyURL, and spec.discovery.endpoints of the Federation.
// Allows: a server and a proxy that the list allows by what is written. A name that no entry has is allowed where the list has a
// range of addresses, unless a proxy resolves it. Without spec.discovery there is no list, and only what discovery never allows
// is refused. The list may become stricter while members break it: who must close a place need not wait for them.
// Does not promise: that the addresses which a name resolves to are allowed: those are judged at each connection.
const DiscoveredEndpoint ID = "discoveredEndpoint"

// DiscoveryEndpoints: it is clear where discovery may join clusters.
//
// Reads: spec.discovery.endpoints.
// Allows: host names, domains that begin with a dot, IP addresses, ranges in CIDR notation and "*", each in one notation; nothing that
// discovery never allows.
// Does not promise: that anything answers there.
const DiscoveryEndpoints ID = "discoveryEndpoints"

func discoveredEndpoint(s Snapshot, m *v1alpha1.MemberCluster) (found Findings) {
	federation := federationOf(s, m)
	if m.Spec.Discovered == nil || federation == nil {
		return found
	}
	list, err := endpoint.AllowListOf(federation)
	if err != nil {
		found.refuse(field.Forbidden(specPath.Child("server"), fmt.Sprintf("spec.discovery.endpoints of federation %q allows nothing: its %s", federation.Name, err)))
		return found
	}
	refuse := func(path *field.Path, valid field.ErrorList, judged error) {
		if len(valid) == 0 && judged != nil { // others say that it is no URL
			found.refuse(field.Forbidden(path, fmt.Sprintf("federation %q does not allow it for clusters that discovery joins: %s", federation.Name, judged)))
		}
	}
	e := endpoint.Of(m)
	server, proxy := specPath.Child("server"), specPath.Child("proxyURL")
	refuse(server, endpoint.ValidateServer(server, e.Server), list.JudgeServer(e))
	refuse(proxy, endpoint.ValidateProxy(proxy, e.ProxyURL), list.JudgeProxy(e))
	return found
}

func discoveryEndpoints(_ Snapshot, f *v1alpha1.Federation) (found Findings) {
	if f.Spec.Discovery != nil {
		found.refuse(endpoint.ValidateAllowList(specPath.Child("discovery", "endpoints"), f.Spec.Discovery.Endpoints)...)
	}
	return found
}
