package controller

import (
	"net"
	"net/http/httptest"
	"net/netip"
	"slices"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/kubefederate/kubectl-federate/pkg/apis/v1alpha1"
	"github.com/kubefederate/kubectl-federate/pkg/cluster"
	"github.com/kubefederate/kubectl-federate/pkg/endpoint"
	"github.com/kubefederate/kubectl-federate/pkg/kubeconfig"
)

// machineAddress is an address of this machine that is not loopback.
func machineAddress(t *testing.T) string {
	t.Helper()
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(addresses, func(a net.Addr) bool {
		prefix, err := netip.ParsePrefix(a.String())
		return err == nil && prefix.Addr().Is4() && prefix.Addr().IsGlobalUnicast()
	})
	if i < 0 {
		t.Fatal("this machine has no IPv4 address but loopback")
	}
	return netip.MustParsePrefix(addresses[i].String()).Addr().String()
}

// elsewhere has a stub answer at an address that is not loopback.
func elsewhere(t *testing.T, s *stub) {
	t.Helper()
	listener, err := net.Listen("tcp", net.JoinHostPort(machineAddress(t), "0"))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(s.Config.Handler)
	_ = server.Listener.Close()
	server.Listener = listener
	server.StartTLS()
	t.Cleanup(server.Close)
	s.Server = server
}

// named is the access to a stub by the name that its certificate is for, at every address.
func named(s *stub) *kubeconfig.Access {
	access := s.access()
	access.TLSServerName = "example.com"
	return access
}

func hostAt(t *testing.T, server string) *cluster.HostAddresses {
	t.Helper()
	host, err := cluster.NewHostAddresses(&rest.Config{Host: server})
	if err != nil {
		t.Fatal(err)
	}
	return host
}

func discoveredIn(federation *v1alpha1.Federation) memberState {
	m := &v1alpha1.MemberCluster{Spec: v1alpha1.MemberClusterSpec{Discovered: &v1alpha1.Discovered{Kind: "Secret", Name: "m", UID: "u"}}}
	return memberState{member: m, federation: federation}
}

func discovering(endpoints ...string) *v1alpha1.Federation {
	return &v1alpha1.Federation{Spec: v1alpha1.FederationSpec{Discovery: &v1alpha1.Discovery{Endpoints: endpoints}}}
}

// TestAllowed holds which list counts for a member.
func TestAllowed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		state         memberState
		restricted    bool
		listed, other bool
	}{
		"joined by a person": {memberState{member: &v1alpha1.MemberCluster{}, federation: discovering("api.example.com")}, false, true, true},
		"by the list":        {discoveredIn(discovering("api.example.com")), true, true, false},
		"without a list":     {discoveredIn(&v1alpha1.Federation{}), true, true, true},
		"federation gone":    {discoveredIn(nil), true, true, true},
		"unreadable list":    {discoveredIn(discovering("api.example.com", "a:1")), true, false, false},
	} {
		dialer := c.state.dialer(hostAt(t, "https://203.0.113.5"))
		if (dialer != nil) != c.restricted || (c.state.allowed() != nil) != c.restricted {
			t.Errorf("%s: restricted %v", name, dialer != nil)
			continue
		}
		if dialer == nil {
			continue
		}
		list := dialer.Allow()
		if (list.Name("api.example.com") == nil) != c.listed || (list.Name("other.example.com") == nil) != c.other || list.Name("127.0.0.1") == nil {
			t.Errorf("%s: %v, %v, %v", name, list.Name("api.example.com"), list.Name("other.example.com"), list.Name("127.0.0.1"))
		}
	}
}

// TestNotAllowed holds that a member which discovery joined is sent nothing where it may not be: by its federation's list, as that is
// when it is probed, and where the host's own API server is.
func TestNotAllowed(t *testing.T) {
	t.Parallel()
	s := newStub(t)
	elsewhere(t, s)
	machine := machineAddress(t)
	listed := func(entries ...string) known {
		list, err := endpoint.ParseAllowList(entries)
		if err != nil {
			t.Fatal(err)
		}
		return known{allowed: &list}
	}
	for name, c := range map[string]struct {
		known known
		host  string
		want  string
	}{
		"by a person":        {known{}, "https://" + machine, v1alpha1.ReasonReachable},
		"allowed":            {listed(machine), "https://203.0.113.5", v1alpha1.ReasonReachable},
		"not allowed":        {listed("10.0.0.0/8"), "https://203.0.113.5", v1alpha1.ReasonEndpointNotAllowed},
		"the host's address": {listed("*"), "https://" + machine, v1alpha1.ReasonEndpointNeverAllowed},
	} {
		p := probing(t, time.Hour, 20*time.Second)
		p.host = hostAt(t, c.host)
		start(t, p)
		s.requests()
		if _, err := p.follow("m", target{uid: "uid-1", id: "id-1"}, opening(named(s)), c.known); err != nil {
			t.Fatal(err)
		}
		until(t, name, func() bool { return p.found("m") != nil })
		if got := p.found("m").reason; got != c.want || (len(s.requests()) > 0) != (c.want == v1alpha1.ReasonReachable) {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	loopback := newStub(t)
	p := probing(t, time.Hour, 20*time.Second)
	p.host = hostAt(t, "https://203.0.113.5")
	start(t, p)
	if _, err := p.follow("m", target{uid: "uid-1", id: "id-1"}, opening(named(loopback)), listed("*")); err != nil {
		t.Fatal(err)
	}
	until(t, "loopback", func() bool { return p.found("m") != nil })
	if got := p.found("m").reason; got != v1alpha1.ReasonEndpointNeverAllowed || len(loopback.requests()) > 0 {
		t.Errorf("loopback: %s", got)
	}
}

// TestListChanges holds that a list which changes counts at once, for a connection that is open, too.
func TestListChanges(t *testing.T) {
	t.Parallel()
	s := newStub(t)
	elsewhere(t, s)
	// Short enough that a connection is kept until the next probe.
	p := probing(t, longestIdle/2, 20*time.Second)
	p.host = hostAt(t, "https://203.0.113.5")
	start(t, p)
	follow := func(entry, want string) {
		t.Helper()
		list, err := endpoint.ParseAllowList([]string{entry})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.follow("m", target{uid: "uid-1", id: "id-1"}, opening(named(s)), known{allowed: &list}); err != nil {
			t.Fatal(err)
		}
		until(t, entry, func() bool { return p.found("m") != nil && p.found("m").reason == want })
	}
	follow(machineAddress(t), v1alpha1.ReasonReachable)
	s.requests()
	follow("10.0.0.0/8", v1alpha1.ReasonEndpointNotAllowed)
	if asked := s.requests(); len(asked) > 0 {
		t.Errorf("asked %v by a connection that is not allowed any more", asked)
	}
	follow("*", v1alpha1.ReasonReachable)
	// The same list again is nothing new.
	p.mu.Lock()
	due := p.members["m"].due
	p.mu.Unlock()
	s.requests()
	follow("*", v1alpha1.ReasonReachable)
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.members["m"].due.Equal(due) {
		t.Error("a list that did not change makes a member due")
	}
}
