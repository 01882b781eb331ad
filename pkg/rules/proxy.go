package rules

import (
	"fmt"
	"net/url"
	"slices"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
)

// Proxy: a proxy is one that client-go speaks to.
//
// Reads: spec.proxyURL.
// Allows: none, or an http, https or socks5 URL with a host and no user, path, query or fragment.
// Does not promise: that anything answers there.
const Proxy ID = "proxy"

func proxy(_ Snapshot, m *v1alpha1.MemberCluster) (found Findings) {
	if m.Spec.ProxyURL == "" {
		return found
	}
	path := specPath.Child("proxyURL")
	u, err := url.Parse(m.Spec.ProxyURL)
	if err != nil {
		found.refuse(invalidURL(path, "it is not a URL"))
		return found
	}
	if !slices.Contains([]string{"http", "https", "socks5"}, u.Scheme) {
		found.refuse(invalidURL(path, fmt.Sprintf("the scheme must be http, https or socks5, and is %q", u.Scheme)))
	}
	if fault := hostFault(u); fault != "" {
		found.refuse(invalidURL(path, fault))
	}
	if u.User != nil {
		found.refuse(invalidURL(path, "it must not hold a user: everyone who may get members reads it"))
	}
	if (u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		found.refuse(invalidURL(path, "it must end after host and port"))
	}
	return found
}
