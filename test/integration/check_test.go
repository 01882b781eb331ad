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
	"github.com/kubefederate/kubectl-federate/pkg/federate"
)

// TestCheckTellsOfLoopback checks through a host's own name what is right among clusters of one machine: a member's
// loopback address. The other findings are broken and mended in test/script/check.txtar.
func TestCheckTellsOfLoopback(t *testing.T) {
	hostCluster, west := joinHost(t), joinFleet(t).Cluster("west")
	snapshot(t, west)
	fed := federation(t, hostCluster, "loop", map[string]any{})
	h, m := connectHost(t, hostCluster.Config()), connectMember(t, west.Config())
	if _, err := join(t, h, m, federate.JoinOptions{Name: "loop", Federation: fed}); err != nil {
		t.Fatal(err)
	}
	// The same API server, by a name that means the same on every machine.
	named := hostCluster.Config()
	address := connectHost(t, named).Config().Host[len("https://"):]
	named.Host, named.ServerName = "https://host.example.com", "localhost"
	named.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	endpoints := func(config *rest.Config) (told []string) {
		facts, err := check.Read(t.Context(), connectHost(t, config), check.Options{Timeout: 30 * time.Second, Tuned: func(c *rest.Config) *rest.Config { return c }})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range check.Judge(*facts) {
			if f.Code == check.EndpointLoopback && f.Member == "loop" {
				told = append(told, fmt.Sprintf("%s %s: %s: %s", f.Severity, f.Object, f.Cause, f.Remedy))
			}
		}
		return told
	}
	want := []string{`warning MemberCluster "loop": its endpoint ` + m.Server() + ` is a loopback address, where the host reaches itself: ` +
		`kubectl federate join loop --federation loop --member-context CONTEXT --member-server URL`}
	if got := endpoints(named); !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
	if got := endpoints(hostCluster.Config()); len(got) > 0 {
		t.Errorf("where the host has a loopback address itself: %q", got)
	}
	if _, err := unjoin(t, h, m, federate.UnjoinOptions{Name: "loop"}); err != nil {
		t.Fatal(err)
	}
}
