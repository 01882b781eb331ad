package federate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
	"github.com/kubefederate/kubectl-federate/pkg/member"
)

// endpointOf is the endpoint that a join stores: that of the member where it exists and is not reset, else the caller's own, with what
// the options name in its place.
func endpointOf(o JoinOptions, caller endpoint.Endpoint, existing *v1alpha1.MemberCluster) endpoint.Endpoint {
	stored := caller
	if existing != nil && !o.ResetEndpoint {
		stored = endpoint.Of(existing)
		if o.KeepEndpoint {
			return stored
		}
	}
	e := stored
	if o.Server != "" && endpoint.KeyOf(o.Server) != endpoint.KeyOf(e.Server) {
		e.Server, e.TLSServerName = o.Server, "" // the name belongs to the other server: kubectl's own --server clears it too
	}
	if o.CABundle != nil {
		e.CABundle, e.InsecureSkipTLSVerify = o.CABundle, false
	}
	if o.ProxyURL != nil {
		e.ProxyURL = *o.ProxyURL
	}
	if o.TLSServerName != nil {
		e.TLSServerName = *o.TLSServerName
	}
	if existing != nil && e.Equal(endpoint.Of(existing)) {
		return endpoint.Of(existing)
	}
	return e.Canonical()
}

// config is a client configuration for an endpoint with a token and nothing of the caller's.
func config(e endpoint.Endpoint, token string) *rest.Config {
	return (&kubeconfig.Access{Token: token, Endpoint: e}).RESTConfig()
}

// config is a client configuration for an endpoint with a token, which connects as the join may.
func (o JoinOptions) config(e endpoint.Endpoint, token string) *rest.Config {
	c := config(e, token)
	if o.Tune != nil {
		o.Tune(c)
	}
	return c
}

// tryEndpoint connects without a credential and returns why that fails. Any response of an API server is a success: what
// is tried is the way to it and its certificate.
func tryEndpoint(ctx context.Context, config *rest.Config) error {
	c, err := member.Connect(config)
	if err != nil {
		return err
	}
	_, err = c.Version(ctx)
	switch cluster.FaultOf(err) {
	case cluster.FaultUnreachable, cluster.FaultCertificate, cluster.FaultNotAPI, cluster.FaultNotAllowed:
		return err
	}
	return nil
}

// refusesTokens says whether an endpoint refuses tokens that the member itself issues, where that can be seen before anything
// is changed.
func refusesTokens(ctx context.Context, o JoinOptions, e endpoint.Endpoint, m *member.Cluster) bool {
	token, err := m.TrialToken(ctx)
	if err != nil || token == "" {
		return false // the trial of the credential at the end of the join will show it
	}
	c, err := member.Connect(o.config(e, token))
	if err != nil {
		return false
	}
	_, err = c.Version(ctx)
	return cluster.FaultOf(err) == cluster.FaultUnauthorized
}

func atEndpoint(server, cause, remedy string) Finding {
	return Finding{Side: cluster.Member, Object: "endpoint " + cluster.Quoted(server), Cause: cause, Remedy: remedy}
}

// refusedTokens is what stands against an endpoint that takes no token of the member's own. Rancher's proxy takes only
// Rancher's, unless it is configured otherwise.
func refusedTokens(f joinFacts, o JoinOptions) Finding {
	server := f.Endpoint.Server
	id := endpoint.RancherProxyID(server)
	if id == "" {
		remedy := "give the URL of this cluster's own API server with --member-server, and its CA with --member-certificate-authority"
		if o.Server == "" && endpoint.KeyOf(server) != endpoint.KeyOf(f.Caller.Server) {
			o.ResetEndpoint = true
			remedy = o.commands.To("to have the host reach it as the context does, at "+f.Caller.Server, o.command())
		}
		return atEndpoint(server, "accepts no token that this cluster issued (401): another cluster answers there, or a proxy that does not pass them on", remedy)
	}
	return atEndpoint(server, "is Rancher's proxy, which refuses tokens that the cluster itself issued (401), and no other credential is stored",
		"turn on the cluster's authorized endpoint in Rancher, or give the endpoint of its own API server, with --member-server and --member-certificate-authority; "+
			"or allow such tokens at the proxy, with a ClusterProxyConfig with enabled: true in namespace "+cluster.Quoted(id)+" of Rancher's cluster")
}

// loopback reports an endpoint that only its own machine reaches, for a run that does not ask the server, which reports it too.
func loopback(e endpoint.Endpoint, hostServer string) (notes []Finding) {
	if scope := endpoint.ScopeOf(e.ProxyURL); (scope == endpoint.Loopback || scope == endpoint.LinkLocal) && endpoint.ScopeOf(hostServer) == "" {
		notes = append(notes, atEndpoint(e.Server, fmt.Sprintf("is reached through proxy %s, a %s address, where the host reaches itself and not the proxy of the context", endpoint.HostOf(e.ProxyURL), scope),
			"give the proxy that the host uses with --member-proxy-url, or none with --member-proxy-url="))
	}
	return append(notes, loopbackServer(e, hostServer)...)
}

func loopbackServer(e endpoint.Endpoint, hostServer string) []Finding {
	switch {
	case endpoint.ScopeOf(e.Server) != endpoint.Loopback:
		return nil
	case endpoint.ScopeOf(hostServer) == endpoint.Loopback:
		return []Finding{atEndpoint(e.Server, "is a loopback address; it is accepted, since the host's own endpoint is one too", "")}
	}
	return []Finding{atEndpoint(e.Server, "is a loopback address, where the host reaches itself and not this member", "give the address that the host uses with --member-server")}
}

// remedies say how to give another value for a field of an endpoint.
var remedies = map[string]string{
	"spec.server":        "give the member's URL with --member-server",
	"spec.proxyURL":      "give another proxy with --member-proxy-url",
	"spec.caBundle":      "give the CA with --member-certificate-authority",
	"spec.tlsServerName": "give another name with --member-tls-server-name",
}

// judgeEndpoint is everything that can be said about an endpoint without a request, and with the result of tryEndpoint.
func judgeEndpoint(e endpoint.Endpoint, federation *v1alpha1.Federation, tried error) (against, notes []Finding) {
	for _, fault := range e.Validate(field.NewPath("spec")) {
		// The URL is not repeated: it may hold a password.
		against = append(against, Finding{Side: cluster.Member, Object: fault.Field, Cause: fault.Detail, Remedy: remedies[fault.Field], field: fault.Field})
	}
	if len(against) > 0 {
		return against, nil
	}
	switch {
	case !e.InsecureSkipTLSVerify:
	case federation != nil && federation.Spec.AllowInsecureTLS:
		notes = append(notes, atEndpoint(e.Server, "the certificate is not verified, which the federation allows: anyone on the network between host and member can read the credential", ""))
	default:
		f := atEndpoint(e.Server, "the context does not verify the certificate (insecure-skip-tls-verify), which the federation does not allow",
			"give the CA with --member-certificate-authority, or let an administrator set spec.allowInsecureTLS")
		f.field = "spec.insecureSkipTLSVerify"
		against = append(against, f)
	}
	_, byProxy := errors.AsType[*cluster.ProxyRefused](tried)
	switch fault := cluster.FaultOf(tried); {
	case tried == nil:
	case byProxy:
		notes = append(notes, atEndpoint(e.Server, "is not reached from here: "+cluster.Cause(tried),
			"give another proxy with --member-proxy-url, unless it lets the host connect: the manager there will report whether it responds"))
	case fault == cluster.FaultCertificate:
		against = append(against, atEndpoint(e.Server, "the certificate does not verify: "+cluster.Cause(tried), certificateRemedies[cluster.CertificateFaultOf(tried)]))
	case fault == cluster.FaultNotAllowed:
		against = append(against, atEndpoint(e.Server, cluster.Cause(tried), "let an administrator of the federation add it to spec.discovery.endpoints"))
	case fault == cluster.FaultNotAPI:
		against = append(against, atEndpoint(e.Server, "is not a Kubernetes API server: "+cluster.Cause(tried), "give the URL of the cluster's own API server with --member-server"))
	default:
		notes = append(notes, atEndpoint(e.Server, "does not respond from here: "+cluster.Cause(tried), "the manager on the host will report whether it responds from there"))
	}
	return against, notes
}

// certificateRemedies say what to do about the certificate at an endpoint.
var certificateRemedies = map[cluster.CertificateFault]string{
	cluster.CertificateAuthority:   "give the CA that signed it with --member-certificate-authority",
	cluster.CertificateName:        "give a URL whose host is in the certificate with --member-server, or a name that is with --member-tls-server-name",
	cluster.CertificateExpired:     "renew it on the cluster, and check the clock of this machine",
	cluster.CertificateNotYetValid: "check the clocks of this machine and of the server",
	cluster.CertificateUnfit:       "replace it on the cluster",
}

// trialTimeout is how long a new credential is tried: API servers learn of new bindings within moments.
const trialTimeout = 5 * time.Second

// trial tries a new credential before it is relied on.
type trial struct {
	// server is what messages name.
	server string
	// id is the cluster that must respond.
	id v1alpha1.ClusterID
	// otherCluster and ifRefused say what to do when another cluster responds, and when the credential is refused.
	otherCluster, ifRefused string
}

// of is nil when the cluster accepts the credential of config, a *Refusal when it does not or is another one, and
// what went wrong otherwise.
func (t trial) of(ctx context.Context, config *rest.Config) error {
	c, err := member.Connect(config)
	if err != nil {
		return err
	}
	refuse := func(cause, remedy string) error {
		return &Refusal{Findings: []Finding{atEndpoint(t.server, cause, remedy)}}
	}
	var rejection error
	err = poll(ctx, pollInterval, trialTimeout, func() (bool, error) {
		id, err := c.ID(ctx)
		if err == nil && id != t.id {
			return false, refuse(fmt.Sprintf("leads to another cluster (ID %s, this member has %s)", id, t.id), t.otherCluster)
		}
		if ctx.Err() != nil || !rejected(err) {
			return true, err
		}
		rejection = err
		return false, nil
	})
	if errors.Is(err, errPatience) {
		return refuse("does not accept the new credential: "+cluster.Cause(rejection), t.ifRefused)
	}
	return err
}

// rejected says whether err is an API server's response to a credential that it does not know or that grants nothing.
// At another cluster's endpoint the token of this member grants nothing, either.
func rejected(err error) bool {
	fault := cluster.FaultOf(err)
	return fault == cluster.FaultUnauthorized || fault == cluster.FaultForbidden || fault == cluster.FaultAnonymous
}
