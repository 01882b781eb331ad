package federate

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	shared "github.com/kubefederate/kubectl-federate/pkg/endpoint"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// endpoint is how the host is to reach a member.
type endpoint struct {
	Server   string
	CABundle []byte
	ProxyURL string
	Insecure bool
	// Proven says that the caller's own requests went the same way.
	Proven bool
}

// endpointOf chooses the endpoint: what the options say, else what an administrator wrote by hand on a member
// that was never joined, else what the caller uses.
func endpointOf(o JoinOptions, m *member.Cluster, existing *v1alpha1.MemberCluster) endpoint {
	caller := m.Config()
	byHand := existing != nil && existing.Annotations[v1alpha1.AnnotationJoinedBy] == "" &&
		existing.Annotations[v1alpha1.AnnotationAttempt] == "" && o.Server == "" && len(o.CABundle) == 0 && o.ProxyURL == ""
	if byHand {
		return endpoint{
			Server: existing.Spec.Server, CABundle: existing.Spec.CABundle,
			ProxyURL: existing.Spec.ProxyURL, Insecure: existing.Spec.InsecureSkipTLSVerify,
		}
	}
	own := endpoint{
		Server: m.Server(), CABundle: caller.CAData, ProxyURL: proxyOf(caller, m.Server()), Insecure: caller.Insecure,
	}
	e := own
	if o.Server != "" {
		e.Server = strings.TrimSuffix(o.Server, "/")
	}
	if len(o.CABundle) > 0 {
		e.CABundle, e.Insecure = o.CABundle, false
	}
	if o.ProxyURL != "" {
		e.ProxyURL = o.ProxyURL
	}
	if e.Insecure {
		e.CABundle = nil
	}
	e.Proven = e.same(own) && caller.ServerName == ""
	return e
}

func (e endpoint) same(other endpoint) bool {
	return e.Server == other.Server && e.ProxyURL == other.ProxyURL && e.Insecure == other.Insecure && bytes.Equal(e.CABundle, other.CABundle)
}

// proxyOf is the proxy that a configuration names for the server; that of the environment is the caller's
// own affair and is not stored.
func proxyOf(c *rest.Config, server string) string {
	u, err := url.Parse(server)
	if c.Proxy == nil || err != nil {
		return ""
	}
	proxy, err := c.Proxy(&http.Request{URL: u})
	if proxy == nil || err != nil {
		return ""
	}
	return proxy.String()
}

// access is the endpoint with a token, as it is stored.
func (e endpoint) access(token string) *kubeconfig.Access {
	return &kubeconfig.Access{Token: token, Endpoint: shared.Endpoint{
		Server: e.Server, CABundle: e.CABundle, ProxyURL: e.ProxyURL, InsecureSkipTLSVerify: e.Insecure,
	}}
}

// try connects over the endpoint, without a credential and with nothing of the caller's, and returns why
// that fails. Any answer of an API server is a success: what is tried is the way to it and its certificate.
func (e endpoint) try(ctx context.Context) error {
	c, err := member.Connect(e.access("").RESTConfig())
	if err != nil {
		return err
	}
	_, err = c.Version(ctx)
	var failed *cluster.Error
	if errors.As(err, &failed) && (failed.Fault == cluster.FaultUnreachable || failed.Fault == cluster.FaultCertificate) {
		return err
	}
	return nil
}

// takesTokens says whether an endpoint that is Rancher's proxy hands a token of the member's own on to it, where that can
// be told: the proxy knows Rancher's tokens only, unless it is told otherwise. Any other endpoint does, for all that is
// known before a token is made.
func (e endpoint) takesTokens(ctx context.Context, m *member.Cluster) bool {
	if shared.RancherProxyID(e.Server) == "" {
		return true
	}
	token, err := m.TrialToken(ctx)
	if err != nil || token == "" {
		return true // the proof at the end of the join will tell
	}
	c, err := member.Connect(e.access(token).RESTConfig())
	if err != nil {
		return true
	}
	_, err = c.Version(ctx)
	return !unauthorized(err)
}

// judgeProxy is what stands against an endpoint that takes no token of the member's own.
func (e endpoint) judgeProxy() Finding {
	return Finding{Side: SideMember, Object: "endpoint " + cluster.Quoted(e.Server),
		Cause: "is Rancher's proxy, which takes no token of the cluster's own (401), and nobody else's is kept",
		Remedy: "turn on the cluster's authorized endpoint in Rancher, or give the endpoint of its own API server, with --member-server and --member-certificate-authority; " +
			"or allow such tokens at the proxy, with a ClusterProxyConfig with enabled: true in namespace " + cluster.Quoted(shared.RancherProxyID(e.Server)) + " of Rancher's cluster"}
}

// judgeURL is what speaks against a URL before it is tried; empty when nothing does.
func judgeURL(text string, schemes ...string) string {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return "is no URL"
	case !slices.Contains(schemes, u.Scheme):
		return "must start with " + strings.Join(schemes, "://, ") + "://"
	case u.Host == "":
		return "names no host"
	case u.User != nil:
		return "carries a user name or password, which would be stored for everybody to read"
	case u.RawQuery != "" || u.Fragment != "":
		return "has a query or a fragment"
	}
	return ""
}

// loopback tells of an endpoint that only its own machine reaches, where no server is asked, which would tell it.
func (e endpoint) loopback(hostServer string) []Finding {
	if shared.ScopeOf(e.Server) != shared.Loopback {
		return nil
	}
	f := Finding{Side: SideMember, Object: "endpoint " + cluster.Quoted(e.Server)}
	if shared.ScopeOf(hostServer) == shared.Loopback {
		f.Cause = "is a loopback address; that is taken, since the host's own endpoint is one too"
	} else {
		f.Cause = "is a loopback address, so the host reaches itself there and not this member"
		f.Remedy = "give the address that the host uses with --member-server"
	}
	return []Finding{f}
}

// judge is everything that can be said about the endpoint without a request, and with the answer of try.
func (e endpoint) judge(federation *v1alpha1.Federation, tried error) (against, notes []Finding) {
	say := func(cause, remedy string) Finding {
		return Finding{Side: SideMember, Object: "endpoint " + cluster.Quoted(e.Server), Cause: cause, Remedy: remedy}
	}
	note := func(cause, remedy string) { notes = append(notes, say(cause, remedy)) }
	if cause := judgeURL(e.Server, "https"); cause != "" {
		// The URL is not repeated: it may carry a password.
		against = append(against, Finding{Side: SideMember, Object: "endpoint", Cause: cause, Remedy: "give the member's URL with --member-server", field: "spec.server"})
		return against, notes
	}
	if e.ProxyURL != "" {
		if cause := judgeURL(e.ProxyURL, "http", "https", "socks5"); cause != "" {
			against = append(against, Finding{Side: SideMember, Object: "proxy", Cause: cause, Remedy: "give another with --member-proxy-url", field: "spec.proxyURL"})
			return against, notes
		}
	}
	if e.Insecure {
		if federation == nil || !federation.Spec.AllowInsecureTLS {
			f := say("the context skips the verification of the certificate (insecure-skip-tls-verify), which the federation does not allow",
				"give the CA with --member-certificate-authority, or let an administrator set spec.allowInsecureTLS")
			f.field = "spec.insecureSkipTLSVerify"
			against = append(against, f)
		} else {
			note("the certificate is not verified, which the federation allows: whoever stands between host and member can read the credential", "")
		}
	}
	var failed *cluster.Error
	if errors.As(tried, &failed) && failed.Fault == cluster.FaultCertificate {
		against = append(against, say("the certificate does not verify: "+cluster.Cause(failed.Err),
			"give the CA with --member-certificate-authority, or a URL whose name is in the certificate with --member-server"))
	} else if tried != nil {
		note("does not answer from here: "+cluster.Cause(tried), "the manager on the host will tell whether it answers from there")
	}
	return against, notes
}
