//go:build unix

package integration

import (
	"context"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/check"
	"github.com/kubefederate/kubectl-federate/pkg/cli/targets"
	"github.com/kubefederate/kubectl-federate/pkg/federate"
)

// TestInsecureMember joins a cluster whose certificate the caller does not verify: refused, unless the federation
// allows it.
func TestInsecureMember(t *testing.T) {
	federation(t, joinHost(t), "lax", map[string]any{"allowInsecureTLS": true})
	p := newPair(t, "strict", nil)
	config := p.member.Config()
	config.CAData, config.Insecure = nil, true
	p.m = connectMember(t, config)
	p.refused(federate.JoinOptions{Name: "insecure"}, `cannot join "insecure" to federation "strict"; nothing was changed
* member: endpoint "`+p.m.Server()+`": the context does not verify the certificate (insecure-skip-tls-verify), which the federation does not allow: give the CA with --member-certificate-authority, or let an administrator set spec.allowInsecureTLS`)
	// With the CA given, the stored endpoint is verified, whatever the caller's kubeconfig says.
	p.joined(federate.JoinOptions{Name: "insecure", CABundle: p.member.Config().CAData})
	p.leftUnproven("insecure")
	// A CA that did not sign it does not help.
	p.refused(federate.JoinOptions{Name: "insecure", CABundle: p.host.Config().CAData}, `cannot join "insecure" to federation "strict"; nothing was changed
* member: endpoint "`+p.m.Server()+`": the certificate does not verify: tls: failed to verify certificate: x509: certificate signed by unknown authority: give the CA that signed it with --member-certificate-authority`)
	if result := p.joined(federate.JoinOptions{Name: "insecure", Federation: "lax"}); !result.Member.Spec.InsecureSkipTLSVerify {
		t.Error("the member does not say that its certificate is not verified")
	}
	p.leftUnproven("insecure")
}

// TestWrongEndpoint gives an endpoint that leads to another cluster: the join is rolled back.
func TestWrongEndpoint(t *testing.T) {
	east := joinFleet(t).Cluster("east")
	p := newPair(t, "wrong", nil).furnished()
	elsewhere := connectMember(t, east.Config()).Server()
	_, err := p.join(federate.JoinOptions{Server: elsewhere, CABundle: east.Config().CAData})
	wantRefusal(t, err, `cannot join "wrong" to federation "wrong"; all changes were rolled back
* member: endpoint "`+elsewhere+`": does not accept the new credential: Unauthorized: check that the endpoint is this member's own and passes tokens on to its API server`)
	p.unchanged()

	// A member that has joined would be left with it, so it is tried before anything is changed.
	p.joined(federate.JoinOptions{})
	stored := p.credential().Server
	p.refused(federate.JoinOptions{Server: elsewhere, CABundle: east.Config().CAData}, `cannot join "wrong" to federation "wrong"; nothing was changed
* member: endpoint "`+elsewhere+`": accepts no token that this cluster issued (401): another cluster answers there, or a proxy that does not pass them on: `+
		`give the URL of this cluster's own API server with --member-server, and its CA with --member-certificate-authority`)
	if m, err := p.h.FindMember(t.Context(), "wrong"); err != nil || m.Spec.Server != stored {
		t.Errorf("the member is now %v, %v", m, err)
	}
	p.left("wrong")
}

// TestCheckLoopback checks through a host's own name what is right among clusters of one machine: a member's
// loopback address. The other findings are broken and mended in test/script/check.txtar.
func TestCheckLoopback(t *testing.T) {
	p := newPair(t, "loop", nil)
	p.joined(federate.JoinOptions{})
	// The same API server, by a name that means the same on every machine.
	named := p.host.Config()
	address := connectHost(t, named).Config().Host[len("https://"):]
	named.Host, named.ServerName = "https://host.example.com", "localhost"
	named.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	endpoints := func(config *rest.Config) (reported []string) {
		facts, err := check.Read(t.Context(), connectHost(t, config), check.Options{Each: (&targets.Batch{Parallel: 1, Timeout: 30 * time.Second}).RunWith(t.Context()), Tuned: func(c *rest.Config) *rest.Config { return c }})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range check.Judge(*facts) {
			if f.Code == check.EndpointLoopback && f.Member == "loop" {
				reported = append(reported, fmt.Sprintf("%s %s: %s: %s", f.Severity, f.Object, f.Cause, f.Remedy))
			}
		}
		return reported
	}
	want := []string{`warning MemberCluster "loop": its endpoint ` + p.m.Server() + ` is a loopback address, where the host reaches itself: ` +
		`kubectl federate join loop --federation loop --member-context CONTEXT --member-server URL`}
	if got := endpoints(named); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := endpoints(p.host.Config()); len(got) > 0 {
		t.Errorf("where the host has a loopback address itself: %q", got)
	}
	p.left("loop")
}
