package rules

import (
	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
)

// Endpoint: it is clear where the host reaches a member.
//
// Reads: spec.server and spec.tlsServerName, and the servers of all members.
// Allows: an https URL with a host name or address and maybe a port and a path; no user, query or fragment. The TLS
// server name is a host name or address, or empty. A loopback or link-local address, and an address that another member
// has too, only warn: test clusters and proxies have them.
// Does not promise: that anything answers there.
const Endpoint ID = "endpoint"

func memberEndpoint(s Snapshot, m *v1alpha1.MemberCluster) (found Findings) {
	path := specPath.Child("server")
	found.refuse(endpoint.ValidateServerName(specPath.Child("tlsServerName"), m.Spec.TLSServerName)...)
	if faults := endpoint.ValidateServer(path, m.Spec.Server); len(faults) > 0 {
		found.refuse(faults...)
		return found
	}
	if scope := endpoint.ScopeOf(m.Spec.Server); scope != "" {
		found.warn(advice(path, "%s is a %s address: only this machine reaches it", endpoint.HostOf(m.Spec.Server), scope))
	}
	for _, other := range s.MembersAt(endpoint.KeyOf(m.Spec.Server)) {
		if other.Name != m.Name {
			found.warn(advice(path, "member %q has the same endpoint", other.Name))
			break
		}
	}
	return found
}
