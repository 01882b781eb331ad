package rules

import (
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
)

// Proxy: a proxy is one that client-go speaks to.
//
// Reads: spec.proxyURL.
// Allows: none, or an http, https or socks5 URL with a host and no user, path, query or fragment. A loopback or
// link-local address only warns.
// Does not promise: that anything answers there.
const Proxy ID = "proxy"

func proxy(_ Snapshot, m *v1alpha1.MemberCluster) (found Findings) {
	path := specPath.Child("proxyURL")
	if found.refuse(endpoint.ValidateProxy(path, m.Spec.ProxyURL)...); len(found.Refusals) > 0 {
		return found
	}
	if scope := endpoint.ScopeOf(m.Spec.ProxyURL); scope != "" {
		found.warn(advice(path, "%s is a %s address: only this machine reaches it", endpoint.HostOf(m.Spec.ProxyURL), scope))
	}
	return found
}
